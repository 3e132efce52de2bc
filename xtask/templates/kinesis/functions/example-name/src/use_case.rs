//! What the function does with a record.

use serde::Deserialize;

/// What a record says.
#[derive(Debug, Deserialize)]
struct Content {
    id: String,
}

/// Takes a record and does nothing with it yet.
///
/// # Errors
/// When it cannot be read: it is delivered again until its age or its tries are used up, and then goes to the queue.
pub fn handle(value: &[u8]) -> Result<(), serde_json::Error> {
    let content: Content = serde_json::from_slice(value)?;
    tracing::debug!(bytes = content.id.len(), "a record");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_json_is_delivered_again() {
        assert!(handle(br#"{"id":"ana"}"#).is_ok());
        assert!(handle(b"nonsense").is_err());
    }
}
