//! Records: producing and fetching them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
    ProducerId,
};
use tokio::time::{Instant, timeout_at};

use crate::router::Router;
use crate::store::batch::Batch;
use crate::store::log::Log;
use crate::store::topics::{Appended, locked};
use crate::store::waiting::Queued;

/// What a fetch is answered with at most, whatever it asks for; Apache Kafka's `fetch.max.bytes`.
const FETCH_BYTES_MAX: u64 = 55 * 1024 * 1024;
/// The session of a fetch that belongs to none: every fetch names all that it wants.
const NO_SESSION: i32 = 0;

pub(crate) fn produce(router: &Router, request: ProduceRequest) -> ProduceResponse {
    let sound = [-1, 0, 1].contains(&request.acks);
    let responses = request.topic_data.into_iter().map(|topic| {
        let partitions = topic.partition_data.into_iter().map(|data| {
            let appended =
                if sound { append(router, &topic.name, &data) } else { Err(ResponseError::InvalidRequiredAcks) };
            appended_response(data.index, appended)
        });
        let partition_responses = partitions.collect();
        TopicProduceResponse::default().with_name(topic.name.clone()).with_partition_responses(partition_responses)
    });
    ProduceResponse::default().with_responses(responses.collect())
}

fn append(router: &Router, topic: &str, data: &PartitionProduceData) -> Result<Appended, ResponseError> {
    let batch = Batch::check(data.records.as_ref().ok_or(ResponseError::InvalidRecord)?)?;
    let committed = |group: &str| router.groups().committed(group, topic, data.index);
    router.topics().append(topic, data.index, batch, committed)
}

fn appended_response(index: i32, appended: Result<Appended, ResponseError>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match appended {
        Ok(Appended { offset, time_ms, log_start }) => response
            .with_base_offset(offset)
            .with_log_append_time_ms(time_ms.unwrap_or(-1))
            .with_log_start_offset(log_start),
        Err(error) => response.with_error_code(error.code()).with_base_offset(-1).with_log_start_offset(-1),
    }
}

/// Gives an idempotent producer an id; one that has an id already gets a new one, as in Apache Kafka. There are no
/// transactions; the refusal is the one on which clients do not try again.
pub(crate) fn init_producer_id(router: &Router, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        let refused = ResponseError::TransactionalIdAuthorizationFailed.code();
        return InitProducerIdResponse::default()
            .with_error_code(refused)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
    }
    InitProducerIdResponse::default().with_producer_id(ProducerId(router.new_producer_id()))
}

/// A partition that a fetch asks for.
struct Wanted<'a> {
    asked: &'a FetchPartition,
    log: Result<Arc<Mutex<Log>>, ResponseError>,
}

/// Waits until there is something to answer: `min_bytes` of records, an error, or that the client's time is over.
pub(crate) async fn fetch(router: &Router, version: i16, request: &FetchRequest) -> FetchResponse {
    if request.session_id != NO_SESSION {
        return FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
    }
    let until = Instant::now() + Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let wanted = loop {
        let wanted: Vec<_> = request.topics.iter().map(|topic| (topic, find(router, version, topic))).collect();
        let is_over = match wait(wanted.iter().flat_map(|(_, partitions)| partitions), request.min_bytes) {
            Some(queued) => timeout_at(until, queued.woken()).await.is_err(),
            None => true,
        };
        if is_over {
            break wanted;
        }
    };
    let mut left = u64::try_from(request.max_bytes).unwrap_or(0).min(FETCH_BYTES_MAX);
    let mut is_empty = true;
    let responses = wanted.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|wanted| read(&wanted, &mut left, &mut is_empty)).collect();
        let response = FetchableTopicResponse::default().with_partitions(partitions);
        response.with_topic(topic.topic.clone()).with_topic_id(topic.topic_id)
    });
    FetchResponse::default().with_responses(responses.collect())
}

/// From version 13 on topics are named by their id.
fn find<'a>(router: &Router, version: i16, asked: &'a FetchTopic) -> Vec<Wanted<'a>> {
    let topics = router.topics().lock();
    let (topic, unknown) = if version > 12 {
        (topics.values().find(|topic| topic.id == asked.topic_id), ResponseError::UnknownTopicId)
    } else {
        (topics.get(asked.topic.as_str()), ResponseError::UnknownTopicOrPartition)
    };
    let log = |partition| match topic {
        None => Err(unknown),
        Some(topic) => topic.log(partition).ok_or(ResponseError::UnknownTopicOrPartition),
    };
    asked.partitions.iter().map(|partition| Wanted { asked: partition, log: log(partition.partition) }).collect()
}

/// A place to wait for `enough` bytes; none where there are as many, or an error, or nothing is asked for.
fn wait<'a>(wanted: impl Iterator<Item = &'a Wanted<'a>>, enough: i32) -> Option<Queued<'a>> {
    let mut queued = Queued::new(enough);
    let mut asks_nothing = true;
    for Wanted { asked, log } in wanted {
        asks_nothing = false;
        let waits = log.as_ref().is_ok_and(|log| queued.at(log, asked.fetch_offset));
        if !waits {
            return None;
        }
    }
    (!asks_nothing).then_some(queued)
}

fn read(wanted: &Wanted<'_>, left: &mut u64, is_empty: &mut bool) -> PartitionData {
    let data = PartitionData::default().with_partition_index(wanted.asked.partition).with_records(Some(Bytes::new()));
    let refused = |data: PartitionData, error: ResponseError| {
        data.with_error_code(error.code()).with_high_watermark(-1).with_last_stable_offset(-1).with_log_start_offset(-1)
    };
    let log = match &wanted.log {
        Ok(log) => locked(log),
        Err(error) => return refused(data, *error),
    };
    let offset = wanted.asked.fetch_offset;
    if !log.has(offset) {
        return refused(data, ResponseError::OffsetOutOfRange);
    }
    let next = log.high_watermark();
    let data = data.with_high_watermark(next).with_last_stable_offset(next).with_log_start_offset(log.start());
    let max_bytes = u64::try_from(wanted.asked.partition_max_bytes).unwrap_or(0).min(*left);
    match log.read(offset, max_bytes, *is_empty) {
        Ok(records) => {
            *left = left.saturating_sub(records.len() as u64);
            *is_empty &= records.is_empty();
            data.with_records(Some(records))
        }
        Err(error) => refused(data, error),
    }
}
