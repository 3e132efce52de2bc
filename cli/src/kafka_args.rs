//! The flags that get into a Kafka, the same for every command that takes one.

use std::fs;
use std::path::PathBuf;

use centinela_local::kafka::{KafkaAccess, KafkaLogin, Password, Scram};
use clap::{Args, ValueEnum};

use crate::failure::Failure;

/// Where the password is looked for. Never a flag: other users of a machine see those.
pub const PASSWORD_VARIABLE: &str = "CENTINELA_KAFKA_PASSWORD";

/// How to get into a Kafka.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Getting into Kafka")]
pub struct KafkaSecurity {
    /// Encrypt with TLS; the brokers' certificate must be one that this system trusts, unless --kafka-ca is given.
    #[arg(long, requires = "kafka")]
    pub kafka_tls: bool,
    /// Trust this certificate authority (PEM); switches TLS on.
    #[arg(long, value_name = "FILE", requires = "kafka")]
    pub kafka_ca: Option<PathBuf>,
    /// Log in as this user with SASL/SCRAM; the password comes from CENTINELA_KAFKA_PASSWORD or --kafka-password-file.
    #[arg(long, value_name = "NAME", requires = "kafka")]
    pub kafka_user: Option<String>,
    /// Read the password from this file; a line break at its end does not count.
    #[arg(long, value_name = "FILE", requires = "kafka_user")]
    pub kafka_password_file: Option<PathBuf>,
    /// The mechanism of the login.
    #[arg(long, value_enum, default_value_t = Mechanism::Sha512, value_name = "NAME")]
    pub kafka_mechanism: Mechanism,
    /// Log in to MSK with IAM: credentials and region from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and
    /// AWS_REGION. It always encrypts, and cannot create topics.
    #[arg(long, requires = "kafka", conflicts_with = "kafka_user")]
    pub kafka_iam: bool,
}

/// A SCRAM mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mechanism {
    /// The one that MSK has.
    #[default]
    #[value(name = "SCRAM-SHA-512")]
    Sha512,
    /// Also common.
    #[value(name = "SCRAM-SHA-256")]
    Sha256,
}

impl KafkaSecurity {
    /// The way into the cluster at `bootstrap`.
    ///
    /// # Errors
    /// When the password, a file or the region is missing.
    pub fn access(&self, bootstrap: &str) -> Result<KafkaAccess, Failure> {
        check_addresses(bootstrap)?;
        if let Some(path) = &self.kafka_ca {
            fs::read(path)
                .map_err(|error| Failure::Usage(format!("--kafka-ca {} cannot be read: {error}", path.display())))?;
        }
        let login = match &self.kafka_user {
            Some(user) => KafkaLogin::Scram {
                user: user.clone(),
                password: self.password()?,
                mechanism: match self.kafka_mechanism {
                    Mechanism::Sha512 => Scram::Sha512,
                    Mechanism::Sha256 => Scram::Sha256,
                },
            },
            None if self.kafka_iam => KafkaLogin::Iam { region: region().ok_or_else(no_region)? },
            None => KafkaLogin::Anonymous,
        };
        let tls = self.kafka_tls || self.kafka_ca.is_some();
        Ok(KafkaAccess { bootstrap: bootstrap.to_owned(), tls, ca: self.kafka_ca.clone(), login })
    }

    fn password(&self) -> Result<Password, Failure> {
        let Some(path) = &self.kafka_password_file else {
            return std::env::var(PASSWORD_VARIABLE)
                .ok()
                .filter(|password| !password.is_empty())
                .map(Password)
                .ok_or_else(|| {
                    Failure::Usage(format!(
                        "--kafka-user needs a password in {PASSWORD_VARIABLE} or --kafka-password-file"
                    ))
                });
        };
        let failed = |why: &str| Failure::Usage(format!("--kafka-password-file {}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
        let password = text.trim_end_matches(['\n', '\r']);
        if password.is_empty() { Err(failed("it is empty")) } else { Ok(Password(password.to_owned())) }
    }
}

/// The region of the environment.
pub fn region() -> Option<String> {
    let variables = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
    variables.filter_map(|name| std::env::var(name).ok()).find(|region| !region.is_empty())
}

fn no_region() -> Failure {
    Failure::Usage("--kafka-iam needs the cluster's region in AWS_REGION".to_owned())
}

fn check_addresses(bootstrap: &str) -> Result<(), Failure> {
    let is_address = |address: &str| {
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        matches!(port, Some(Ok(port)) if port > 0)
    };
    match bootstrap.split(',').find(|address| !is_address(address.trim())) {
        None => Ok(()),
        Some(wrong) => {
            Err(Failure::Usage(format!("--kafka `{wrong}` is no address; give HOST:PORT, several with commas")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for right in ["127.0.0.1:9092", "b-1.example:9096,b-2.example:9096", "[::1]:9092"] {
            assert!(KafkaSecurity::default().access(right).is_ok(), "{right}");
        }
        for wrong in ["", "localhost", ":9092", "host:port", "host:0", "a:1,,b:2"] {
            assert!(KafkaSecurity::default().access(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_comes_from_its_file_without_the_line_break() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "hush \n").expect("it can be written");
        let security = KafkaSecurity {
            kafka_user: Some("centinela".to_owned()),
            kafka_password_file: Some(file.path().to_owned()),
            ..KafkaSecurity::default()
        };
        let access = security.access("127.0.0.1:9092").expect("everything is there");
        assert_eq!(access.settings()["sasl.password"], "hush ");
    }

    #[test]
    fn a_certificate_authority_switches_encryption_on() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let security = KafkaSecurity { kafka_ca: Some(file.path().to_owned()), ..KafkaSecurity::default() };
        assert_eq!(security.access("127.0.0.1:9092").expect("it is there").settings()["security.protocol"], "ssl");
    }
}
