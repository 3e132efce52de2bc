//! What librdkafka asks its owner for: a place for logs and delivery reports, and a token.

use centinela_delivery::Causes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tracing::{debug, info, warn};

use super::KafkaAuth;
use super::delivery::Slot;

/// The producer's context.
#[derive(Clone, Debug)]
pub(super) struct Session {
    region: Option<String>,
    identified: Arc<AtomicBool>,
}

/// What the statistics say once the brokers have given the idempotent producer its id.
const IDENTIFIED: &[u8] = b"\"idemp_state\": \"Assigned\"";

impl Session {
    pub(super) fn new(auth: &KafkaAuth) -> Self {
        let region = match auth {
            KafkaAuth::Plaintext | KafkaAuth::Tls | KafkaAuth::Scram(_) => None,
            KafkaAuth::Iam { region } => Some(region.clone()),
        };
        Self { region, identified: Arc::default() }
    }

    /// Whether the producer has its id; until then it holds messages back, for half a second if it asked too early.
    pub(super) fn is_identified(&self) -> bool {
        self.identified.load(Ordering::Relaxed)
    }
}

impl ClientContext for Session {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    // librdkafka recovers from nearly everything that it logs; what it does not recover from comes back with a message.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                warn!(facility, message, "kafka client");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => info!(facility, message, "kafka client"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => debug!(facility, message, "kafka client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        warn!(error = %Causes(&error), reason, "kafka client");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if !self.is_identified() && statistics.windows(IDENTIFIED.len()).any(|window| window == IDENTIFIED) {
            self.identified.store(true, Ordering::Relaxed);
        }
    }

    fn generate_oauth_token(
        &self,
        _config: Option<&str>,
    ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
        let region = self.region.clone().ok_or("a token was asked for without IAM authentication")?;
        // Called on the polling thread, which has no runtime of its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let region = aws_config::Region::new(region);
        let (token, lifetime_ms) = runtime
            .block_on(aws_msk_iam_sasl_signer::generate_auth_token(region))
            .map_err(|error| error.to_string())?;
        Ok(rdkafka::client::OAuthToken { token, principal_name: String::new(), lifetime_ms })
    }
}

impl ProducerContext for Session {
    type DeliveryOpaque = Box<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Self::DeliveryOpaque) {
        slot.resolve(result.as_ref().map(drop).map_err(|(error, _)| error.clone()));
    }
}
