//! Pages of other origins: API Gateway answers their questions itself and marks the answers that they may read.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, ORIGIN};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;

use crate::spec::CorsSpec;

/// The origin of the page that asks, if it may.
fn allowed<'a>(spec: &'a CorsSpec, headers: &HeaderMap) -> Option<&'a str> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    spec.origins.iter().map(String::as_str).find(|allowed| *allowed == "*" || *allowed == origin)
}

/// The answer to a browser's question before the request itself; none when it is no such question.
pub(crate) fn preflight(spec: &CorsSpec, method: &Method, headers: &HeaderMap) -> Option<Response<Full<Bytes>>> {
    let asks = method == Method::OPTIONS && headers.contains_key("access-control-request-method");
    if !asks {
        return None;
    }
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Some(origin) = allowed(spec, headers) {
        let said = response.headers_mut();
        set(said, "access-control-allow-origin", origin);
        set(said, "access-control-allow-methods", &spec.methods.join(","));
        set(said, "access-control-allow-headers", &spec.headers.join(","));
        if let Some(seconds) = spec.max_age_s {
            set(said, "access-control-max-age", &seconds.to_string());
        }
    }
    Some(response)
}

/// Marks an answer.
pub(crate) fn mark(spec: &CorsSpec, asked: &HeaderMap, answer: &mut HeaderMap) {
    if let Some(origin) = allowed(spec, asked) {
        set(answer, "access-control-allow-origin", origin);
        set(answer, "vary", "origin");
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        set(&mut headers, "origin", origin);
        set(&mut headers, "access-control-request-method", "POST");
        headers
    }

    #[test]
    fn only_pages_that_are_named_are_answered() {
        let origins = vec!["https://a.example".to_owned()];
        let spec = CorsSpec { origins, methods: vec!["GET".to_owned()], ..CorsSpec::default() };
        let asked = |origin: &str| preflight(&spec, &Method::OPTIONS, &headers(origin)).unwrap();
        let origin = |response: &Response<_>| response.headers().get("access-control-allow-origin").cloned();
        assert_eq!(origin(&asked("https://a.example")).unwrap(), "https://a.example");
        assert_eq!(origin(&asked("https://b.example")), None);
        assert!(preflight(&spec, &Method::GET, &headers("https://a.example")).is_none());
        let mut answer = HeaderMap::new();
        mark(&spec, &headers("https://b.example"), &mut answer);
        assert!(answer.is_empty());
    }
}
