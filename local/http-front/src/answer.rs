//! From what a function says to what its caller gets.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::caller::Refused;

pub(crate) type Answer = Response<Full<Bytes>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    status_code: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// API Gateway's own words.
pub(crate) fn own(status: StatusCode, message: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(json!({ "message": message }).to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What a caller hears who may not ask.
pub(crate) fn refusal(refused: &Refused) -> Answer {
    let (status, message, challenge) = match refused {
        Refused::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized", Some("Bearer".to_owned())),
        Refused::InsufficientScope(scope) => {
            let challenge = format!("Bearer scope=\"{scope}\" error=\"insufficient_scope\"");
            (StatusCode::FORBIDDEN, "Forbidden", Some(challenge))
        }
        Refused::Forbidden => (StatusCode::FORBIDDEN, "Forbidden", None),
    };
    let mut answer = own(status, message);
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
        answer.headers_mut().insert("www-authenticate", challenge);
    }
    answer
}

/// What the function said. Without a status it is the body, as JSON; what is neither is a fault of the function's.
pub(crate) fn of_function(said: &Bytes) -> Answer {
    let Ok(value) = serde_json::from_slice::<Value>(said) else {
        return own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    if value.get("statusCode").is_none() {
        let mut answer = Response::new(Full::new(said.clone()));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return answer;
    }
    match serde_json::from_value(value).ok().and_then(in_full) {
        Some(answer) => answer,
        None => own(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    }
}

fn in_full(said: Said) -> Option<Answer> {
    let body = said.body.unwrap_or_default();
    let body = if said.is_base64_encoded { base64_simd::STANDARD.decode_to_vec(body).ok()? } else { body.into_bytes() };
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::from_u16(said.status_code).ok()?;
    for (name, value) in said.headers {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        answer.headers_mut().insert(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(&value).ok()?);
    }
    for cookie in said.cookies {
        answer.headers_mut().append("set-cookie", HeaderValue::from_str(&cookie).ok()?);
    }
    answer.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    // What is not the function's to say on this connection.
    for hop in ["connection", "content-length", "transfer-encoding", "upgrade", "keep-alive"] {
        answer.headers_mut().remove(hop);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_says_status_headers_and_body_or_only_a_body() {
        let said = br#"{"statusCode":202,"headers":{"location":"/x"},"multiValueHeaders":{},"body":"e30=","isBase64Encoded":true,"cookies":["a=1"]}"#;
        let answer = of_function(&Bytes::from_static(said));
        assert_eq!((answer.status().as_u16(), &answer.headers()["location"]), (202, &HeaderValue::from_static("/x")));
        assert_eq!(answer.headers()["set-cookie"], "a=1");
        assert_eq!(of_function(&Bytes::from_static(b"{\"a\":1}")).status(), 200);
        for broken in [&b"x"[..], br#"{"statusCode":9999}"#, br#"{"statusCode":200,"headers":{"a b":"1"}}"#] {
            assert_eq!(of_function(&Bytes::copy_from_slice(broken)).status(), 500);
        }
    }
}
