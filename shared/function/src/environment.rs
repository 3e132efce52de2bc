//! What the environment says, read once and checked as a whole.

use std::fmt::Display;
use std::time::Duration;

use centinela_contracts::keyed::DeploymentKey;
use centinela_kafka_access::{KafkaAccess, KafkaClient, KafkaLogin, Password, Scram};
use centinela_telemetry::PseudonymKey;
use centinela_wire::WireClient;

/// Every problem of an environment at once: one failed deploy, one complete list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid configuration: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

/// What is made of the deployment's secret.
#[derive(Clone, Debug)]
pub struct Keys {
    /// For names in logs.
    pub pseudonyms: PseudonymKey,
    /// For what the function signs.
    pub deployment: DeploymentKey,
}

/// The variables of an environment and what is wrong with them. A value that is missing or wrong is noted, and a harmless one given,
/// so that the reader goes on to the next problem.
pub struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

/// Reads a configuration from variables.
///
/// # Errors
/// Every problem that was noted.
pub fn configure<C>(
    lookup: impl Fn(&str) -> Option<String>,
    read: impl FnOnce(&mut Environment<'_>) -> Option<C>,
) -> Result<C, ConfigError> {
    let mut environment = Environment { lookup: &lookup, problems: Vec::new() };
    match read(&mut environment) {
        Some(config) if environment.problems.is_empty() => Ok(config),
        _ => Err(ConfigError(environment.problems)),
    }
}

impl Environment<'_> {
    /// Notes a problem, once.
    pub fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The value, or an empty text and a problem.
    pub fn text(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.problem(format!("{name} is not set"));
            String::new()
        })
    }

    /// The value, unless it is blank.
    pub fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    /// The value as something else, or what is meant when nothing is said. `wanted` completes "must be".
    pub fn parsed<T, E>(
        &mut self,
        name: &str,
        default: T,
        wanted: impl Display,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        let Some(text) = self.optional(name) else { return default };
        parse(&text).unwrap_or_else(|_| {
            self.problem(format!("{name} must be {wanted}, not `{text}`"));
            default
        })
    }

    /// A time above zero, given in seconds.
    pub fn seconds(&mut self, name: &str) -> Duration {
        let text = self.text(name);
        let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
        if seconds.is_none() && !text.is_empty() {
            self.problem(format!("{name} must be a number of seconds above 0, not `{text}`"));
        }
        Duration::from_secs(seconds.unwrap_or_default())
    }

    /// Which client makes the calls: the lean one unless `WIRE_CLIENT` says otherwise.
    pub fn wire_client(&mut self) -> WireClient {
        let named = |name: &str| WireClient::named(name).ok_or(());
        self.parsed("WIRE_CLIENT", WireClient::default(), WireClient::NAMES, named)
    }

    /// Which client publishes: the lean one unless `KAFKA_CLIENT` says otherwise.
    pub fn kafka_client(&mut self) -> KafkaClient {
        let named = |name: &str| KafkaClient::named(name).ok_or(());
        self.parsed("KAFKA_CLIENT", KafkaClient::default(), KafkaClient::NAMES, named)
    }

    /// The cluster and how to get into it: what [`KafkaAccess::environment`] gives.
    pub fn kafka(&mut self) -> KafkaAccess {
        let bootstrap = self.text("KAFKA_BOOTSTRAP");
        let (tls, login) = match self.text("KAFKA_AUTH").as_str() {
            "iam" => (true, KafkaLogin::Iam { region: self.text("AWS_REGION") }),
            "scram" => self.scram(),
            "tls" => (true, KafkaLogin::Anonymous),
            "plaintext" | "" => (false, KafkaLogin::Anonymous),
            other => {
                self.problem(format!("KAFKA_AUTH must be iam, scram, tls or plaintext, not `{other}`"));
                (false, KafkaLogin::Anonymous)
            }
        };
        KafkaAccess { bootstrap, tls, ca: self.optional("KAFKA_CA").map(Into::into), login }
    }

    fn scram(&mut self) -> (bool, KafkaLogin) {
        let known = Scram::ALL.map(Scram::name).join(" or ");
        let named = |name: &str| Scram::ALL.into_iter().find(|known| known.name() == name).ok_or(());
        let mechanism = self.parsed("KAFKA_SCRAM_MECHANISM", Scram::default(), known, named);
        let tls = self.optional("KAFKA_TLS");
        if tls.as_deref().is_some_and(|tls| tls != "true" && tls != "false") {
            self.problem("KAFKA_TLS must be true or false".to_owned());
        }
        let (user, password) = (self.text("KAFKA_USER"), Password(self.text("KAFKA_PASSWORD")));
        (tls.is_none_or(|tls| tls == "true"), KafkaLogin::Scram { user, password, mechanism })
    }

    /// What is made of `PSEUDONYM_KEY`. Asked for last: without it there is no configuration to go on with.
    pub fn keys(&mut self) -> Option<Keys> {
        let secret = self.text("PSEUDONYM_KEY");
        if secret.is_empty() {
            return None;
        }
        let mut problem = |problem: String| self.problem(format!("PSEUDONYM_KEY: {problem}"));
        let pseudonyms = PseudonymKey::new(&secret).map_err(|weak| problem(weak.to_string())).ok()?;
        let deployment =
            DeploymentKey::new(secret.as_bytes()).map_err(|unusable| problem(unusable.to_string())).ok()?;
        Some(Keys { pseudonyms, deployment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(variables: &[(&str, &str)]) -> Result<KafkaAccess, String> {
        let given = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned()).or_else(|| (name == "KAFKA_BOOTSTRAP").then(|| "b:9092".into()))
        };
        configure(given, |environment| Some(environment.kafka())).map_err(|error| error.to_string())
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let read = |environment: &mut Environment<'_>| {
            environment.text("USER_TABLE");
            environment.text("CONSUMER_GROUP");
            environment.kafka();
            environment.keys()
        };
        let given = |name: &str| match name {
            "CONSUMER_GROUP" => Some(" ".to_owned()),
            "KAFKA_AUTH" => Some("kerberos".to_owned()),
            "PSEUDONYM_KEY" => Some("short".to_owned()),
            "USER_TABLE" => None,
            _ => Some("given".to_owned()),
        };
        assert_eq!(
            configure(given, read).unwrap_err().to_string(),
            "invalid configuration: USER_TABLE is not set; CONSUMER_GROUP is not set; \
             KAFKA_AUTH must be iam, scram, tls or plaintext, not `kerberos`; \
             PSEUDONYM_KEY: the pseudonym key has 5 bytes, at least 16 are needed",
        );
    }

    #[test]
    fn a_time_is_a_number_of_seconds_above_zero() {
        let seconds = |text: &str| {
            configure(|_| Some(text.to_owned()), |environment| Some(environment.seconds("MAXIMUM_RECORD_AGE_SECONDS")))
        };
        let problem = "invalid configuration: MAXIMUM_RECORD_AGE_SECONDS must be a number of seconds above 0, not `-1`";
        assert_eq!(seconds("-1").unwrap_err().to_string(), problem);
        assert_eq!(seconds("21600"), Ok(Duration::from_secs(21_600)));
    }

    #[test]
    fn iam_needs_a_region() {
        let error = kafka(&[("KAFKA_AUTH", "iam")]).unwrap_err();
        assert_eq!(error, "invalid configuration: AWS_REGION is not set");
    }

    #[test]
    fn a_login_is_encrypted_unless_that_is_switched_off() {
        let usual = [("KAFKA_AUTH", "scram"), ("KAFKA_USER", "centinela"), ("KAFKA_PASSWORD", "hush")];
        let access = kafka(&usual).unwrap();
        assert!(access.tls);
        assert_eq!(access.settings()["sasl.mechanism"], "SCRAM-SHA-512");
        assert!(!kafka(&[&usual[..], &[("KAFKA_TLS", "false")]].concat()).unwrap().tls);
        let wrong = [("KAFKA_SCRAM_MECHANISM", "PLAIN"), ("KAFKA_USER", " ")];
        assert_eq!(
            kafka(&[&wrong[..], &usual[..]].concat()).unwrap_err(),
            "invalid configuration: KAFKA_SCRAM_MECHANISM must be SCRAM-SHA-512 or SCRAM-SHA-256, not `PLAIN`; \
             KAFKA_USER is not set",
        );
    }

    #[test]
    fn a_function_reads_the_access_that_the_platform_hands_to_it() {
        let region = "eu-west-1".to_owned();
        let scram =
            KafkaLogin::Scram { user: "ana".into(), password: Password("hush".into()), mechanism: Scram::Sha256 };
        for (tls, login) in [
            (false, KafkaLogin::Anonymous),
            (true, KafkaLogin::Anonymous),
            (false, scram.clone()),
            (true, scram),
            (true, KafkaLogin::Iam { region: region.clone() }),
        ] {
            let access = KafkaAccess { bootstrap: "b:1".into(), tls, ca: tls.then(|| "/ca.pem".into()), login };
            let variables = access.environment();
            let given: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(kafka(&[&given[..], &[("AWS_REGION", &region)]].concat()), Ok(access));
        }
    }
}
