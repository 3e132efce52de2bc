//! One invocation: from the event to the response.

use std::collections::BTreeMap;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use centinela_adapters::{ApiStore, DynamoLimits, KafkaIngest, SystemClock, aws};
use centinela_api::{Api, BODY_BYTES_MAX, Handled, Kind, Problem, Request, Response};
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use crate::caller::{Callers, scopes};
use crate::config::Config;
use crate::metrics::{self, Counts};

/// The function between two requests.
pub struct DecisionsApi {
    api: Api<ApiStore, KafkaIngest, SystemClock>,
    callers: Callers,
}

impl Function for DecisionsApi {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(config: Config) -> Result<Self, Error> {
        let sdk = aws::config().await;
        let Config { tables, name_for_logs, kafka, settings, callers } = config;
        let (store, ingest) = tokio::try_join!(
            ApiStore::connect(&sdk, tables, name_for_logs, DynamoLimits::default()),
            KafkaIngest::connect(kafka),
        )?;
        Ok(Self { api: Api::new(store, ingest, SystemClock, settings), callers })
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let event: ApiGatewayV2httpRequest = invocation.event()?;
        let handled = match request(event, invocation.request_id(), &self.callers) {
            Ok(request) => self.api.handle(&request, invocation.deadline()).await,
            Err((problem, id)) => {
                Handled { response: problem.response(&id), operation: None, done: Default::default() }
            }
        };
        let metrics = metrics::of(&handled, invocation.elapsed_us());
        Answer::of(&response(handled.response), metrics)
    }
}

/// The request in the use case's words. A body that is too large is refused before it is decoded.
fn request(
    event: ApiGatewayV2httpRequest,
    invocation_id: &str,
    callers: &Callers,
) -> Result<Request, (Problem, String)> {
    let header = |name: &str| event.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let context = &event.request_context;
    let request_id = context.request_id.clone().unwrap_or_else(|| invocation_id.to_owned());
    let (content_type, idempotency_key) = (header("content-type"), header("idempotency-key"));
    let route_key = event.route_key.clone().or_else(|| context.route_key.clone()).unwrap_or_default();
    let scopes = scopes(context.authorizer.as_ref(), &route_key, callers);
    let body = match body(event.body.unwrap_or_default(), event.is_base64_encoded) {
        Ok(body) => body,
        Err(problem) => return Err((problem, request_id)),
    };
    Ok(Request {
        route_key,
        path: event.raw_path.unwrap_or_default(),
        path_parameters: event.path_parameters.into_iter().collect::<BTreeMap<_, _>>(),
        query: event.raw_query_string.unwrap_or_default(),
        content_type,
        idempotency_key,
        scopes,
        request_id,
        body,
    })
}

/// The body, which API Gateway hands over in base64 when it is not text.
fn body(body: String, is_base64: bool) -> Result<Vec<u8>, Problem> {
    let bytes = if is_base64 { body.len() / 4 * 3 } else { body.len() };
    // Base64 may end in padding, so it is measured again when it is decoded.
    if bytes > BODY_BYTES_MAX + 2 {
        let detail = format!("the body has more than {BODY_BYTES_MAX} bytes");
        return Err(Problem::new(Kind::BodyTooLarge, detail));
    }
    if !is_base64 {
        return Ok(body.into_bytes());
    }
    let decoded = base64_simd::STANDARD.decode_to_vec(body);
    decoded.map_err(|error| Problem::new(Kind::MalformedBody, format!("the body is not base64: {error}")))
}

fn response(answer: Response) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = answer.status.into();
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    for (name, value) in answer.headers {
        // What cannot stand in a header, such as a line break in a request's id, is left out.
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers.insert(HeaderName::from_static(name), value);
        }
    }
    response.body = Some(Body::Text(String::from_utf8_lossy(&answer.body).into_owned()));
    response
}
