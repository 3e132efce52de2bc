//! What the embedded S3 is asked: counted, and gone wrong where a fault says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use centinela_serve::caller;

use crate::fault::{Fault, FaultSource, RequestInfo};

/// What was asked of S3.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectStats {
    /// Requests by operation, refused ones included.
    pub calls: BTreeMap<String, u64>,
    /// The same by who asked, where that is known: calls by function and operation.
    pub callers: BTreeMap<String, BTreeMap<String, u64>>,
    /// Bytes of the objects that were sent here, those of refused requests included.
    pub put_bytes: u64,
}

/// Counts requests and decides what becomes of them.
pub(super) struct Asked {
    faults: Arc<dyn FaultSource>,
    stats: Mutex<ObjectStats>,
}

impl Asked {
    pub(super) fn new(faults: Arc<dyn FaultSource>) -> Self {
        Self { faults, stats: Mutex::default() }
    }

    pub(super) fn snapshot(&self) -> ObjectStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request; its fault.
    pub(super) fn came(&self, method: &Method, head: &Parts) -> Fault {
        let operation = operation(method, head);
        let caller = caller(&head.headers);
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        *stats.calls.entry(operation.to_owned()).or_default() += 1;
        if let Some(caller) = caller {
            let calls = stats.callers.entry(caller.to_owned()).or_default();
            *calls.entry(operation.to_owned()).or_default() += 1;
        }
        if matches!(operation, "PutObject" | "UploadPart") {
            let length = head.headers.get("x-amz-decoded-content-length").or_else(|| head.headers.get(CONTENT_LENGTH));
            let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
            stats.put_bytes += length.unwrap_or(0);
        }
        drop(stats);
        self.faults.decide(&RequestInfo { service: "s3", operation, path: head.uri.path(), body: b"", caller })
    }
}

/// The operation of a path-style request, as far as clients of ours use it.
fn operation(method: &Method, head: &Parts) -> &'static str {
    let names_an_object =
        head.uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let query = head.uri.query().unwrap_or_default();
    match (method.as_str(), names_an_object) {
        ("PUT", true) if query.contains("partNumber=") => "UploadPart",
        ("PUT", true) if head.headers.contains_key("x-amz-copy-source") => "CopyObject",
        ("PUT", true) => "PutObject",
        ("GET", true) => "GetObject",
        ("GET", false) => "ListObjectsV2",
        ("HEAD", true) => "HeadObject",
        ("DELETE", true) => "DeleteObject",
        ("POST", false) => "DeleteObjects",
        ("POST", true) if query.contains("uploadId=") => "CompleteMultipartUpload",
        ("POST", true) => "CreateMultipartUpload",
        _ => "Other",
    }
}

/// The answer of S3 to too many requests.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList>
pub(super) fn slow_down() -> Response<s3s::Body> {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    let mut response = Response::new(s3s::Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn name(method: &str, uri: &str) -> &'static str {
        let (head, ()) = Request::builder().method(method).uri(uri).body(()).expect("a request").into_parts();
        operation(&head.method.clone(), &head)
    }

    #[test]
    fn an_operation_is_known_by_method_path_and_query() {
        assert_eq!(name("PUT", "/lake/raw/a.parquet"), "PutObject");
        assert_eq!(name("PUT", "/lake/raw/a.parquet?partNumber=1&uploadId=x"), "UploadPart");
        assert_eq!(name("GET", "/lake?list-type=2&prefix=raw/"), "ListObjectsV2");
        assert_eq!(name("GET", "/lake/?list-type=2"), "ListObjectsV2");
        assert_eq!(name("GET", "/lake/raw/a.parquet"), "GetObject");
        assert_eq!(name("POST", "/lake?delete"), "DeleteObjects");
        assert_eq!(name("PUT", "/lake"), "Other");
    }
}
