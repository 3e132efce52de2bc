//! Kafka clients, and what is asked of them. All of it blocks, so it runs beside the runtime.

use std::time::Duration;

use centinela_kafka_access::{KafkaAccess, iam_token};
use centinela_redrive::PortError;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tracing::debug;

/// How long a question to the brokers may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What a client asks its owner for.
#[derive(Clone, Debug)]
pub(crate) struct Session;

impl ClientContext for Session {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        debug!(?level, facility, message, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka client");
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        iam_token(config)
    }
}

impl ConsumerContext for Session {}

/// A consumer that joins no group and commits only what it is told to.
pub(crate) type Consumer = BaseConsumer<Session>;

/// What a reader does when retention has deleted what it was about to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Go on behind it.
    Skip,
    /// Say so.
    Fail,
}

/// A consumer in the name of a group.
pub(crate) fn consumer(access: &KafkaAccess, group: &str, gone: Gone) -> Result<Consumer, PortError> {
    let created = access
        .client()
        .set("client.id", group)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set(
            "auto.offset.reset",
            match gone {
                Gone::Skip => "earliest",
                Gone::Fail => "error",
            },
        )
        .set("fetch.wait.max.ms", "50")
        // Whatever a topic of ours takes.
        .set("fetch.message.max.bytes", "10485760")
        // A dead letter is shown as it is, whoever wrote it, and what a transaction took back was never there.
        .set("isolation.level", "read_committed")
        .create_with_context(Session);
    created.map_err(|error| PortError::new("making a kafka client", error))
}

/// Partitions of a topic; none when there is no such topic.
pub(crate) fn partitions(consumer: &Consumer, topic: &str) -> KafkaResult<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
    let found = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
    Ok(found.map_or(0, |found| i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)))
}

/// Where partitions begin ([`Offset::Beginning`]) or end ([`Offset::End`]).
pub(crate) fn edges(consumer: &Consumer, topic: &str, count: i32, edge: Offset) -> KafkaResult<Vec<i64>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut asked = TopicPartitionList::new();
    for partition in 0..count {
        asked.add_partition_offset(topic, partition, edge)?;
    }
    // The protocol asks for edges as for times: -1 is the end and -2 the beginning, as librdkafka's own numbers are.
    let answer = consumer.offsets_for_times(asked, LIMIT)?;
    let mut edges = vec![0; count as usize];
    for element in answer.elements() {
        element.error()?;
        let Offset::Offset(offset) = element.offset() else {
            return Err(KafkaError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable));
        };
        if let Some(place) = usize::try_from(element.partition()).ok().and_then(|index| edges.get_mut(index)) {
            *place = offset;
        }
    }
    Ok(edges)
}

/// Whether an error of a poll passes by itself.
pub(crate) fn passes(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageConsumption(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::GroupAuthorizationFailed
        ) | KafkaError::PartitionEOF(_)
    )
}
