//! What a mapping cannot do, and what became of the work beside its task.

use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::task::JoinError;

/// Why a mapping cannot start or finish.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MappingError {
    #[error("mapping of topic `{topic}`: {field} is {value}, but must be between {least} and {most}")]
    OutOfRange { topic: String, field: &'static str, value: u64, least: u64, most: u64 },
    #[error("mapping of topic `{topic}`: the failure destination is the same topic; choose another")]
    DestinationIsSource { topic: String },
    #[error("topic `{topic}` does not exist at {bootstrap}; create it before the mapping")]
    TopicMissing { topic: String, bootstrap: String },
    #[error("kafka, while {doing}")]
    Kafka {
        doing: &'static str,
        #[source]
        source: KafkaError,
    },
    #[error("{records} records were not handled within {} ms", deadline.as_millis())]
    NotDrained {
        /// Offsets of the call's time that are still open: as many records at most.
        records: u64,
        deadline: Duration,
    },
    #[error("the stream cannot be read: {why}")]
    Stream { why: String },
    #[error("the mapping has stopped")]
    Stopped,
}

pub(super) fn kafka(doing: &'static str) -> impl Fn(KafkaError) -> MappingError {
    move |source| MappingError::Kafka { doing, source }
}

/// librdkafka's questions to the broker block; they have no place on a task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MappingError> + Send + 'static,
) -> Result<T, MappingError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(MappingError::Stopped))
}

/// What a task returned; none when it was cancelled. A lost task would hold its partitions for ever, so its panic goes on here.
pub(super) fn came_back<T>(finished: Result<T, JoinError>) -> Option<T> {
    match finished.map_err(JoinError::try_into_panic) {
        Ok(finished) => Some(finished),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    }
}
