//! What librdkafka asks its owner for: a place for logs and delivery reports, and a token.

use std::sync::Arc;

use centinela_delivery::Causes;
use centinela_kafka_access::{Lost, is_identified};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::delivery::Slot;

/// The producer's context.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    identified: Arc<Notify>,
    lost: Arc<Lost>,
}

impl Session {
    /// Whether the client has lost its brokers.
    pub(super) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Waits until the producer has its id.
    pub(super) async fn identified(&self) {
        self.identified.notified().await;
    }
}

impl ClientContext for Session {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    // librdkafka recovers from nearly everything that it logs; what it does not recover from comes back with a message.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if is_identified(facility, message) {
            self.identified.notify_one();
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                warn!(facility, message, "kafka client");
            }
            RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => info!(facility, message, "kafka client"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => debug!(facility, message, "kafka client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lost.heard(&error);
        warn!(error = %Causes(&error), reason, "kafka client");
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<rdkafka::client::OAuthToken, Box<dyn std::error::Error>> {
        centinela_kafka_access::iam_token(config)
    }
}

impl ProducerContext for Session {
    type DeliveryOpaque = Box<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, slot: Self::DeliveryOpaque) {
        slot.resolve(result.as_ref().map(drop).map_err(|(error, _)| error.clone()));
    }
}
