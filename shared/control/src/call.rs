//! One request until it is answered, and what the answer means.

use std::time::Duration;

use bytes::Bytes;
use centinela_brake::ControlError;
use centinela_domain::Millis;
use centinela_signed_http::{Answer, Asked, Cause, Client, NoAnswer, Patience, Unanswered};
use http::{Method, StatusCode};
use serde_json::Value;

/// What one attempt gets; both services answer within a tenth of it.
const ATTEMPT: Duration = Duration::from_secs(2);
/// What one call gets with all its attempts. A mapping that is being enabled is busy for a minute: it must not take the time of the other
/// steps, and of the alert. Lambda invokes the function twice more, a minute and two later.
const CALL: Duration = Duration::from_secs(4);
/// The service says so of what is being changed just now.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_UpdateEventSourceMapping.html>
const BUSY: [&str; 2] = ["ResourceInUseException", "ResourceConflictException"];
/// Which error it is, where the body does not say so.
const ERROR_TYPE: &str = "x-amzn-errortype";

/// What a service said.
#[derive(Debug, thiserror::Error)]
#[error("{service} answered {status} {code}: {message}")]
struct Answered {
    service: &'static str,
    status: u16,
    code: String,
    message: String,
}

/// Asks until there is an answer of success, it is refused for good, or no time is left.
pub(crate) async fn call(
    client: &Client,
    service: &'static str,
    method: Method,
    asked: &Asked<'_>,
    body: Bytes,
    deadline: Millis,
) -> Result<Bytes, ControlError> {
    let patience = Patience::until(deadline).at_most(CALL);
    let mut last: Cause = Box::new(NoAnswer(Duration::ZERO));
    for attempt in 1.. {
        let Some(left) = patience.left() else { break };
        match client.ask(method.clone(), asked, body.clone(), left.min(ATTEMPT)).await {
            Ok(answer) if answer.status.is_success() => return Ok(answer.body),
            Ok(answer) => match failed(service, &answer) {
                ControlError::Unavailable(cause) => last = cause,
                final_word => return Err(final_word),
            },
            Err(Unanswered::Transient(cause)) => last = cause,
            Err(Unanswered::Refused(cause)) => return Err(ControlError::Refused(cause)),
        }
        if !patience.pause_after(attempt).await {
            break;
        }
    }
    Err(ControlError::Unavailable(last))
}

fn failed(service: &'static str, answer: &Answer) -> ControlError {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    // Some of Lambda's errors have the message twice, in both spellings.
    let text = |names: &[&str]| names.iter().find_map(|name| said[*name].as_str()).unwrap_or_default();
    let named = answer.headers.get(ERROR_TYPE).and_then(|name| name.to_str().ok());
    let named = named.unwrap_or_else(|| text(&["__type"]));
    let named = named.rsplit('#').next().unwrap_or_default();
    let code = named.split(':').next().unwrap_or_default().to_owned();
    let status = answer.status;
    let is_busy = BUSY.contains(&code.as_str());
    let cause = Box::new(Answered {
        service,
        status: status.as_u16(),
        code,
        message: text(&["message", "Message"]).to_owned(),
    });
    match status {
        StatusCode::TOO_MANY_REQUESTS => ControlError::Unavailable(cause),
        _ if status.is_server_error() || is_busy => ControlError::Unavailable(cause),
        StatusCode::NOT_FOUND => ControlError::Missing(cause),
        _ => ControlError::Refused(cause),
    }
}

/// The address of a service of a region.
pub(crate) fn address(service: &str, region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{service}.{region}.{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::time::Instant;

    use aws_config::{Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use centinela_signed_http::Service;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn an_answer_says_whether_to_come_again() {
        let of = |status: u16, named: &'static str| {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static(ERROR_TYPE), HeaderValue::from_static(named))]);
            let status = StatusCode::from_u16(status).expect("a status");
            failed(
                "lambda",
                &Answer {
                    status,
                    headers,
                    body: Bytes::from_static(br#"{"Type":"User","Message":"m","message":"m"}"#),
                },
            )
        };
        for (status, named) in
            [(429, "TooManyRequestsException"), (500, ""), (409, "ResourceInUseException:http://internal/")]
        {
            assert!(matches!(of(status, named), ControlError::Unavailable(_)), "{status} {named}");
        }
        assert!(matches!(of(404, "ResourceNotFoundException"), ControlError::Missing(_)));
        let ControlError::Refused(cause) = of(403, "AccessDeniedException") else { panic!("a refusal") };
        assert_eq!(cause.to_string(), "lambda answered 403 AccessDeniedException: m");
    }

    #[tokio::test]
    async fn what_is_busy_leaves_time_for_the_other_steps_and_the_alert() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                // Whoever has gone away asks for nothing any more.
                if stream.read(&mut head).is_ok_and(|read| read > 0) {
                    let said = "HTTP/1.1 409 Conflict\r\nx-amzn-errortype: ResourceInUseException\r\n\
                                content-length: 2\r\nconnection: close\r\n\r\n{}";
                    let _gone = stream.write_all(said.as_bytes());
                }
            }
        });
        let credentials = SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "test"));
        let sdk = SdkConfig::builder().region(Region::new("us-east-1")).credentials_provider(credentials).build();
        let service = Service { name: "lambda", is_s3: false, answer_bytes_max: 1024 };
        let client = Client::new(&sdk, service, |_| url).unwrap();
        let began = Instant::now();
        let asked = Asked { path: "/mappings", ..Asked::default() };
        let answer = call(&client, "Lambda", Method::GET, &asked, Bytes::new(), Millis(i64::MAX)).await;
        assert!(matches!(answer, Err(ControlError::Unavailable(_))), "{answer:?}");
        assert!(began.elapsed() < 5 * CALL, "it has asked for {:?}", began.elapsed());
    }
}
