//! Which Kafka, and how to prove who we are: the one place where a client's settings for it, and the variables that hand them to a
//! function, are made. A password is never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use centinela_kafka_bootstrap::{Lost, bootstrap_again};
use rdkafka::ClientConfig;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;

/// How the region gets to the place where tokens are made.
const REGION_SETTING: &str = "region=";
/// Where librdkafka writes about an idempotent producer's state, and what once the brokers have given it its id. It is the only word on that
/// but for statistics, which would have to be made many times a second to say it in time.
const IDEMPOTENCE_STATE: &str = "IDEMPSTATE";
const IDENTIFIED: &str = "-> Assigned";

/// The SCRAM mechanisms of Kafka, by the names it gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scram {
    /// `SCRAM-SHA-256`.
    Sha256,
    /// `SCRAM-SHA-512`, the one that MSK has.
    #[default]
    Sha512,
}

impl Scram {
    /// Every mechanism, the usual one first.
    pub const ALL: [Self; 2] = [Self::Sha512, Self::Sha256];

    /// Kafka's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }
}

/// A password. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Which of two clients publishes what a batch decides: the variable `KAFKA_CLIENT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KafkaClient {
    /// The one of `shared/produce`.
    #[default]
    Lean,
    /// librdkafka's producer.
    Librdkafka,
}

impl KafkaClient {
    /// The words of a configuration.
    pub const NAMES: &'static str = "lean or librdkafka";

    /// The client of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "lean" => Some(Self::Lean),
            "librdkafka" => Some(Self::Librdkafka),
            _ => None,
        }
    }
}

/// How to prove who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KafkaLogin {
    /// Not at all.
    #[default]
    Anonymous,
    /// A user of the cluster.
    Scram {
        /// The name.
        user: String,
        /// The password.
        password: Password,
        /// The mechanism that the brokers offer.
        mechanism: Scram,
    },
    /// MSK's IAM authentication; it always encrypts.
    Iam {
        /// The cluster's region.
        region: String,
    },
}

/// A broker that was away is tried again after this time at most: the default of Apache Kafka's own clients. librdkafka's is ten seconds, and
/// a second restart soon after a first one costs all of them.
const RECONNECT_MAX_MS: &str = "1000";

/// A cluster and how to get into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaAccess {
    /// `host:port`, several with commas.
    pub bootstrap: String,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// The certificate authority of the brokers, PEM; `None` takes the system's.
    pub ca: Option<PathBuf>,
    /// How to prove who we are.
    pub login: KafkaLogin,
}

impl KafkaAccess {
    /// No encryption and no login: a broker on the same machine.
    #[must_use]
    pub fn plaintext(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), ..Self::default() }
    }

    /// A client's settings with the brokers' addresses.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config.extend(self.settings());
        config
    }

    /// Encryption and login, and how soon a broker that was away is looked for again, as librdkafka's settings.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        let tls = self.is_encrypted();
        let mut settings = BTreeMap::new();
        let mut set = |name: &str, value: &str| {
            settings.insert(name.to_owned(), value.to_owned());
        };
        set("reconnect.backoff.max.ms", RECONNECT_MAX_MS);
        match &self.login {
            KafkaLogin::Anonymous if !tls => {}
            KafkaLogin::Anonymous => set("security.protocol", "ssl"),
            KafkaLogin::Scram { user, password, mechanism } => {
                set("security.protocol", if tls { "sasl_ssl" } else { "sasl_plaintext" });
                set("sasl.mechanism", mechanism.name());
                set("sasl.username", user);
                set("sasl.password", &password.0);
            }
            KafkaLogin::Iam { region } => {
                set("security.protocol", "sasl_ssl");
                set("sasl.mechanism", "OAUTHBEARER");
                set("sasl.oauthbearer.config", &format!("{REGION_SETTING}{region}"));
            }
        }
        if tls {
            // OpenSSL is linked in, so the system's certificates have to be looked for.
            let ca = self.ca.as_ref().map_or_else(|| "probe".to_owned(), |path| path.display().to_string());
            set("ssl.ca.location", &ca);
        }
        settings
    }

    /// The variables with which a function of ours reaches this cluster.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let auth = match &self.login {
            KafkaLogin::Anonymous if self.is_encrypted() => "tls",
            KafkaLogin::Anonymous => "plaintext",
            KafkaLogin::Scram { .. } => "scram",
            KafkaLogin::Iam { .. } => "iam",
        };
        let mut variables = vec![("KAFKA_BOOTSTRAP", self.bootstrap.clone()), ("KAFKA_AUTH", auth.to_owned())];
        if let KafkaLogin::Scram { user, password, mechanism } = &self.login {
            variables.push(("KAFKA_USER", user.clone()));
            variables.push(("KAFKA_PASSWORD", password.0.clone()));
            variables.push(("KAFKA_SCRAM_MECHANISM", mechanism.name().to_owned()));
            variables.push(("KAFKA_TLS", self.tls.to_string()));
        }
        if let Some(ca) = &self.ca {
            variables.push(("KAFKA_CA", ca.display().to_string()));
        }
        variables
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls || matches!(self.login, KafkaLogin::Iam { .. })
    }

    /// Who we are to the cluster, for messages.
    #[must_use]
    pub fn who(&self) -> String {
        match &self.login {
            KafkaLogin::Anonymous => "a client without a login".to_owned(),
            KafkaLogin::Scram { user, .. } => format!("user `{user}`"),
            KafkaLogin::Iam { .. } => "this role".to_owned(),
        }
    }
}

