//! What is asked of Kafka, and the answers.

use super::{Kafka, groups, records, topics, upheaval};
use crate::case::Case;

pub const CASES: &[Case<Kafka>] = &[
    Case::same("a topic is created with its partitions and settings", topics::created, "?"),
    Case::same("a topic that exists is not created again", topics::created_again, "?"),
    Case::same("a topic name with spaces is refused", topics::with_a_bad_name, "?"),
    Case::same("an unknown topic setting is refused", topics::with_an_unknown_setting, "?"),
    Case::same("a topic setting with an impossible value is refused", topics::with_a_bad_value, "?"),
    Case::same("more replicas than brokers are refused", topics::with_three_replicas, "?"),
    Case::same("a deleted topic that is created again starts at offset 0", topics::deleted_and_created_again, "?"),
    Case::same("producing to a topic that does not exist fails", topics::unknown_produce, "?"),
    Case::same("reading a topic that does not exist fails", topics::unknown_assign, "?"),
    Case::same("partitions are added by a client's request", topics::partitions_by_request, "?"),
    Case::same("partitions are added while a consumer reads", topics::partitions_added, "?"),
    Case::same("records are deleted by a client's request", topics::records_deleted, "?"),
    Case::same("with LogAppendTime a record has the broker's time", records::log_append_time, "?"),
    Case::same("without it a record keeps the producer's time", records::create_time, "?"),
    Case::same("a record from tomorrow is refused", records::time_of_tomorrow, "?"),
    Case::same(
        "keys, values and headers of any bytes, empty or null, pass unchanged",
        records::everything_in_a_record,
        "?",
    ),
    Case::same("an idempotent producer's records are there once and in order", records::idempotent, "?"),
    Case::same("a batch whose acknowledgement was lost is there once", records::lost_acknowledgement, "?"),
    Case::same("records of a partition stay in order with five requests in flight", records::order, "?"),
    Case::same("a fetch may start inside a batch", records::middle_of_a_batch, "?"),
    Case::same("a fetch may start inside a compressed batch", records::middle_of_a_compressed_batch, "?"),
    Case::same("offsets are found by time", records::offsets_for_times, "?"),
    Case::same("the first and the next offset are known", records::watermarks, "?"),
    Case::same("a record over the broker's limit is refused", records::too_large, "?"),
    Case::same("too few replicas in sync refuse acks=all", records::too_few_replicas, "?"),
    Case::same("a waiting fetch is answered when a record comes", records::waiting_fetch, "?"),
    Case::same("an aborted transaction stays hidden from who reads committed records", records::transaction, "?"),
    Case::same("a consumer resumes at its group's committed offset", groups::resume, "?"),
    Case::same("a group may commit backwards and beyond the end", groups::odd_commits, "?"),
    Case::same(
        "an offset of a partition that does not exist is not committed",
        groups::commit_to_an_unknown_partition,
        "?",
    ),
    Case::same("a consumer beyond the end is told or reset", groups::beyond_the_end, "?"),
    Case::same("two members share a topic, and one takes over", groups::two_members, "?"),
    Case::same("a restart in the middle loses and doubles nothing", upheaval::restart, "?").alone(),
];
