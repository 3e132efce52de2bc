//! Where partitions begin and end.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};

use super::{LEADER_EPOCH, code};
use crate::router::Router;
use crate::store::log::Log;
use crate::store::topics::locked;

/// From here on an answer has room for the leader's epoch.
const EPOCH_FROM: i16 = 4;

// What a client may ask for in place of a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const NEWEST_TIME: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
/// Of records that are kept elsewhere, which none are.
const LATEST_TIERED: i64 = -5;

pub(crate) fn list_offsets(router: &Router, version: i16, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let log = router.topics().log(&topic.name, asked.partition_index);
            let found = log.and_then(|log| offset_at(&locked(&log), asked.timestamp));
            let response = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            let (offset, time_ms) = found.unwrap_or((-1, -1));
            let epoch = if offset < 0 || version < EPOCH_FROM { -1 } else { LEADER_EPOCH };
            response.with_error_code(code(&found)).with_offset(offset).with_timestamp(time_ms).with_leader_epoch(epoch)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// An offset and its record's time, -1 where a partition's end is asked for; clients take the offset -1 for the end.
fn offset_at(log: &Log, wanted: i64) -> Result<(i64, i64), ResponseError> {
    let by_time = |time_ms| Ok(log.at_or_after(time_ms)?.unwrap_or((-1, -1)));
    match wanted {
        LATEST => Ok((log.high_watermark(), -1)),
        EARLIEST | EARLIEST_LOCAL => Ok((log.start(), -1)),
        LATEST_TIERED => Ok((-1, -1)),
        NEWEST_TIME => log.newest_ms().map_or(Ok((-1, -1)), by_time),
        time_ms if time_ms < 0 => Err(ResponseError::UnsupportedVersion),
        time_ms => by_time(time_ms),
    }
}

pub(crate) fn offset_for_leader_epoch(
    router: &Router,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let log = router.topics().log(&topic.topic, asked.partition);
            let end = log.and_then(|log| match asked.leader_epoch {
                _ if asked.current_leader_epoch > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
                LEADER_EPOCH => Ok((LEADER_EPOCH, locked(&log).high_watermark())),
                _ => Ok((-1, -1)),
            });
            let (epoch, offset) = end.unwrap_or((-1, -1));
            let end_offset = EpochEndOffset::default().with_partition(asked.partition).with_error_code(code(&end));
            end_offset.with_leader_epoch(epoch).with_end_offset(offset)
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

pub(crate) fn delete_records(router: &Router, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let log = router.topics().log(&topic.name, asked.partition_index);
            let start = log.and_then(|log| locked(&log).delete_before(asked.offset));
            let result = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            result.with_error_code(code(&start)).with_low_watermark(start.unwrap_or(-1))
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}
