//! One invocation, as a function sees it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_contracts::kafka_event::{EnvelopeError, KafkaBatch};
use centinela_delivery::Deadline;
use centinela_domain::Millis;
use centinela_telemetry::emf::Metrics;
use lambda_runtime::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::Failure;

/// Kept back from Lambda's deadline at most, to note what could not be done and to answer.
const MARGIN_MAX: Duration = Duration::from_secs(3);
/// The longest timeout of a function (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>).
const TIMEOUT_MAX_MS: i64 = 900_000;
/// A timestamp type that leaves the time to the producer. Record contents are in base64, which has no underscore.
const PRODUCERS_TIME: &str = "CREATE_TIME";

/// An event and until when there is time for it.
#[derive(Debug)]
pub struct Invocation<'a> {
    pub(crate) payload: &'a str,
    pub(crate) context: &'a Context,
    pub(crate) started: Instant,
    pub(crate) is_first: bool,
    /// The broker's time of the batch's oldest record; the largest number of another event.
    pub(crate) oldest: AtomicI64,
}

/// What a function answers, and what its metric line says.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<C> {
    /// JSON.
    pub body: Vec<u8>,
    /// For the metric line.
    pub metrics: Metrics<C>,
}

impl<C> Answer<C> {
    /// The JSON of a value.
    ///
    /// # Errors
    /// When the value has none: a fault of ours.
    pub fn of(value: &impl Serialize, metrics: Metrics<C>) -> Result<Self, Failure> {
        Ok(Self { body: serde_json::to_vec(value).map_err(invalid)?, metrics })
    }
}

impl Invocation<'_> {
    /// Microseconds since the event was handed over.
    pub fn elapsed_us(&self) -> u64 {
        micros_since(self.started)
    }

    /// Until when there is time: Lambda's deadline less a quarter of the time left, at most three seconds, most of which is for
    /// noting what could not be done.
    pub fn deadline(&self) -> Deadline {
        deadline(self.context, now())
    }

    /// The event as a value.
    ///
    /// # Errors
    /// When it is something else: the source of the function is not what its code expects.
    pub fn event<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(self.payload)
            .map_err(|error| Failure::new("Centinela.EventUnreadable", "the event is not of the expected form", &error))
    }

    /// The event as it came.
    pub fn payload(&self) -> &str {
        self.payload
    }

    /// Lambda's name for the invocation; a retried one has the same.
    pub fn request_id(&self) -> &str {
        &self.context.request_id
    }

    /// The event as what a Kafka mapping of this topic sends.
    ///
    /// # Errors
    /// When it is something else, or of another topic.
    pub fn kafka_batch(&self, topic: &str) -> Result<KafkaBatch, Failure> {
        self.any_kafka_batch()?.of_topic(topic).map_err(unreadable)
    }

    /// The event as what the Kafka mapping of one of these topics sends, with that topic; none of a batch without records.
    ///
    /// # Errors
    /// When it is something else, or of another topic, or of two.
    pub fn kafka_batch_of_one(&self, topics: &[&'static str]) -> Result<Option<(&'static str, KafkaBatch)>, Failure> {
        let batch = self.any_kafka_batch()?;
        let Some(first) = batch.partitions.first() else { return Ok(None) };
        let topic = topics.iter().find(|topic| **topic == first.topic);
        let wanted = topic.map_or_else(|| topics.join(" or "), |topic| (*topic).to_owned());
        let batch = batch.of_topic(&wanted).map_err(unreadable)?;
        Ok(topic.map(|topic| (*topic, batch)))
    }

    fn any_kafka_batch(&self) -> Result<KafkaBatch, Failure> {
        if self.is_first && self.payload.contains(PRODUCERS_TIME) {
            warn!(
                "the source topic takes its records' times from producers; set message.timestamp.type to LogAppendTime"
            );
        }
        let batch = KafkaBatch::parse(self.payload.as_bytes()).map_err(unreadable)?;
        let records = batch.partitions.iter().flat_map(|partition| &partition.records);
        let times = records.filter_map(|record| match record {
            Ok(record) => Some(record.coordinates.timestamp),
            Err(bad) => bad.timestamp,
        });
        if let Some(oldest) = times.min() {
            self.oldest.store(oldest.0, Ordering::Relaxed);
        }
        Ok(batch)
    }

    /// How old the oldest record of the batch is, in milliseconds; none of another event. A time ahead of this clock is of now.
    pub(crate) fn oldest_record_ms(&self) -> Option<u64> {
        let oldest = self.oldest.load(Ordering::Relaxed);
        (oldest != i64::MAX).then(|| u64::try_from(now().since(Millis(oldest))).unwrap_or(0))
    }
}

