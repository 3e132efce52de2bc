//! What the environment says, read once and checked as a whole.

use std::env;
use std::time::Duration;

use centinela_adapters::{KafkaAuth, ScramLogin};
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::Currency;
use centinela_telemetry::PseudonymKey;

/// Kafka's names; the first is MSK's, and what is meant when nothing is said.
const SCRAM_MECHANISMS: [&str; 2] = ["SCRAM-SHA-512", "SCRAM-SHA-256"];

/// The function's configuration.
#[derive(Debug)]
pub struct Config {
    pub user_table: String,
    pub device_table: String,
    pub settled_table: String,
    pub decisions_stream: String,
    pub transactions_topic: String,
    pub approved_topic: String,
    pub blocked_topic: String,
    pub dead_letters_topic: String,
    pub consumer_group: String,
    pub kafka_bootstrap: String,
    pub kafka_auth: KafkaAuth,
    /// PEM file of the brokers' certificate authority, where it is not one that the system knows.
    pub kafka_ca: Option<String>,
    /// What a transaction without a currency is in.
    pub default_currency: Currency,
    /// The age at which the mapping gives a record up.
    pub maximum_record_age: Duration,
    pub keys: Keys,
}

/// What is made of the deployment's secret.
#[derive(Debug)]
pub struct Keys {
    /// For names in logs.
    pub pseudonyms: PseudonymKey,
    /// For what the function signs.
    pub deployment: DeploymentKey,
}

/// Every problem of an environment at once: one failed deploy, one complete list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

impl Config {
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let config = Self {
            user_table: reader.text("USER_TABLE"),
            device_table: reader.text("DEVICE_TABLE"),
            settled_table: reader.text("SETTLED_TABLE"),
            decisions_stream: reader.text("DECISIONS_STREAM"),
            transactions_topic: reader.text("TRANSACTIONS_TOPIC"),
            approved_topic: reader.text("APPROVED_TOPIC"),
            blocked_topic: reader.text("BLOCKED_TOPIC"),
            dead_letters_topic: reader.text("DEAD_LETTERS_TOPIC"),
            consumer_group: reader.text("CONSUMER_GROUP"),
            kafka_bootstrap: reader.text("KAFKA_BOOTSTRAP"),
            kafka_auth: reader.kafka_auth(),
            kafka_ca: reader.optional("KAFKA_CA"),
            default_currency: reader.currency("DEFAULT_CURRENCY"),
            maximum_record_age: reader.seconds("MAXIMUM_RECORD_AGE_SECONDS"),
            keys: match reader.keys() {
                Some(keys) => keys,
                None => return Err(ConfigError(reader.problems)),
            },
        };
        for topic in [&config.approved_topic, &config.blocked_topic, &config.dead_letters_topic] {
            if !topic.is_empty() && *topic == config.transactions_topic {
                reader.problems.push(format!("TRANSACTIONS_TOPIC `{topic}` is also written to, which would never end"));
            }
        }
        if reader.problems.is_empty() { Ok(config) } else { Err(ConfigError(reader.problems)) }
    }
}

struct Reader<L> {
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    /// The value, or an empty text and a problem.
    fn text(&mut self, name: &str) -> String {
        let value = (self.lookup)(name).filter(|value| !value.trim().is_empty());
        value.unwrap_or_else(|| {
            self.problems.push(format!("{name} is not set"));
            String::new()
        })
    }

    fn kafka_auth(&mut self) -> KafkaAuth {
        match self.text("KAFKA_AUTH").as_str() {
            "iam" => KafkaAuth::Iam { region: self.text("AWS_REGION") },
            "scram" => KafkaAuth::Scram(self.scram()),
            "tls" => KafkaAuth::Tls,
            "plaintext" | "" => KafkaAuth::Plaintext,
            other => {
                self.problems.push(format!("KAFKA_AUTH must be iam, scram, tls or plaintext, not `{other}`"));
                KafkaAuth::Plaintext
            }
        }
    }

    fn scram(&mut self) -> ScramLogin {
        let mechanism = self.optional("KAFKA_SCRAM_MECHANISM").unwrap_or_else(|| SCRAM_MECHANISMS[0].to_owned());
        if !SCRAM_MECHANISMS.contains(&mechanism.as_str()) {
            let known = SCRAM_MECHANISMS.join(" or ");
            self.problems.push(format!("KAFKA_SCRAM_MECHANISM must be {known}, not `{mechanism}`"));
        }
        let tls = self.optional("KAFKA_TLS");
        if tls.as_deref().is_some_and(|tls| tls != "true" && tls != "false") {
            self.problems.push("KAFKA_TLS must be true or false".to_owned());
        }
        ScramLogin {
            user: self.text("KAFKA_USER"),
            password: self.text("KAFKA_PASSWORD"),
            mechanism,
            tls: tls.is_none_or(|tls| tls == "true"),
        }
    }

    fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// US dollars when nothing is said: so it was before this could be said.
    fn currency(&mut self, name: &str) -> Currency {
        let Some(code) = self.optional(name) else { return Currency::DEFAULT };
        Currency::new(&code).unwrap_or_else(|_| {
            self.problems.push(format!(
                "{name} must be a code of ISO 4217 that payments are made in, such as EUR, not `{code}`"
            ));
            Currency::DEFAULT
        })
    }

    fn seconds(&mut self, name: &str) -> Duration {
        let text = self.text(name);
        let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
        if seconds.is_none() && !text.is_empty() {
            self.problems.push(format!("{name} must be a number of seconds above 0, not `{text}`"));
        }
        Duration::from_secs(seconds.unwrap_or_default())
    }

