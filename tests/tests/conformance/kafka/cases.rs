//! What is asked of Kafka, and the answers.

use super::{Kafka, groups, records, retention, topics, upheaval};
use crate::case::Case;

const ALL_OF_INSIDE: &str = "0: all, 4: all, 9: all, 10: all";

pub const CASES: &[Case<Kafka>] = &[
    Case::same(
        "a topic is created with its partitions and settings",
        topics::created,
        r#"3 partitions, Some("LogAppendTime") Some("3600000")"#,
    ),
    Case::same("a topic that exists is not created again", topics::created_again, "TopicAlreadyExists"),
    Case::same("a topic name with spaces is refused", topics::with_a_bad_name, "InvalidTopic"),
    Case::same("an unknown topic setting is refused", topics::with_an_unknown_setting, "InvalidConfig"),
    Case::same("a topic setting with an impossible value is refused", topics::with_a_bad_value, "InvalidConfig"),
    Case::same("more replicas than brokers are refused", topics::with_three_replicas, "InvalidReplicationFactor"),
    Case::same(
        "a deleted topic that is created again starts at offset 0, without committed offsets",
        topics::deleted_and_created_again,
        "first record taken at [0]; the group has nothing",
    ),
    Case::same("producing to a topic that does not exist fails", topics::unknown_produce, "UnknownTopicOrPartition"),
    Case::same("reading a topic that does not exist fails", topics::unknown_assign, "UnknownTopicOrPartition"),
    Case::same("partitions are added by a client's request", topics::partitions_by_request, "taken"),
    Case::same(
        "partitions are added while a consumer reads",
        topics::partitions_added,
        "read 1 before and 1 after; the new partition has [0, 1]",
    ),
    Case::same(
        "records are deleted by a client's request",
        retention::deleted,
        "Offset(3): Ok(Offset(3)) (3, 5), Offset(1): Ok(Offset(3)) (3, 5), Offset(6): Err(OffsetOutOfRange) (3, 5), \
         End: Ok(Offset(5)) (5, 5); the next record is 5",
    ),
    Case::same("what was deleted is not found by time", retention::found_by_time, "Offset(3)"),
    Case::same(
        "a consumer below the first record is told or reset",
        retention::below_the_start,
        "earliest: reads 3; error: AutoOffsetReset",
    ),
    Case::same(
        "a consumer beyond the end is told or reset",
        retention::beyond_the_end,
        "earliest: reads 3; error: AutoOffsetReset",
    ),
    Case::same(
        "a consumer at the first record or at the end is not",
        retention::at_the_start_and_the_end,
        "error: reads 3; error: silence",
    ),
    Case::same(
        "retention.bytes gives up whole segments and never leaves less",
        retention::by_bytes,
        "from 10 to 30; a read from the beginning starts at [10]",
    ),
    Case::same(
        "retention.ms gives up what is old, the newest segment too",
        retention::by_age,
        "from 3 to 3; the next record is [3]",
    ),
    Case::same("with LogAppendTime a record has the broker's time", records::log_append_time, "the broker's time"),
    Case::same("without it a record keeps the producer's time", records::create_time, "CreateTime(1700000000000)"),
    Case::same("a record from tomorrow is refused", records::time_of_tomorrow, "InvalidTimestamp"),
    Case::same(
        "keys, values and headers of any bytes, empty or null, pass unchanged",
        records::everything_in_a_record,
        r#"256/256/["h" 256 "h" 0 "" null] 9/null/[] null/0/[] exact: true"#,
    ),
    Case::same(
        "an idempotent producer's records are there once and in order",
        records::idempotent,
        "all once and in order: true",
    ),
    Case::same(
        "a batch whose acknowledgement was lost is there once",
        records::lost_acknowledgement,
        r#"1 answer lost; taken at Ok(1); values ["0", "1", "2"], end 3"#,
    ),
    Case::same("records of a partition stay in order with five requests in flight", records::order, "in order: true"),
    Case::same("a fetch may start inside a batch", records::middle_of_a_batch, ALL_OF_INSIDE),
    Case::same("a fetch may start inside an lz4 batch", records::middle_of_an_lz4_batch, ALL_OF_INSIDE),
    Case::same("a fetch may start inside a snappy batch", records::middle_of_a_snappy_batch, ALL_OF_INSIDE),
    Case::same("a fetch may start inside a gzip batch", records::middle_of_a_gzip_batch, ALL_OF_INSIDE),
    Case::same("a fetch may start inside a zstd batch", records::middle_of_a_zstd_batch, ALL_OF_INSIDE),
    Case::same("offsets are found by time", records::offsets_for_times, "Offset(0), Offset(1), Offset(2), End"),
    Case::same("the first and the next offset are known", records::watermarks, "(0, 0), then (0, 7)"),
    Case::same(
        "a record over the broker's limit is refused",
        records::too_large,
        "1,000,000 bytes taken, 1,100,000 bytes MessageSizeTooLarge",
    ),
    Case::same(
        "min.insync.replicas above the number of replicas counts as that number",
        records::more_in_sync_than_replicas,
        "acks=all taken, acks=1 taken",
    ),
    Case::same("a waiting fetch is answered when a record comes", records::waiting_fetch, "at once"),
    Case::same(
        "a waiting fetch that asks for more is answered when there is as much",
        records::waiting_fetch_for_more,
        "one record: when the wait is over, a thousand: at once",
    ),
    Case::differs(
        "an aborted transaction stays hidden from who reads committed records",
        records::transaction,
        ["first committed record at [2]", "init TransactionalIdAuthorizationFailed"],
        "there are no transactions here; nothing of ours uses them",
    ),
    Case::same("a consumer resumes at its group's committed offset", groups::resume, "nothing, then 4; goes on at [4]"),
    Case::same("a group may commit backwards and beyond the end", groups::odd_commits, "5: 5, 2: 2, 1000: 1000"),
    Case::same(
        "an offset of a partition that does not exist is not committed",
        groups::commit_to_an_unknown_partition,
        "UnknownTopicOrPartition",
    ),
    Case::same(
        "two members share a topic, and one takes over",
        groups::two_members,
        "split: true (2, 2); the one that stays has all: true",
    ),
    Case::same(
        "a restart in the middle loses and doubles nothing",
        upheaval::restart,
        "all acknowledged: true, read once and in order: true, group at 42",
    )
    .alone(),
    Case::same(
        "every client finds a broker again that was told of no broker while it started",
        upheaval::clients_find_the_broker_again,
        "40 of 40 clients",
    )
    .alone(),
];
