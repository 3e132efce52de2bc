//! Why a request is refused, as `application/problem+json` (<https://www.rfc-editor.org/rfc/rfc9457>).

use serde_json::json;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    title: &'static str,
    detail: String,
}

impl Problem {
    /// The caller must change the request; `detail` says what.
    pub fn bad_request(detail: &str) -> Self {
        Self { status: 400, title: "Bad Request", detail: detail.to_owned() }
    }

    /// The JSON.
    pub fn body(&self) -> String {
        json!({ "type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail }).to_string()
    }
}
