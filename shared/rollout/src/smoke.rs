//! The invocation that shows that a version starts and answers, and changes nothing.
//!
//! Each function has sample events, and among them one that asks for nothing: a batch without records, the health of an API, a list. To
//! answer it a function must have read its configuration, made its clients and, where it does so at its start, loaded its model.

use serde_json::Value;

/// Names of the sample event that changes nothing, in the order in which they are looked for below `events/NAME`.
#[must_use]
pub fn sample_names() -> &'static [&'static str] {
    &["smoke.json", "empty.json", "health.json", "list.json", "show.json"]
}

/// Whether a function answered as one that is well: with JSON that names no failed record and no status outside of 200 to 299.
///
/// # Errors
/// What is wrong with the answer, in words.
pub fn answered_well(error: Option<&str>, body: &str) -> Result<(), String> {
    if let Some(error) = error {
        return Err(format!("it failed ({error}): {}", cut(body)));
    }
    let answer: Value = serde_json::from_str(body).map_err(|_| format!("its answer is no JSON: {}", cut(body)))?;
    if let Some(failed) = answer.get("batchItemFailures").and_then(Value::as_array).filter(|failed| !failed.is_empty())
    {
        return Err(format!("it reports {} records of none as failed", failed.len()));
    }
    match answer.get("statusCode").and_then(Value::as_u64) {
        Some(status) if !(200..300).contains(&status) => Err(format!("it answered status {status}: {}", cut(body))),
        _ => Ok(()),
    }
}

/// The beginning of what a function said: enough to know it by.
fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(500).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_only_when_it_says_nothing_bad() {
        for good in [r#"{"batchItemFailures":[]}"#, r#"{"statusCode":200,"body":"x"}"#, r#"{"state":{}}"#, "[]", "null"]
        {
            assert_eq!(answered_well(None, good), Ok(()), "{good}");
        }
        let bad = [
            (
                Some("Unhandled"),
                r#"{"errorMessage":"no model"}"#,
                "it failed (Unhandled): {\"errorMessage\":\"no model\"}",
            ),
            (None, "<html>", "its answer is no JSON: <html>"),
            (None, r#"{"batchItemFailures":[{"itemIdentifier":"0"}]}"#, "it reports 1 records of none as failed"),
            (None, r#"{"statusCode":503}"#, "it answered status 503: {\"statusCode\":503}"),
        ];
        for (error, body, why) in bad {
            assert_eq!(answered_well(error, body), Err(why.to_owned()));
        }
    }
}
