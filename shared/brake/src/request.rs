//! What the function is asked: an alarm through SNS, or a word of an operator.
//!
//! Tolerant of whatever else SNS brings along, because an alarm must not fail to brake over a field that nobody reads; strict with an
//! operator, because a misspelt `dry_run` must not act.

use serde::Deserialize;

/// More messages than SNS puts into one event (it puts one).
const MESSAGES_MAX: usize = 100;
/// The state of an alarm that speaks.
const IN_ALARM: &str = "ALARM";

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// An alarm speaks.
    Alarm {
        /// Its name.
        name: String,
        /// Why, in CloudWatch's words.
        reason: String,
    },
    /// Something else came through SNS.
    Other {
        /// What it is.
        what: String,
    },
    /// How are things?
    Show,
    /// Brake as at this alarm.
    Fire {
        /// The alarm.
        alarm: String,
        /// Only say what would be done.
        dry_run: bool,
        /// The main job too, whatever the settings are.
        main_job: bool,
    },
    /// Take it back.
    Release {
        /// What this alarm's plan braked; everything that any did where none is named.
        alarm: Option<String>,
        /// Only say what would be done.
        dry_run: bool,
        /// The main job too, whatever the settings are.
        main_job: bool,
    },
}

/// The event asks nothing that is understood.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Neither an event of SNS nor an operator's word.
    #[error(
        "the event is neither of SNS nor {{\"action\": \"show\"}}, {{\"action\": \"fire\", \"alarm\": NAME, \"dry_run\": true}} or \
         {{\"action\": \"release\"}}: {0}"
    )]
    Form(#[from] serde_json::Error),
    /// Far more than SNS sends.
    #[error("the event has more than {MESSAGES_MAX} messages")]
    TooMany,
}

#[derive(Deserialize)]
struct SnsEvent {
    #[serde(rename = "Records")]
    records: Vec<SnsRecord>,
}

#[derive(Deserialize)]
struct SnsRecord {
    #[serde(rename = "Sns")]
    sns: SnsMessage,
}

#[derive(Deserialize)]
struct SnsMessage {
    #[serde(rename = "Message")]
    message: String,
}

#[derive(Deserialize)]
struct AlarmMessage {
    #[serde(rename = "AlarmName")]
    name: String,
    #[serde(rename = "NewStateValue")]
    state: String,
    #[serde(rename = "NewStateReason", default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Word {
    Show {},
    Fire {
        alarm: String,
        #[serde(default)]
        dry_run: bool,
        #[serde(default)]
        main_job: bool,
    },
    Release {
        alarm: Option<String>,
        #[serde(default)]
        dry_run: bool,
        #[serde(default)]
        main_job: bool,
    },
}

/// Reads an event.
///
/// # Errors
/// When it asks nothing that is understood.
pub fn parse(payload: &str) -> Result<Vec<Request>, RequestError> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(rename = "Records")]
        records: Option<serde::de::IgnoredAny>,
    }
    if serde_json::from_str::<Shape>(payload)?.records.is_some() {
        let event: SnsEvent = serde_json::from_str(payload)?;
        if event.records.len() > MESSAGES_MAX {
            return Err(RequestError::TooMany);
        }
        return Ok(event.records.into_iter().map(|record| of_message(&record.sns.message)).collect());
    }
    Ok(vec![match serde_json::from_str(payload)? {
        Word::Show {} => Request::Show,
        Word::Fire { alarm, dry_run, main_job } => Request::Fire { alarm, dry_run, main_job },
        Word::Release { alarm, dry_run, main_job } => Request::Release { alarm, dry_run, main_job },
    }])
}

fn of_message(message: &str) -> Request {
    match serde_json::from_str(message) {
        Ok(AlarmMessage { name, state, reason }) if state == IN_ALARM => Request::Alarm { name, reason },
        Ok(AlarmMessage { name, state, .. }) => {
            Request::Other { what: format!("alarm `{name}` is in state {state}; the brake acts on {IN_ALARM} only") }
        }
        Err(_) => Request::Other { what: "a message that is not a CloudWatch alarm".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sns(message: &str) -> String {
        let message = serde_json::to_string(message).expect("a text");
        format!(r#"{{"Records":[{{"EventSource":"aws:sns","Sns":{{"Message":{message},"New":[1]}}}}]}}"#)
    }

    #[test]
    fn an_alarm_is_understood_whatever_else_the_message_has() {
        let asked = parse(&sns(r#"{"AlarmName":"a","NewStateValue":"ALARM","NewStateReason":"r","Trigger":{"x":1}}"#));
        assert_eq!(asked.expect("a request"), [Request::Alarm { name: "a".to_owned(), reason: "r".to_owned() }]);
        for other in [r#"{"AlarmName":"a","NewStateValue":"OK"}"#, "Budget exceeded", "{}", "", "\u{0}"] {
            let asked = parse(&sns(other)).expect("an event of sns");
            assert!(matches!(asked.as_slice(), [Request::Other { .. }]), "{other}: {asked:?}");
        }
    }

    #[test]
    fn a_misspelt_word_of_an_operator_does_nothing() {
        let fire = parse(r#"{"action":"fire","alarm":"a","dry_run":true}"#).expect("a word");
        assert_eq!(fire, [Request::Fire { alarm: "a".to_owned(), dry_run: true, main_job: false }]);
        for wrong in [
            r#"{"action":"fire","alarm":"a","dryrun":true}"#,
            r#"{"action":"fire"}"#,
            r#"{"action":"stop"}"#,
            r#"{"Records":{}}"#,
            "{}",
            "[]",
            "null",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