fn unreadable(error: EnvelopeError) -> Failure {
    Failure::new("Centinela.EnvelopeUnreadable", "the event is no kafka batch", &error)
}

pub(crate) fn invalid(error: serde_json::Error) -> Failure {
    Failure::new("Centinela.AnswerInvalid", "the answer is not valid json", &error)
}

pub(crate) fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn deadline(context: &Context, now: Millis) -> Deadline {
    let ends = match i64::try_from(context.deadline).unwrap_or(i64::MAX) {
        // `cargo lambda watch` says how much time is left, 600,000 ms, where Lambda says when it ends.
        left @ 0..=TIMEOUT_MAX_MS => now.0.saturating_add(left),
        ends => ends,
    };
    let margin = (Millis(ends).since(now).max(0) / 4).min(MARGIN_MAX.as_millis() as i64);
    Deadline { work: Millis(ends - margin), answer: Millis(ends - margin / 4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_357_920_000;

    #[test]
    fn time_is_kept_back_to_answer_even_with_a_short_timeout() {
        let mut context = Context::default();
        context.deadline = NOW as u64 + 15_000;
        let usual = Deadline { work: Millis(NOW + 12_000), answer: Millis(NOW + 14_250) };
        assert_eq!(deadline(&context, Millis(NOW)), usual);
        assert_eq!(deadline(&context, Millis(NOW + 14_000)).work, Millis(NOW + 14_750));
        assert_eq!(deadline(&context, Millis(NOW + 20_000)).work, Millis(NOW + 15_000));
    }

    #[test]
    fn a_host_that_tells_the_time_left_instead_of_the_end_is_understood() {
        let mut context = Context::default();
        context.deadline = 600_000;
        assert_eq!(deadline(&context, Millis(NOW)).work, Millis(NOW + 597_000));
    }

    #[test]
    fn an_event_of_another_form_is_a_failure_with_a_type_and_the_place() {
        let context = Context::default();
        let invocation = Invocation {
            payload: "[1]",
            context: &context,
            started: Instant::now(),
            is_first: true,
            oldest: AtomicI64::new(i64::MAX),
        };
        let failure = invocation.event::<String>().expect_err("a list is no text");
        assert_eq!(failure.error_type, "Centinela.EventUnreadable");
        assert!(failure.message.contains("line 1 column"), "{failure:?}");
        let failure = invocation.kafka_batch("transactions").expect_err("a list is no batch");
        assert_eq!(failure.error_type, "Centinela.EnvelopeUnreadable");
        assert_eq!(invocation.oldest_record_ms(), None);
    }

    #[test]
    fn the_oldest_record_of_a_batch_is_known_whether_it_can_be_read_or_not() {
        let context = Context::default();
        let payload = r#"{"eventSource":"aws:kafka","records":{"t-0":[
            {"topic":"t","partition":0,"offset":1,"timestamp":2000,"timestampType":"LOG_APPEND_TIME","value":"MTI="},
            {"topic":"t","partition":0,"offset":2,"timestamp":1000,"timestampType":"LOG_APPEND_TIME","value":"no base64!"}]}}"#;
        let invocation = Invocation {
            payload,
            context: &context,
            started: Instant::now(),
            is_first: true,
            oldest: AtomicI64::new(i64::MAX),
        };
        invocation.kafka_batch("t").expect("a batch");
        let oldest = invocation.oldest_record_ms().expect("a batch has an oldest record");
        assert!((now().0 - 1_000).abs_diff(i64::try_from(oldest).expect("a time")) < 60_000, "{oldest}");
    }
}
