//! Where partitions begin and end, and where a mapping begins in them. Everything here blocks.

use std::ops::Range;
use std::time::{Duration, Instant};

use centinela_kafka_client::edges;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::client::Context;
use super::error::{MappingError, kafka};
use super::spec::{KafkaMappingSpec, StartingPosition};

/// Patience with the broker for metadata, offsets and the last commit.
pub(super) const BROKER_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two questions to a cluster that is still starting.
const START_PAUSE: Duration = Duration::from_millis(100);

/// Where a mapping would begin now in each partition.
pub(super) fn positions_now(
    consumer: &StreamConsumer<Context>,
    spec: &KafkaMappingSpec,
    partitions: usize,
) -> Result<Vec<Position>, MappingError> {
    let topic = &spec.topic;
    let ranges = ranges(consumer, topic, 0..partitions)?;
    let committed = committed(consumer, topic, partitions)?;
    let fallback = starting_offsets(consumer, spec, &ranges)?;
    let begin =
        |partition: usize| start(topic, partition, committed[partition], fallback[partition], ranges[partition]);
    Ok((0..partitions).map(begin).collect())
}

/// First offset and one past the last, by partition number.
pub(super) fn ranges(
    consumer: &StreamConsumer<Context>,
    topic: &str,
    partitions: Range<usize>,
) -> Result<Vec<(i64, i64)>, MappingError> {
    let first = bounds(consumer, topic, partitions.clone(), Offset::Beginning)?;
    // In this order: a partition may be shortened in between, and its end never lies before its beginning.
    Ok(first.into_iter().zip(bounds(consumer, topic, partitions, Offset::End)?).collect())
}

/// The first offset of each partition, or one past what can be read of it.
pub(super) fn bounds(
    consumer: &StreamConsumer<Context>,
    topic: &str,
    partitions: Range<usize>,
    edge: Offset,
) -> Result<Vec<i64>, MappingError> {
    let number = |partition| (topic, i32::try_from(partition).unwrap_or(i32::MAX));
    let asked: Vec<(&str, i32)> = partitions.map(number).collect();
    once_ready(|| edges(consumer, &asked, edge, BROKER_TIMEOUT)).map_err(kafka("asking for the partitions' ranges"))
}

fn committed(
    consumer: &StreamConsumer<Context>,
    topic: &str,
    partitions: usize,
) -> Result<Vec<Option<i64>>, MappingError> {
    let asked = list(topic, std::iter::repeat_n(Offset::Invalid, partitions))?;
    let answer = once_ready(|| consumer.committed_offsets(asked.clone(), BROKER_TIMEOUT))
        .map_err(kafka("asking for the committed offsets"))?;
    Ok(by_partition(&answer, partitions))
}

/// Asks until the cluster can tell: one that never kept offsets makes their topic on the first question, and one that has just
/// started is still loading it, or has not yet said who leads a partition.
fn once_ready<T>(ask: impl Fn() -> KafkaResult<T>) -> KafkaResult<T> {
    let deadline = Instant::now() + BROKER_TIMEOUT;
    loop {
        match ask() {
            Err(error) if is_of_a_start(&error) && Instant::now() < deadline => std::thread::sleep(START_PAUSE),
            answer => return answer,
        }
    }
}

fn is_of_a_start(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::UnknownPartition
        )
    )
}

fn starting_offsets(
    consumer: &StreamConsumer<Context>,
    spec: &KafkaMappingSpec,
    ranges: &[(i64, i64)],
) -> Result<Vec<i64>, MappingError> {
    let since_ms = match spec.starting_position {
        StartingPosition::TrimHorizon => return Ok(ranges.iter().map(|(first, _)| *first).collect()),
        StartingPosition::Latest => return Ok(ranges.iter().map(|(_, end)| *end).collect()),
        StartingPosition::AtTimestamp(since_ms) => since_ms,
    };
    let asked = list(&spec.topic, std::iter::repeat_n(Offset::Offset(since_ms), ranges.len()))?;
    let answer = consumer.offsets_for_times(asked, BROKER_TIMEOUT).map_err(kafka("asking for offsets by time"))?;
    let found = by_partition(&answer, ranges.len());
    Ok(found.into_iter().zip(ranges).map(|(offset, (_, end))| offset.unwrap_or(*end)).collect())
}

/// Where a mapping begins in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first offset that it delivers.
    pub start: i64,
    /// One past what can be read now.
    pub end: i64,
    /// What the group had not committed when the broker deleted it.
    pub skipped: Option<Range<i64>>,
}

/// The committed offset wins unless the topic does not have it any more (retention) or never had it (recreated).
fn start(topic: &str, partition: usize, committed: Option<i64>, fallback: i64, (first, end): (i64, i64)) -> Position {
    let skipped = committed.filter(|offset| *offset < first).map(|offset| offset..first);
    let start = match committed {
        None => fallback,
        Some(offset) if (first..=end).contains(&offset) => offset,
        // Said where it is noted.
        Some(offset) if offset < first => first,
        Some(offset) => {
            tracing::warn!(
                topic,
                partition,
                offset,
                first,
                end,
                "the committed offset is behind the topic's end: it was recreated or cut; starting at its first record"
            );
            first
        }
    };
    Position { start, end, skipped }
}

pub(super) fn list(topic: &str, offsets: impl Iterator<Item = Offset>) -> Result<TopicPartitionList, MappingError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(offsets) {
        list.add_partition_offset(topic, partition, offset).map_err(kafka("listing offsets"))?;
    }
    Ok(list)
}

pub(super) fn by_partition(list: &TopicPartitionList, partitions: usize) -> Vec<Option<i64>> {
    let mut offsets = vec![None; partitions];
    for element in list.elements() {
        let slot = usize::try_from(element.partition()).ok().and_then(|partition| offsets.get_mut(partition));
        if let (Some(slot), Offset::Offset(offset)) = (slot, element.offset()) {
            *slot = Some(offset);
        }
    }
    offsets
}
