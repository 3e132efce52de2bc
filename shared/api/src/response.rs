//! An answer.

use serde::Serialize;
use tracing::error;

/// What goes back to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The type of the body.
    pub content_type: &'static str,
    /// Further headers, names in small letters.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

impl Response {
    /// JSON as it is.
    pub fn of_bytes(status: u16, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json", headers: Vec::new(), body }
    }

    /// The JSON of a value.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::of_bytes(status, body),
            // Only a fault of ours could bring this about: every value that is answered with has a JSON.
            Err(problem) => {
                error!(error = %problem, "an answer has no JSON");
                Self::of_bytes(500, br#"{"message":"Internal Server Error"}"#.to_vec())
            }
        }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}