/// Has an idempotent producer write to its log when the brokers have given it its id; until then it holds messages back, for half a second if it
/// asked too early. It writes nothing with every message.
pub fn tell_when_identified(producer: &mut ClientConfig) {
    producer.set("debug", "eos").set_log_level(RDKafkaLogLevel::Debug);
}

/// Whether that is what a line of the log says.
#[must_use]
pub fn is_identified(facility: &str, message: &str) -> bool {
    facility == IDEMPOTENCE_STATE && message.ends_with(IDENTIFIED)
}

/// A token of MSK's IAM authentication.
///
/// # Errors
/// When there are no credentials.
pub async fn token(region: &str) -> Result<OAuthToken, Box<dyn std::error::Error + Send + Sync>> {
    let region = aws_config::Region::new(region.to_owned());
    let (token, lifetime_ms) = aws_msk_iam_sasl_signer::generate_auth_token(region).await?;
    Ok(OAuthToken { token, principal_name: String::new(), lifetime_ms })
}

/// The same for librdkafka, for a client whose settings come from [`KafkaAccess`]; `config` is what librdkafka hands to its callback. Blocks
/// while credentials are fetched.
///
/// # Errors
/// When there are no credentials.
pub fn iam_token(config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
    let region = config.and_then(|config| config.strip_prefix(REGION_SETTING));
    let region = region.ok_or("a token was asked for without a region")?.to_owned();
    // Called on a thread of the client, which has no runtime of its own.
    let work = move || -> Result<OAuthToken, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        runtime.block_on(token(&region)).map_err(|error| error.to_string())
    };
    // On a thread of its own in any case: a consumer may be polled on a task.
    let made = std::thread::spawn(work).join().map_err(|_| "the thread that makes tokens ended by a panic")?;
    Ok(made?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scram() -> KafkaAccess {
        let login = KafkaLogin::Scram {
            user: "centinela".to_owned(),
            password: Password("hush".to_owned()),
            mechanism: Scram::default(),
        };
        KafkaAccess { login, ..KafkaAccess::plaintext("127.0.0.1:9092") }
    }

    #[test]
    fn a_plain_broker_needs_no_login_and_is_soon_tried_again() {
        let settings = KafkaAccess::plaintext("127.0.0.1:9092").settings();
        assert_eq!(
            settings.into_iter().collect::<Vec<_>>(),
            [("reconnect.backoff.max.ms".to_owned(), "1000".to_owned())]
        );
    }

    #[test]
    fn a_login_is_encrypted_only_when_that_was_asked_for() {
        assert_eq!(scram().settings()["security.protocol"], "sasl_plaintext");
        let encrypted = KafkaAccess { tls: true, ca: Some("/ca.pem".into()), ..scram() };
        assert_eq!(encrypted.settings()["security.protocol"], "sasl_ssl");
        assert_eq!(encrypted.settings()["ssl.ca.location"], "/ca.pem");
    }

    #[test]
    fn iam_always_encrypts_and_carries_its_region_to_the_token() {
        let login = KafkaLogin::Iam { region: "eu-west-1".to_owned() };
        let settings = KafkaAccess { login, ..KafkaAccess::plaintext("b-1:9098") }.settings();
        assert_eq!(settings["security.protocol"], "sasl_ssl");
        assert_eq!(settings["sasl.oauthbearer.config"], "region=eu-west-1");
    }

    #[test]
    fn a_function_gets_the_same_login_and_the_printed_form_holds_no_password() {
        let variables: BTreeMap<_, _> = scram().environment().into_iter().collect();
        assert_eq!(variables["KAFKA_AUTH"], "scram");
        assert_eq!(variables["KAFKA_PASSWORD"], "hush");
        assert_eq!(variables["KAFKA_TLS"], "false");
        assert!(!format!("{:?}", scram()).contains("hush"));
    }
}
