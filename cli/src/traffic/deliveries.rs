//! What the Kafka client says of the records that it was given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use centinela_local::kafka::{self, Lost};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::Stream;
use super::progress::Progress;

/// Counts what Kafka says of the records.
pub(super) struct Deliveries {
    progress: Arc<Progress>,
    identified: AtomicBool,
    lost: Lost,
    /// What the times that travel with the records count from.
    began: Instant,
}

impl Deliveries {
    pub(super) fn new(progress: Arc<Progress>, began: Instant) -> Self {
        Self { progress, identified: AtomicBool::new(false), lost: Lost::default(), began }
    }

    /// Whether the client has lost its brokers.
    pub(super) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Whether the brokers have given the producer its id.
    pub(super) fn is_identified(&self) -> bool {
        self.identified.load(Ordering::Relaxed)
    }
}

/// What travels with a record through the client: its stream, and the time for which it was meant.
#[derive(Clone, Copy)]
pub(super) struct Tag(pub(super) usize);

impl Tag {
    /// Bits of the stream's number.
    const STREAM_BITS: u32 = 2;

    pub(super) fn new(stream: Stream, meant_after: Duration) -> Self {
        let micros = usize::try_from(meant_after.as_micros()).unwrap_or(usize::MAX) & (usize::MAX >> Self::STREAM_BITS);
        Self((micros << Self::STREAM_BITS) | stream as usize)
    }

    fn stream(self) -> usize {
        self.0 & ((1 << Self::STREAM_BITS) - 1)
    }

    fn meant_after(self) -> Duration {
        Duration::from_micros((self.0 >> Self::STREAM_BITS) as u64)
    }
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        kafka::iam_token(config)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if kafka::is_identified(facility, message) {
            self.identified.store(true, Ordering::Relaxed);
        }
        tracing::debug!(?level, facility, message, "kafka producer");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lost.heard(&error);
        tracing::debug!(%error, reason, "kafka producer");
    }
}

impl ProducerContext for Deliveries {
    /// See [`Tag`].
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let tag = Tag(tag);
        match result {
            Ok(_) => {
                self.progress.took(tag.stream(), self.began.elapsed().saturating_sub(tag.meant_after()));
                self.progress.acknowledged_of(tag.stream()).fetch_add(1, Ordering::Relaxed)
            }
            Err((error, _)) => {
                self.progress.note_error(error);
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) {
                    // The next record would be refused too.
                    self.progress.refused.store(true, Ordering::Relaxed);
                    self.progress.stop.store(true, Ordering::Relaxed);
                }
                self.progress.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_carries_its_stream_and_its_time_for_years() {
        for after in [Duration::ZERO, Duration::from_micros(1), Duration::from_secs(10 * 365 * 86_400)] {
            for stream in Stream::ALL {
                let tag = Tag::new(stream, after);
                assert_eq!((tag.stream(), tag.meant_after()), (stream as usize, after));
            }
        }
    }
}