    /// Comes last: without a key there is no configuration to go on with.
    fn keys(&mut self) -> Option<Keys> {
        let secret = self.text("PSEUDONYM_KEY");
        if secret.is_empty() {
            return None;
        }
        let mut problem = |problem: String| self.problems.push(format!("PSEUDONYM_KEY: {problem}"));
        let pseudonyms = PseudonymKey::new(&secret).map_err(|weak| problem(weak.to_string())).ok()?;
        let deployment =
            DeploymentKey::new(secret.as_bytes()).map_err(|unusable| problem(unusable.to_string())).ok()?;
        Some(Keys { pseudonyms, deployment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        Some(match name {
            "KAFKA_AUTH" => "plaintext".to_owned(),
            "PSEUDONYM_KEY" => "0123456789abcdef".to_owned(),
            "MAXIMUM_RECORD_AGE_SECONDS" => "21600".to_owned(),
            "DEFAULT_CURRENCY" => "EUR".to_owned(),
            name => name.to_lowercase(),
        })
    }

    #[test]
    fn a_complete_environment_is_taken_over() {
        let config = Config::from_lookup(complete).unwrap();
        assert_eq!(config.user_table, "user_table");
        assert_eq!(config.dead_letters_topic, "dead_letters_topic");
        assert_eq!(config.kafka_auth, KafkaAuth::Plaintext);
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let error = Config::from_lookup(|name| match name {
            "USER_TABLE" => None,
            "CONSUMER_GROUP" => Some(" ".to_owned()),
            "KAFKA_AUTH" => Some("kerberos".to_owned()),
            "PSEUDONYM_KEY" => Some("short".to_owned()),
            name => complete(name),
        });
        assert_eq!(
            error.unwrap_err().to_string(),
            "invalid configuration: USER_TABLE is not set; CONSUMER_GROUP is not set; \
             KAFKA_AUTH must be iam, scram, tls or plaintext, not `kerberos`; \
             PSEUDONYM_KEY: the pseudonym key has 5 bytes, at least 16 are needed",
        );
    }

    #[test]
    fn the_largest_age_of_a_record_is_a_number_of_seconds() {
        let error = Config::from_lookup(|name| match name {
            "MAXIMUM_RECORD_AGE_SECONDS" => Some("-1".to_owned()),
            name => complete(name),
        });
        let problem = "invalid configuration: MAXIMUM_RECORD_AGE_SECONDS must be a number of seconds above 0, not `-1`";
        assert_eq!(error.unwrap_err().to_string(), problem);
        assert_eq!(Config::from_lookup(complete).unwrap().maximum_record_age, Duration::from_secs(21_600));
    }

    #[test]
    fn the_currency_of_those_without_one_is_what_is_said_and_shown_at_the_start() {
        let config = Config::from_lookup(complete).unwrap();
        assert!(format!("{config:?}").contains("default_currency: EUR"), "{config:?}");
        let said = |code: Option<&'static str>| {
            Config::from_lookup(move |name| match name {
                "DEFAULT_CURRENCY" => code.map(str::to_owned),
                name => complete(name),
            })
        };
        assert_eq!(said(None).unwrap().default_currency, Currency::DEFAULT);
        for wrong in ["eur", "XXX", "XYZ", "978"] {
            let problem = said(Some(wrong)).unwrap_err().to_string();
            assert!(problem.contains("DEFAULT_CURRENCY must be a code") && problem.contains(wrong), "{problem}");
        }
    }

    #[test]
    fn iam_needs_a_region() {
        let error = Config::from_lookup(|name| match name {
            "KAFKA_AUTH" => Some("iam".to_owned()),
            "AWS_REGION" => None,
            name => complete(name),
        });
        assert_eq!(error.unwrap_err().to_string(), "invalid configuration: AWS_REGION is not set");
    }

    #[test]
    fn a_login_is_encrypted_unless_that_is_switched_off_and_its_password_is_never_printed() {
        let login = |overridden: &'static [(&str, &str)]| {
            let config = Config::from_lookup(|name| {
                let of_test = [("KAFKA_AUTH", "scram"), ("KAFKA_USER", "centinela"), ("KAFKA_PASSWORD", "hush")];
                let set = overridden.iter().chain(&of_test).find(|(known, _)| *known == name);
                match name {
                    "KAFKA_SCRAM_MECHANISM" | "KAFKA_TLS" | "KAFKA_CA" if set.is_none() => None,
                    _ => set.map(|(_, value)| (*value).to_owned()).or_else(|| complete(name)),
                }
            });
            config.map(|config| config.kafka_auth)
        };
        let usual = login(&[]).unwrap();
        assert!(!format!("{usual:?}").contains("hush"));
        let KafkaAuth::Scram(usual) = usual else { panic!("{usual:?}") };
        assert_eq!((usual.mechanism.as_str(), usual.tls), ("SCRAM-SHA-512", true));
        let KafkaAuth::Scram(plain) = login(&[("KAFKA_TLS", "false")]).unwrap() else { panic!("not scram") };
        assert!(!plain.tls);
        let error = login(&[("KAFKA_SCRAM_MECHANISM", "PLAIN"), ("KAFKA_USER", " ")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid configuration: KAFKA_SCRAM_MECHANISM must be SCRAM-SHA-512 or SCRAM-SHA-256, not `PLAIN`; \
             KAFKA_USER is not set",
        );
    }

    #[test]
    fn a_function_that_would_trigger_itself_does_not_start() {
        let error = Config::from_lookup(|name| match name {
            "BLOCKED_TOPIC" | "TRANSACTIONS_TOPIC" => Some("transactions".to_owned()),
            name => complete(name),
        });
        assert!(error.unwrap_err().to_string().contains("would never end"));
    }

    #[test]
    fn the_printed_configuration_holds_no_secret() {
        let config = Config::from_lookup(complete).unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }
}
