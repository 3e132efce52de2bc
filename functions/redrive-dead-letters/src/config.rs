//! What the environment tells the function.

use std::time::Duration;

use centinela_domain::Currency;
use centinela_function::Environment;
use centinela_kafka_access::KafkaAccess;
use centinela_redrive::{Settings, Topics};

/// Where letters are, where they go back to, and where decisions are looked for.
#[derive(Debug)]
pub struct Config {
    pub access: KafkaAccess,
    pub dead_letters_topic: String,
    pub approved_topic: String,
    pub blocked_topic: String,
    /// Kept by the consumer group of this name: what is handled.
    pub handled_by: String,
    /// Of the committed marks.
    pub settled_table: String,
    /// The consumer group whose marks they are.
    pub marks_of: String,
    /// For decisions that their topics do not keep any more.
    pub lake_bucket: String,
    /// Longer than an invocation of the deciding function.
    pub grace: Duration,
    pub settings: Settings,
}

impl Config {
    /// `None` without a key, for which nothing can stand in.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let access = environment.kafka();
        let dead_letters_topic = environment.text("DEAD_LETTERS_TOPIC");
        let (approved_topic, blocked_topic) = (environment.text("APPROVED_TOPIC"), environment.text("BLOCKED_TOPIC"));
        let topics = Topics {
            transactions: environment.text("TRANSACTIONS_TOPIC"),
            user_actions: environment.text("USER_ACTIONS_TOPIC"),
            events: environment.text("EVENTS_TOPIC"),
        };
        let (handled_by, marks_of) = (environment.text("HANDLED_BY"), environment.text("MARKS_OF"));
        let settled_table = environment.text("SETTLED_TABLE");
        let lake_bucket = environment.text("LAKE_BUCKET");
        let grace = environment.seconds("GRACE_SECONDS");
        let iso = "a code of ISO 4217 that payments are made in, such as EUR";
        let default_currency = environment.parsed("DEFAULT_CURRENCY", Currency::DEFAULT, iso, Currency::new);
        let key = environment.keys()?.deployment;
        let settings = Settings { key: Some(key), default_currency, topics };
        Some(Self {
            access,
            dead_letters_topic,
            approved_topic,
            blocked_topic,
            handled_by,
            settled_table,
            marks_of,
            lake_bucket,
            grace,
            settings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_function::configure;

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = configure(|_| None, Config::read).unwrap_err().to_string();
        for name in [
            "KAFKA_BOOTSTRAP",
            "DEAD_LETTERS_TOPIC",
            "TRANSACTIONS_TOPIC",
            "HANDLED_BY",
            "SETTLED_TABLE",
            "LAKE_BUCKET",
            "GRACE_SECONDS",
            "PSEUDONYM_KEY",
        ] {
            assert!(problems.contains(&format!("{name} is not set")), "{problems}");
        }
    }
}
