//! What the environment tells the function.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use centinela_adapters::aws::WireClient;
use centinela_adapters::{DynamoConfig, DynamoLimits, KafkaConfig, KinesisConfig};
use centinela_domain::guard::FALSE_ALARM_ONE_IN;
use centinela_domain::ledger::RingSize;
use centinela_domain::{Currency, Outcome};
use centinela_function::Environment;
use centinela_scoring::{Limits, Settings};

/// A record is given up a while after its largest age, and the brokers' clocks are not ours.
const RECORD_AGE_MARGIN: Duration = Duration::from_secs(600);
/// How long the Kafka client tries to deliver a message; within the function's time.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(4);
/// A guard that chance deceives more often than this is none.
const ONE_IN_MIN: u64 = 1_000;

/// Where state, decisions and dead letters are, and how it is decided.
#[derive(Debug)]
pub struct Config {
    pub state: DynamoConfig,
    pub kafka: KafkaConfig,
    pub stream: KinesisConfig,
    /// Which client asks DynamoDB and Kinesis.
    pub client: WireClient,
    pub settings: Settings,
    /// Where another model is than the bundled one.
    pub model_directory: Option<PathBuf>,
}

impl Config {
    /// `None` without a key, for which nothing can stand in.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let [user_table, device_table, settled_table, stream] =
            ["USER_TABLE", "DEVICE_TABLE", "SETTLED_TABLE", "DECISIONS_STREAM"].map(|name| environment.text(name));
        let [transactions, approved, blocked, dead_letters_topic, consumer_group] =
            ["TRANSACTIONS_TOPIC", "APPROVED_TOPIC", "BLOCKED_TOPIC", "DEAD_LETTERS_TOPIC", "CONSUMER_GROUP"]
                .map(|name| environment.text(name));
        for topic in [&approved, &blocked, &dead_letters_topic] {
            if !topic.is_empty() && *topic == transactions {
                environment.problem(format!("TRANSACTIONS_TOPIC `{topic}` is also written to, which would never end"));
            }
        }
        let access = environment.kafka();
        let iso = "a code of ISO 4217 that payments are made in, such as EUR";
        let default_currency = environment.parsed("DEFAULT_CURRENCY", Currency::DEFAULT, iso, Currency::new);
        let is_guarded = environment.parsed("BLOCK_RATE_GUARD", true, "on or off", on_or_off);
        let (name, wanted) = ("BLOCK_RATE_GUARD_ONE_IN", "a whole number of at least 1000");
        let one_in = environment.parsed(name, FALSE_ALARM_ONE_IN, wanted, |text| {
            text.parse().ok().filter(|one_in| *one_in >= ONE_IN_MIN).ok_or(())
        });
        let block_rate_guard = is_guarded.then_some(one_in);
        let idempotent = environment.parsed("KAFKA_IDEMPOTENCE", true, "on or off", on_or_off);
        let kafka_client = environment.kafka_client();
        let client = environment.wire_client();
        let delivered_within = environment.seconds("MAXIMUM_RECORD_AGE_SECONDS").saturating_add(RECORD_AGE_MARGIN);
        let delivered_within_ms = i64::try_from(delivered_within.as_millis()).unwrap_or(i64::MAX);
        let limits = Limits { ring: RingSize { delivered_within_ms, ..RingSize::DEFAULT }, ..Limits::default() };
        let model_directory = environment.optional("MODEL_DIRECTORY").map(PathBuf::from);
        let keys = environment.keys()?;
        Some(Self {
            state: DynamoConfig {
                user_table,
                device_table,
                marks_table: settled_table,
                consumer_group,
                transactions_topic: transactions,
                name_for_logs: Arc::new(move |identifier| keys.pseudonyms.pseudonym(identifier).to_string()),
                limits: DynamoLimits::default(),
            },
            kafka: KafkaConfig {
                access,
                client_id: env!("CARGO_PKG_NAME").to_owned(),
                // What a person should look at is not approved.
                decision_topics: BTreeMap::from([
                    (Outcome::Approved, approved),
                    (Outcome::Review, blocked.clone()),
                    (Outcome::Blocked, blocked),
                ]),
                dead_letters_topic,
                deployment_key: keys.deployment.clone(),
                message_timeout: MESSAGE_TIMEOUT,
                idempotent,
                client: kafka_client,
            },
            stream: KinesisConfig::new(&stream),
            client,
            settings: Settings { key: keys.deployment, default_currency, block_rate_guard, limits },
            model_directory,
        })
    }
}

