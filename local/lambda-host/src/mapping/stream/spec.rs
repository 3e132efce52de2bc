//! A mapping of a stream in the terms of `AWS::Lambda::EventSourceMapping`, with the limits of AWS.
//! <https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html>

use std::time::Duration;

use crate::mapping::error::MappingError;

/// Where a mapping starts in the shards that it finds. In those that appear later it starts at their oldest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// At the oldest record.
    TrimHorizon,
    /// At what arrives after the start.
    Latest,
}

/// A mapping of a Kinesis stream.
#[derive(Clone, Debug)]
pub struct StreamMappingSpec {
    /// Name of the function; for messages only.
    pub function: String,
    /// Name of the stream.
    pub stream: String,
    /// Most records of an invocation, 1 to 10,000.
    pub batch_size: usize,
    /// How long to gather records before an invocation; zero takes whatever is there. At most 300 s.
    pub window: Duration,
    /// Length of a tumbling window, 1 to 900 s; none has no windows.
    pub tumbling_window: Option<Duration>,
    /// Where it starts.
    pub start: StreamStart,
    /// Whether the response is read as a partial batch response (`ReportBatchItemFailures`).
    pub report_batch_item_failures: bool,
    /// Split a batch in two when the invocation fails.
    pub bisect_batch_on_function_error: bool,
    /// Deliveries of a batch after the first; `None` is without end.
    pub maximum_retry_attempts: Option<u32>,
    /// Records older than this are given up instead of delivered.
    pub maximum_record_age: Option<Duration>,
    /// ARN of the destination of what is given up, for the messages about it.
    pub on_failure: Option<String>,
}

impl StreamMappingSpec {
    /// A mapping with AWS's defaults.
    #[must_use]
    pub fn new(function: &str, stream: &str) -> Self {
        Self {
            function: function.to_owned(),
            stream: stream.to_owned(),
            batch_size: 100,
            window: Duration::ZERO,
            tumbling_window: None,
            start: StreamStart::TrimHorizon,
            report_batch_item_failures: false,
            bisect_batch_on_function_error: false,
            maximum_retry_attempts: None,
            maximum_record_age: None,
            on_failure: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), MappingError> {
        let seconds = |duration: Duration| duration.as_secs_f64().ceil() as u64;
        let limits = [
            ("batch size", self.batch_size as u64, 1, 10_000),
            ("batching window in s", seconds(self.window), 0, 300),
            ("tumbling window in s", self.tumbling_window.map_or(1, seconds), 1, 900),
            ("maximum retry attempts", u64::from(self.maximum_retry_attempts.unwrap_or(0)), 0, 10_000),
        ];
        for (field, value, least, most) in limits {
            if !(least..=most).contains(&value) {
                return Err(MappingError::OutOfRange { topic: self.stream.clone(), field, value, least, most });
            }
        }
        if self.tumbling_window.is_some_and(|length| length.as_millis() == 0) {
            let (topic, field) = (self.stream.clone(), "tumbling window in s");
            return Err(MappingError::OutOfRange { topic, field, value: 0, least: 1, most: 900 });
        }
        Ok(())
    }
}
