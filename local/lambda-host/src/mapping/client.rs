//! What librdkafka says besides records: errors and failed commits.

use std::sync::Arc;

use centinela_kafka_client::{Lost, iam_token};
use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::stats::Shared;

/// What is said of the client's errors.
const CLIENT: &str = "kafka client";
/// What is said of a commit that failed.
const COMMIT: &str = "the broker did not take the offsets; they will be sent again";

/// Receives what librdkafka says besides records. What it says again and again is said as [`super::repeats`] promises.
pub(super) struct Context {
    pub(super) topic: String,
    pub(super) shared: Arc<Shared>,
    pub(super) lost: Lost,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        iam_token(config)
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lost.heard(&error);
        self.shared.counters().totals.poll_errors += 1;
        // Says nothing that the broker's own failure has not said, and follows the end of an embedded broker.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::debug!(topic = self.topic, %error, reason, "kafka client");
            return;
        }
        if let Some(times) = self.shared.came(CLIENT, &error.to_string()) {
            tracing::warn!(topic = self.topic, %error, reason, times, "{CLIENT}");
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Ok(()) => {}
            // There was nothing new to commit.
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Err(error) => {
                if let Some(times) = self.shared.came(COMMIT, &error.to_string()) {
                    tracing::warn!(topic = self.topic, %error, times, "{COMMIT}");
                }
                self.shared.commit_failed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;

    /// Counts lines that a user sees.
    #[derive(Clone, Default)]
    struct Lines(Arc<AtomicUsize>);

    impl Subscriber for Lines {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::WARN
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_topic_that_is_gone_is_said_once_and_not_at_every_fetch() {
        let lines = Lines::default();
        let shared = Arc::new(Shared::default());
        let context = Context { topic: "transactions".to_owned(), shared: Arc::clone(&shared), lost: Lost::default() };
        tracing::subscriber::with_default(lines.clone(), || {
            for offset in 0..1_000 {
                let reason =
                    format!("Fetch from broker 1 failed at offset {offset}: Broker: Unknown topic or partition");
                context.error(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition), &reason);
                context.commit_callback(
                    Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::UnknownTopicOrPartition)),
                    &TopicPartitionList::new(),
                );
            }
        });
        assert_eq!(lines.0.load(Ordering::Relaxed), 2);
        assert_eq!(shared.stats().poll_errors, 1_000, "every one is counted");
        assert_eq!(shared.stats().commit_errors, 1_000);
    }
}
