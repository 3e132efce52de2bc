//! Where partitions begin and end, asked for all of them at once.
//!
//! A broker answers the requests of a connection one after the other, so a question waits behind a fetch that the broker holds back
//! because there is nothing to read. One such wait is short; one for every partition of every topic is the end of a run that takes 8 s.

use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// The first offset of each partition ([`Offset::Beginning`]) or one past the newest record ([`Offset::End`]), in the order of the
/// question. Blocks.
///
/// # Errors
/// When one of them is not known in time.
pub fn edges<X: ConsumerContext>(
    consumer: &impl Consumer<X>,
    partitions: &[(&str, i32)],
    edge: Offset,
    limit: Duration,
) -> KafkaResult<Vec<i64>> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for (topic, partition) in partitions {
        asked.add_partition_offset(topic, *partition, edge)?;
    }
    // The protocol asks for both edges as for a time, with a number that is none: -1 is the end, -2 the beginning, as librdkafka's
    // own numbers are. <https://kafka.apache.org/protocol#The_Messages_ListOffsets>
    let answer = consumer.offsets_for_times(asked, limit)?;
    let known = answer.elements().into_iter().map(|element| {
        element.error()?;
        match element.offset() {
            Offset::Offset(offset) => Ok(offset),
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable)),
        }
    });
    known.collect()
}
