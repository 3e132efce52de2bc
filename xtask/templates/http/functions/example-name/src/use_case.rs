//! What the function answers.

use serde::Deserialize;
use serde_json::json;

use crate::problem::Problem;

/// What a request asks for.
#[derive(Debug, Deserialize)]
struct Request {
    id: String,
}

/// Answers with what was asked, and nothing more yet.
///
/// # Errors
/// When the body is not what it must be.
pub fn answer(body: &[u8]) -> Result<String, Problem> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(&format!("the body must be JSON with an `id`: {error}")))?;
    Ok(json!({ "id": request.id }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_cannot_be_read_is_the_callers_problem() {
        assert_eq!(answer(br#"{"id":"ana"}"#).unwrap(), r#"{"id":"ana"}"#);
        let problem = answer(b"{}").unwrap_err();
        assert_eq!(problem.status, 400);
        assert!(problem.body().contains("missing field `id`"), "{}", problem.body());
    }
}
