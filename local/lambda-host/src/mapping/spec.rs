//! A mapping in the terms of `AWS::Lambda::EventSourceMapping`, with the limits of AWS.

use std::time::Duration;

use super::error::MappingError;
use super::response::PartialReading;

/// Retries when a failure destination is set and no number is: AWS caps "infinite" at this.
/// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>
const RETRY_ATTEMPTS_WITH_DESTINATION: u32 = 10;

/// Where a group that has not committed anything starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartingPosition {
    /// The oldest record.
    TrimHorizon,
    /// Records that arrive after the start.
    Latest,
    /// The first record at or after this time, in milliseconds since 1970.
    AtTimestamp(i64),
}

/// A mapping, in the terms of `AWS::Lambda::EventSourceMapping`.
#[derive(Clone, Debug)]
pub struct KafkaMappingSpec {
    /// Name of the function; for messages only.
    pub function: String,
    /// The one topic.
    pub topic: String,
    /// Consumer group whose committed offsets win over `starting_position`.
    pub consumer_group: String,
    /// Most records of an invocation, 1 to 10,000.
    pub batch_size: usize,
    /// How long to gather records before an invocation; zero takes whatever is there. At most 300 s.
    pub window: Duration,
    /// Least time from a batch to the next one, where neither is small or full. On AWS an invocation's calls take that time; zero leaves it to
    /// them.
    pub pace: Duration,
    /// Least pollers; checked, not used: the local mapping always has the most.
    pub pollers_min: u32,
    /// Most pollers.
    pub pollers_max: u32,
    /// Invocations that one poller may have in flight; 5 on AWS.
    pub parallel_invocations_per_poller: u32,
    /// Where a new group starts.
    pub starting_position: StartingPosition,
    /// Whether the response is read as a partial batch response (`ReportBatchItemFailures`).
    pub report_batch_item_failures: bool,
    /// What a partial batch response means for the records behind the one it names.
    pub partial_reading: PartialReading,
    /// Split a batch in two when the invocation fails.
    pub bisect_batch_on_function_error: bool,
    /// Deliveries of a record after the first; `None` is without end, or 10 when there is a failure destination.
    pub maximum_retry_attempts: Option<u32>,
    /// Records older than this are given up instead of delivered.
    pub maximum_record_age: Option<Duration>,
    /// Topic for records that are given up; without it they are dropped and counted.
    pub on_failure_topic: Option<String>,
}

impl KafkaMappingSpec {
    /// A mapping with AWS's defaults, except that the window is zero as in low-latency mode.
    #[must_use]
    pub fn new(function: &str, topic: &str, consumer_group: &str) -> KafkaMappingSpec {
        KafkaMappingSpec {
            function: function.to_owned(),
            topic: topic.to_owned(),
            consumer_group: consumer_group.to_owned(),
            batch_size: 100,
            window: Duration::ZERO,
            pace: Duration::ZERO,
            pollers_min: 1,
            pollers_max: 200,
            parallel_invocations_per_poller: 5,
            starting_position: StartingPosition::TrimHorizon,
            report_batch_item_failures: false,
            partial_reading: PartialReading::default(),
            bisect_batch_on_function_error: false,
            maximum_retry_attempts: None,
            maximum_record_age: None,
            on_failure_topic: None,
        }
    }

    /// Retries that really apply.
    pub(super) fn retry_attempts(&self) -> Option<u32> {
        let capped = self.on_failure_topic.as_ref().map(|_| RETRY_ATTEMPTS_WITH_DESTINATION);
        self.maximum_retry_attempts.or(capped)
    }

    pub(super) fn check(&self) -> Result<(), MappingError> {
        let window_s = self.window.as_secs_f64().ceil() as u64;
        let limits = [
            ("batch size", self.batch_size as u64, 1, 10_000),
            ("batching window in s", window_s, 0, 300),
            ("minimum pollers", u64::from(self.pollers_min), 1, 200),
            ("maximum pollers", u64::from(self.pollers_max), u64::from(self.pollers_min), 2_000),
            ("invocations per poller", u64::from(self.parallel_invocations_per_poller), 1, 5),
            ("length of the consumer group's name", self.consumer_group.len() as u64, 1, 200),
            ("maximum retry attempts", u64::from(self.maximum_retry_attempts.unwrap_or(0)), 0, 10_000),
        ];
        for (field, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                return Err(MappingError::OutOfRange { topic: self.topic.clone(), field, value, least, most });
            }
        }
        match &self.on_failure_topic {
            Some(destination) if *destination == self.topic => {
                Err(MappingError::DestinationIsSource { topic: self.topic.clone() })
            }
            _ => Ok(()),
        }
    }
}
