//! One invocation: from the request to the response.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_telemetry::emf::Metrics;
use http::header::{CONTENT_TYPE, HeaderValue};

use crate::metrics::Counts;
use crate::problem::Problem;
use crate::use_case;

/// The function between two requests.
pub struct ExampleName;

impl Function for ExampleName {
    type Config = ();
    type Counts = Counts;

    fn configure(_: &mut Environment<'_>) -> Option<()> {
        Some(())
    }

    async fn connect((): ()) -> Result<Self, Error> {
        Ok(Self)
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let request: ApiGatewayV2httpRequest = invocation.event()?;
        let answered = body(&request).and_then(|body| use_case::answer(&body));
        let refused = u64::from(answered.is_err());
        let response = match answered {
            Ok(answer) => response(200, "application/json", answer),
            Err(problem) => response(problem.status, "application/problem+json", problem.body()),
        };
        let counts = Counts { requests: 1, refused };
        Answer::of(&response, Metrics { counts, ..Metrics::default() })
    }
}

/// The request's body, which API Gateway hands over in base64 when it is not text.
fn body(request: &ApiGatewayV2httpRequest) -> Result<Vec<u8>, Problem> {
    let body = request.body.as_deref().unwrap_or_default();
    if !request.is_base64_encoded {
        return Ok(body.as_bytes().to_vec());
    }
    base64_simd::STANDARD
        .decode_to_vec(body)
        .map_err(|error| Problem::bad_request(&format!("the body is not base64: {error}")))
}

fn response(status: u16, content_type: &'static str, body: String) -> ApiGatewayV2httpResponse {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = status.into();
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.body = Some(Body::Text(body));
    response
}
