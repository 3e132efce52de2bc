//! The event of a request, payload format 2.0.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use serde_json::{Map, Value, json};

use crate::path::decoded;

const ACCOUNT: &str = "000000000000";
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a request became.
pub(crate) struct Asked<'a> {
    pub api: &'a str,
    pub route_key: &'a str,
    pub path_parameters: &'a BTreeMap<String, String>,
    pub authorizer: Option<Value>,
    pub request_id: &'a str,
    pub source: &'a str,
}

/// An identifier as API Gateway gives them.
pub(crate) fn request_id() -> String {
    // Every `RandomState` has other keys, so the hash of nothing is a fresh random number.
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}", random() ^ random().rotate_left(32))
}

/// The event; none when the path or the query is no text.
pub(crate) fn event(asked: Asked<'_>, parts: &Parts, body: &Bytes) -> Option<Bytes> {
    let path = decoded(parts.uri.path())?;
    let query = parts.uri.query().unwrap_or_default();
    let headers = headers(&parts.headers);
    let user_agent = headers.get("user-agent").cloned().unwrap_or_else(|| "".into());
    let host = headers.get("host").and_then(Value::as_str).unwrap_or("localhost");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut context = json!({
        "accountId": ACCOUNT,
        "apiId": asked.api,
        "domainName": host,
        "domainPrefix": host.split('.').next(),
        "http": {
            "method": parts.method.as_str(), "path": path, "protocol": "HTTP/1.1", "sourceIp": asked.source,
            "userAgent": user_agent,
        },
        "requestId": asked.request_id,
        "routeKey": asked.route_key,
        "stage": "$default",
        "time": log_time(since.as_secs()),
        "timeEpoch": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(authorizer) = asked.authorizer {
        context["authorizer"] = authorizer;
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": asked.route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": false,
    });
    let cookies: Vec<_> = parts.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok()).collect();
    if !cookies.is_empty() {
        event["cookies"] = cookies.iter().flat_map(|line| line.split("; ")).collect();
    }
    if !query.is_empty() {
        event["queryStringParameters"] = Value::Object(query_of(query)?);
    }
    if !asked.path_parameters.is_empty() {
        event["pathParameters"] = json!(asked.path_parameters);
    }
    if !body.is_empty() {
        // Base64 makes four bytes of three; text of which JSON makes more than twice as much is no text that anybody means.
        let is_handed_over = |text: &&str| is_text(&parts.headers) && escaped_len(text) <= 2 * body.len() + 1024;
        match std::str::from_utf8(body).ok().filter(is_handed_over) {
            Some(text) => event["body"] = text.into(),
            None => {
                event["body"] = base64_simd::STANDARD.encode_to_string(body).into();
                event["isBase64Encoded"] = true.into();
            }
        }
    }
    serde_json::to_vec(&event).ok().map(Bytes::from)
}

/// The bytes of a text in JSON.
fn escaped_len(text: &str) -> usize {
    let len = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(len).sum()
}

/// What API Gateway hands over as it is.
fn is_text(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or("text/plain");
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&essence.as_str())
}

/// In small letters, and what came several times joined by commas; cookies stand apart.
fn headers(all: &HeaderMap) -> Map<String, Value> {
    let mut joined = Map::new();
    for name in all.keys().filter(|name| *name != "cookie") {
        let values = all.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        joined.insert(name.as_str().to_owned(), values.collect::<Vec<_>>().join(",").into());
    }
    joined
}

fn query_of(query: &str) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(&name.replace('+', " "))?, decoded(&value.replace('+', " "))?);
        match found.get_mut(&name) {
            Some(Value::String(known)) => *known = format!("{known},{value}"),
            _ => {
                found.insert(name, value.into());
            }
        }
    }
    Some(found)
}

/// As access logs write it: `28/Nov/2026:12:00:00 +0000`.
fn log_time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = centinela_calendar::date(i64::try_from(days).unwrap_or(i64::MAX / 2));
    let name = MONTHS[usize::try_from(month - 1).unwrap_or_default()];
    format!("{day:02}/{name}/{year}:{:02}:{:02}:{:02} +0000", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_in_access_logs() {
        assert_eq!(log_time(1_795_904_088), "28/Nov/2026:22:14:48 +0000");
        assert_eq!(log_time(951_782_400), "29/Feb/2000:00:00:00 +0000");
    }

    #[test]
    fn a_request_becomes_what_api_gateway_hands_over() {
        let request = http::Request::post("/v1/users/a%20b?x=1&x=2&y=%C3%A9")
            .header("Host", "127.0.0.1:1")
            .header("content-type", "application/json")
            .header("x-one", "1")
            .header("x-one", "2")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let path_parameters = BTreeMap::from([("user_id".to_owned(), "a b".to_owned())]);
        let asked = || Asked {
            api: "api",
            route_key: "POST /v1/users/{user_id}",
            path_parameters: &path_parameters,
            authorizer: None,
            request_id: "r",
            source: "127.0.0.1",
        };
        let read = |body: &'static [u8]| -> Value {
            serde_json::from_slice(&event(asked(), &parts, &Bytes::from_static(body)).unwrap()).unwrap()
        };
        let made = read(b"{}");
        assert_eq!((&made["rawPath"], &made["rawQueryString"]), (&"/v1/users/a b".into(), &"x=1&x=2&y=%C3%A9".into()));
        assert_eq!(made["queryStringParameters"], json!({ "x": "1,2", "y": "é" }));
        assert_eq!(made["headers"]["x-one"], "1,2");
        assert_eq!((&made["body"], &made["isBase64Encoded"]), (&"{}".into(), &false.into()));
        assert_eq!(read(b"\xff")["isBase64Encoded"], true);
        let controls: &'static [u8] = &[1; 5_000];
        assert_eq!(read(controls)["isBase64Encoded"], true, "in JSON it would have six times the bytes");
        for text in ["\"\\\n\r\t\u{8}\u{c}", "\u{1}\u{1f}\u{7f}é"] {
            assert_eq!(escaped_len(text), serde_json::to_string(text).unwrap().len() - 2);
        }
    }
}