fn on_or_off(text: &str) -> Result<bool, ()> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_adapters::KafkaClient;
    use centinela_function::{ConfigError, configure};

    fn complete(name: &str) -> Option<String> {
        Some(match name {
            "KAFKA_AUTH" => "plaintext".to_owned(),
            "PSEUDONYM_KEY" => "0123456789abcdef".to_owned(),
            "MAXIMUM_RECORD_AGE_SECONDS" => "21600".to_owned(),
            "DEFAULT_CURRENCY" => "EUR".to_owned(),
            "BLOCK_RATE_GUARD" | "KAFKA_IDEMPOTENCE" => "on".to_owned(),
            "BLOCK_RATE_GUARD_ONE_IN" => FALSE_ALARM_ONE_IN.to_string(),
            "KAFKA_CLIENT" | "WIRE_CLIENT" => "lean".to_owned(),
            name => name.to_lowercase(),
        })
    }

    fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        configure(lookup, Config::read)
    }

    #[test]
    fn a_complete_environment_is_taken_over() {
        let config = read(complete).unwrap();
        assert_eq!(config.state.user_table, "user_table");
        assert_eq!(config.kafka.dead_letters_topic, "dead_letters_topic");
        assert_eq!(config.kafka.access.bootstrap, "kafka_bootstrap");
        assert_eq!(config.kafka.decision_topics[&Outcome::Review], "blocked_topic");
        assert_eq!(config.settings.limits.ring.delivered_within_ms, 22_200_000);
    }

    #[test]
    fn the_currency_of_those_without_one_is_what_is_said_and_shown_at_the_start() {
        let config = read(complete).unwrap();
        assert!(format!("{config:?}").contains("default_currency: EUR"), "{config:?}");
        let said = |code: Option<&'static str>| {
            read(move |name| match name {
                "DEFAULT_CURRENCY" => code.map(str::to_owned),
                name => complete(name),
            })
        };
        assert_eq!(said(None).unwrap().settings.default_currency, Currency::DEFAULT);
        for wrong in ["eur", "XXX", "XYZ", "978"] {
            let problem = said(Some(wrong)).unwrap_err().to_string();
            assert!(problem.contains("DEFAULT_CURRENCY must be a code") && problem.contains(wrong), "{problem}");
        }
    }

    #[test]
    fn the_guard_of_the_block_rate_is_on_unless_it_is_switched_off() {
        let said = |value: Option<&'static str>| {
            read(move |name| if name == "BLOCK_RATE_GUARD" { value.map(str::to_owned) } else { complete(name) })
        };
        for on in [None, Some("on")] {
            assert_eq!(said(on).unwrap().settings.block_rate_guard, Some(FALSE_ALARM_ONE_IN));
        }
        assert_eq!(said(Some("off")).unwrap().settings.block_rate_guard, None);
        let problem = said(Some("no")).unwrap_err().to_string();
        assert!(problem.contains("BLOCK_RATE_GUARD must be on or off, not `no`"), "{problem}");
        let once_in = |value: &'static str| {
            read(move |name| if name == "BLOCK_RATE_GUARD_ONE_IN" { Some(value.to_owned()) } else { complete(name) })
        };
        assert_eq!(once_in("1000000").unwrap().settings.block_rate_guard, Some(1_000_000));
        for wrong in ["999", "1e9", "-5"] {
            let problem = once_in(wrong).unwrap_err().to_string();
            assert!(problem.contains("BLOCK_RATE_GUARD_ONE_IN must be a whole number of at least 1000"), "{problem}");
        }
    }

    #[test]
    fn the_client_and_the_producer_are_chosen_by_name() {
        let said = |name: &'static str, value: &'static str| {
            read(move |asked| if asked == name { Some(value.to_owned()) } else { complete(asked) })
        };
        let usual = read(|name| if name.ends_with("_CLIENT") { None } else { complete(name) }).unwrap();
        assert!(usual.client == WireClient::Lean && usual.kafka.client == KafkaClient::Lean && usual.kafka.idempotent);
        assert_eq!(said("WIRE_CLIENT", "sdk").unwrap().client, WireClient::Sdk);
        let other = said("KAFKA_CLIENT", "librdkafka").unwrap();
        assert_eq!((other.kafka.client, other.client), (KafkaClient::Librdkafka, WireClient::Lean));
        let problem = said("KAFKA_CLIENT", "sdk").unwrap_err().to_string();
        assert!(problem.contains("KAFKA_CLIENT must be lean or librdkafka, not `sdk`"), "{problem}");
        assert!(!said("KAFKA_IDEMPOTENCE", "off").unwrap().kafka.idempotent);
        let problem = said("WIRE_CLIENT", "curl").unwrap_err().to_string();
        assert!(problem.contains("WIRE_CLIENT must be lean or sdk, not `curl`"), "{problem}");
    }

    #[test]
    fn a_function_that_would_trigger_itself_does_not_start() {
        let error = read(|name| match name {
            "BLOCKED_TOPIC" | "TRANSACTIONS_TOPIC" => Some("transactions".to_owned()),
            name => complete(name),
        });
        assert!(error.unwrap_err().to_string().contains("would never end"));
    }

    #[test]
    fn the_printed_configuration_holds_no_secret() {
        let config = read(|name| match name {
            "KAFKA_AUTH" => Some("scram".to_owned()),
            "KAFKA_SCRAM_MECHANISM" | "KAFKA_TLS" => None,
            "KAFKA_PASSWORD" => Some("hush".to_owned()),
            name => complete(name),
        });
        let printed = format!("{:?}", config.unwrap());
        assert!(!printed.contains("0123456789abcdef") && !printed.contains("hush"), "{printed}");
    }
}
