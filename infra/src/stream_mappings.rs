//! Event source mappings of Kinesis streams.

use std::time::Duration;

use super::error::{InfraError, Problem};
use super::extract::no_filters;
use super::model::{Ignored, Resource, StreamMapping, Trigger, TriggerSource};
use super::reading::Reading;

/// Seven days, the longest record age of a mapping.
const MAX_SECONDS: u32 = 604_800;

/// The mapping that a resource is, if its trigger is a stream, with what one machine cannot honour of it.
pub(super) fn stream_mapping(
    resource: &Resource,
    triggers: &[Trigger],
) -> Result<Option<(StreamMapping, Vec<Ignored>)>, InfraError> {
    let [Trigger { function, source: TriggerSource::Kinesis(stream), file, logical_id, .. }] = triggers else {
        return Ok(None);
    };
    let mut reading = Reading::new(resource);
    for read in ["EventSourceArn", "FunctionName"] {
        reading.accept(read);
    }
    no_filters(&mut reading)?;
    let seconds = |count: Option<u32>| Duration::from_secs(u64::from(count.unwrap_or(0)));
    let mapping = StreamMapping {
        file: file.clone(),
        logical_id: logical_id.clone(),
        function: function.clone(),
        stream: stream.clone(),
        enabled: reading.flag("Enabled")?.unwrap_or(true),
        batch_size: reading.count("BatchSize", 1..=10_000)?.unwrap_or(100),
        window: seconds(reading.count("MaximumBatchingWindowInSeconds", 0..=300)?),
        // 0 is how the API says none.
        tumbling_window: reading
            .count("TumblingWindowInSeconds", 0..=900)?
            .filter(|length| *length > 0)
            .map(|length| seconds(Some(length))),
        report_batch_item_failures: reading
            .list("FunctionResponseTypes")?
            .iter()
            .any(|kind| kind.as_str() == Some("ReportBatchItemFailures")),
        bisect: reading.flag("BisectBatchOnFunctionError")?.unwrap_or(false),
        maximum_retry_attempts: reading.limit("MaximumRetryAttempts", 0..=10_000)?,
        maximum_record_age: reading.limit("MaximumRecordAgeInSeconds", 60..=MAX_SECONDS)?.map(|age| seconds(Some(age))),
        on_failure: reading.text("DestinationConfig.OnFailure.Destination")?,
        from_oldest: from_oldest(&mut reading)?,
    };
    let factor = reading.count("ParallelizationFactor", 1..=10)?.unwrap_or(1);
    if factor > 1 {
        let limit = "1: the mapping of one machine has one batch of a shard in flight".to_owned();
        return Err(reading
            .site("ParallelizationFactor")
            .error(Problem::OutOfRange { value: factor.to_string(), limit }));
    }
    Ok(Some((mapping, reading.ignored())))
}

/// CloudFormation wants a starting position; without one it is the oldest record here.
fn from_oldest(reading: &mut Reading<'_>) -> Result<bool, InfraError> {
    match reading.text("StartingPosition")?.as_deref() {
        None | Some("TRIM_HORIZON") => Ok(true),
        Some("LATEST") => Ok(false),
        Some(other) => {
            let limit = "TRIM_HORIZON or LATEST on one machine".to_owned();
            Err(reading.site("StartingPosition").error(Problem::OutOfRange { value: other.to_owned(), limit }))
        }
    }
}
