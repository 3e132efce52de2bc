//! `centinela pending-failures` as an operator runs it: the real command against the embedded database.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_partition::{self, Owner, PendingFailure, StoredPartition};
use centinela_domain::{Mark, Millis, TransactionDigest, UserId};
use centinela_e2e::command::centinela;
use centinela_local::aws::{
    ACCESS_KEY_ID, AttrType, DynamoConfig, DynamoDb, Fault, FaultSource, NoFaults, REGION, RequestInfo,
    SECRET_ACCESS_KEY, TableSpec,
};
use serde_json::Value;
use tokio::runtime::Handle;

const TABLE: &str = "settled_offsets";
const USER: &str = "ana.person";
const HOUR_MS: i64 = 3_600_000;
/// 2026-01-05T10:40:00Z
const MARK_MS: i64 = 1_767_609_600_000;

fn pending_failures(arguments: &[&str]) -> Command {
    let mut command = centinela(&["pending-failures"]);
    command.args(arguments);
    command
}

/// Runs the command beside the runtime that serves the database.
fn run(arguments: &[&str]) -> Output {
    tokio::task::block_in_place(|| pending_failures(arguments).output().unwrap())
}

fn said(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Runs it to a good end and returns what it printed.
#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (printed, noted) = said(&output);
    assert_eq!((output.status.code(), noted.as_str()), (Some(0), ""), "{arguments:?}: {printed}");
    assert!(!printed.contains(USER), "a user is shown: {printed}");
    printed
}

/// Exactly one line of complaint, which names all of this, and nothing else.
#[track_caller]
fn assert_refused(arguments: &[&str], exit_code: i32, named: &[&str]) {
    let output = run(arguments);
    let (printed, noted) = said(&output);
    assert_eq!((output.status.code(), printed.as_str()), (Some(exit_code), ""), "{arguments:?}: {noted}");
    assert_eq!(noted.lines().count(), 1, "{arguments:?}: {noted}");
    for name in named {
        assert!(noted.contains(name), "{name} is missing in {noted}");
    }
}

/// The embedded database with an empty table, and a client of it.
struct Bench {
    database: DynamoDb,
    client: Client,
    url: String,
}

impl Bench {
    async fn start() -> Self {
        Self::with_faults(Arc::new(NoFaults)).await
    }

    async fn with_faults(faults: Arc<dyn FaultSource>) -> Self {
        let partition_key = ("pk".to_owned(), AttrType::S);
        let table = TableSpec { name: TABLE.to_owned(), partition_key, sort_key: None, ttl_attribute: None };
        let config = DynamoConfig { tables: vec![table], faults, ..DynamoConfig::default() };
        let database = DynamoDb::start(config).await.unwrap();
        let url = database.url();
        Self { client: client(&url), url, database }
    }

    async fn put(&self, partition: u32, version: u64, item: &StoredPartition) {
        put(&self.client, partition, version, stored_partition::encode(item).unwrap()).await;
    }

    /// Version and content as they are stored.
    async fn stored(&self, partition: u32) -> (u64, StoredPartition) {
        let item = self.client.get_item().table_name(TABLE).key("pk", key(partition)).consistent_read(true);
        let item = item.send().await.unwrap().item.unwrap();
        (
            item["v"].as_n().unwrap().parse().unwrap(),
            stored_partition::decode(item["s"].as_b().unwrap().as_ref()).unwrap(),
        )
    }
}

fn client(url: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"));
    Client::from_conf(config.build())
}

fn key(partition: u32) -> AttributeValue {
    AttributeValue::S(stored_partition::key("score-transactions", "transactions", partition))
}

async fn put(client: &Client, partition: u32, version: u64, content: Vec<u8>) {
    let item = client.put_item().table_name(TABLE).item("pk", key(partition));
    let item = item.item("v", AttributeValue::N(version.to_string())).item("s", AttributeValue::B(Blob::new(content)));
    item.send().await.unwrap();
}

fn marker(offset: u64, timestamp_ms: i64, user: Option<&str>) -> PendingFailure {
    let owner = user.map(|user| Owner {
        user: UserId::new(user).unwrap(),
        digest: TransactionDigest([0x01, 0x23, 0x45, 0x67, 0x89, 0xab]),
        content: None,
    });
    PendingFailure { at: Mark { offset, timestamp: Millis(timestamp_ms) }, owner, unreadable: 0 }
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A marker of ten hours, whose user is known, and one of an hour.
fn two_markers() -> StoredPartition {
    let now = now_ms();
    StoredPartition {
        mark: Some(Mark { offset: 500, timestamp: Millis(MARK_MS) }),
        pending_failures: vec![marker(510, now - 10 * HOUR_MS, Some(USER)), marker(520, now - HOUR_MS, None)],
        noted_at: Millis(MARK_MS + 5_250),
    }
}

fn offsets(item: &StoredPartition) -> Vec<u64> {
    item.pending_failures.iter().map(|hold| hold.at.offset).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn list_shows_each_partition_with_its_mark_and_its_markers_and_no_user() {
    let bench = Bench::start().await;
    bench.put(3, 7, &two_markers()).await;
    bench.put(10, 1, &StoredPartition { pending_failures: Vec::new(), ..two_markers() }).await;
    let lines = printed(&["list", "--dynamodb", &bench.url]);
    let lines: Vec<&str> = lines.lines().collect();
    let [third, known, unknown, tenth, sum] = lines[..] else { panic!("{lines:#?}") };
    let mark = "settled below offset 500 (2026-01-05T10:40:00.000Z), written 2026-01-05T10:40:05.250Z";
    assert_eq!(third, format!("partition 3: {mark}, 2 pending-failure markers"));
    assert!(known.trim().starts_with("offset 510  20"), "{known}");
    assert!(known.ends_with("10h 0m old  user known, transaction 0123456789ab"), "{known}");
    assert!(unknown.ends_with("1h 0m old  no user known"), "{unknown}");
    assert_eq!(tenth, format!("partition 10: {mark}, no pending-failure markers"));
    assert_eq!(sum, "2 pending-failure markers in 2 partitions of topic `transactions`, group `score-transactions`");

    let json: Value = serde_json::from_str(&printed(&["list", "--json", "--dynamodb", &bench.url])).unwrap();
    assert_eq!((&json["markers"], &json["table"]), (&Value::from(2), &Value::from(TABLE)));
    let partition = &json["partitions"][0];
    assert_eq!((&partition["partition"], &partition["version"]), (&Value::from(3), &Value::from(7)));
    assert_eq!(partition["settled_mark"]["broker_time"], "2026-01-05T10:40:00.000Z");
    let [known, unknown] = &partition["markers"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!((&known["offset"], &known["user_known"]), (&Value::from(510), &Value::from(true)));
    assert_eq!(known["transaction"], "0123456789ab");
    assert!((36_000..36_600).contains(&known["age_seconds"].as_i64().unwrap()), "{known}");
    assert_eq!((&unknown["transaction"], &unknown["user_known"]), (&Value::Null, &Value::from(false)));
    assert_eq!(json["partitions"][1]["markers"], Value::Array(Vec::new()));
    bench.database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn list_says_in_one_line_that_there_is_nothing_and_where_it_looked() {
    let bench = Bench::start().await;
    let empty = printed(&["list", "--dynamodb", &bench.url]);
    assert_eq!(empty.lines().count(), 1, "{empty}");
    assert!(empty.contains("`settled_offsets`: the table is empty, check --table"), "{empty}");
    bench.put(0, 1, &two_markers()).await;
    let elsewhere = printed(&["list", "--dynamodb", &bench.url, "--group", "by-hand"]);
    assert_eq!(elsewhere.lines().count(), 1, "{elsewhere}");
    for named in ["`by-hand`", "check --group and --topic, the table has `score-transactions/transactions`"] {
        assert!(elsewhere.contains(named), "{named} is missing in {elsewhere}");
    }
    bench.database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_changes_nothing_without_yes_and_then_exactly_the_marker_that_was_named() {
    let bench = Bench::start().await;
    let before = two_markers();
    bench.put(3, 7, &before).await;
    bench.put(4, 9, &before).await;
    let request = ["clear", "--dynamodb", &bench.url, "--partition", "3", "--offset", "510"];
    let dry = printed(&request);
    assert!(dry.starts_with("partition 3: 1 of 2 pending-failure markers\n  offset 510  "), "{dry}");
    assert!(dry.ends_with("nothing was changed; --yes clears what stands here\n"), "{dry}");
    assert_eq!(bench.stored(3).await, (7, before.clone()));

    let done = printed(&[&request[..], &["--yes"]].concat());
    assert!(done.ends_with("cleared, 1 pending-failure marker left\n"), "{done}");
    let after = StoredPartition { pending_failures: vec![before.pending_failures[1].clone()], ..before.clone() };
    assert_eq!(bench.stored(3).await, (8, after));
    assert_eq!(bench.stored(4).await, (9, before));
    bench.database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn markers_are_chosen_by_age_by_offsets_or_altogether() {
    let bench = Bench::start().await;
    bench.put(3, 1, &two_markers()).await;
    let clear = |more: &[&str]| {
        let begin = ["clear", "--yes", "--dynamodb", &bench.url, "--partition", "3"];
        printed(&[&begin[..], more].concat())
    };
    let nothing = clear(&["--older-than", "11h"]);
    assert_eq!(nothing, "partition 3 has 2 pending-failure markers, nothing to clear\n");
    clear(&["--older-than", "6h"]);
    assert_eq!(offsets(&bench.stored(3).await.1), [520]);
    bench.put(3, 1, &two_markers()).await;
    clear(&["--offset", "510,520"]);
    assert_eq!(offsets(&bench.stored(3).await.1), [0_u64; 0]);
    bench.put(3, 1, &two_markers()).await;
    assert!(clear(&["--all"]).ends_with("cleared, no pending-failure markers left\n"));
    assert_eq!(offsets(&bench.stored(3).await.1), [0_u64; 0]);
    assert_eq!(clear(&["--all"]), "partition 3 has no pending-failure markers, nothing to clear\n");
    bench.database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named_with_what_is() {
    let bench = Bench::start().await;
    bench.put(3, 1, &two_markers()).await;
    bench.put(11, 1, &two_markers()).await;
    let url = bench.url.as_str();
    let clear = |more: &[&'static str]| [&["clear", "--dynamodb", url][..], more].concat();
    assert_refused(&clear(&["--partition", "4", "--all"]), 2, &["partition 4", "`transactions`", "are 3, 11"]);
    assert_refused(&clear(&["--partition", "3", "--offset", "511"]), 2, &["partition 3", "offset 511", "510, 520"]);
    assert_refused(&clear(&["--partition", "3", "--all", "--table", "dev-x"]), 2, &["`dev-x`", "--table", url]);
    assert_refused(&["list", "--dynamodb", url, "--table", "dev-x"], 2, &["`dev-x`", "--table", url]);
    assert_refused(&clear(&["--partition", "3"]), 2, &["--offset", "--older-than", "--all"]);
    assert_refused(&clear(&["--partition", "3", "--all", "--offset", "510"]), 2, &["--all", "--offset"]);
    assert_refused(&clear(&["--all"]), 2, &["--partition"]);
    assert_refused(&clear(&["--partition", "-1", "--all"]), 2, &["-1"]);
    assert_refused(&clear(&["--partition", "3", "--older-than", "6 days"]), 2, &["6 days", "60s"]);
    assert_refused(&["list", "--dynamodb", "127.0.0.1:8000"], 2, &["127.0.0.1:8000", "http://HOST:PORT"]);
    assert_refused(&[], 2, &["list", "clear"]);
    assert_eq!(bench.stored(3).await.0, 1);
    bench.database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_named() {
    let nobody = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string();
    let url = format!("http://{nobody}");
    assert_refused(&["list", "--dynamodb", &url], 1, &[&url, "cannot be reached", "Connection refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_cannot_be_read_is_shown_beside_the_others_and_is_never_overwritten() {
    let bench = Bench::start().await;
    bench.put(3, 1, &two_markers()).await;
    put(&bench.client, 5, 4, vec![99, 1, 2]).await;
    let output = run(&["list", "--dynamodb", &bench.url]);
    let (printed, noted) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("partition 5: cannot be read: the stored item has format 99"), "{printed}");
    assert!(printed.contains("offset 510"), "{printed}");
    assert_eq!(noted, "centinela: the item of 1 partition cannot be read; it must be repaired\n");
    let clear = ["clear", "--yes", "--dynamodb", &bench.url, "--partition", "5", "--all"];
    assert_refused(&clear, 1, &["partition 5", "format 99", "repaired"]);
    bench.database.shutdown().await.unwrap();
}

/// Lets something happen to the first write.
struct FirstWrite<F> {
    seen: AtomicBool,
    then: F,
}

impl<F: Fn() -> Fault + Send + Sync + 'static> FaultSource for FirstWrite<F> {
    fn decide(&self, request: &RequestInfo<'_>) -> Fault {
        let first = request.operation == "UpdateItem" && !self.seen.swap(true, Ordering::SeqCst);
        if first { (self.then)() } else { Fault::None }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_race_is_begun_again_from_the_winner_and_keeps_what_it_wrote() {
    let url: Arc<OnceLock<String>> = Arc::default();
    let before = two_markers();
    // The function moves the mark and notes one more failure after the command has read and before it writes.
    let mut winner = before.clone();
    winner.pending_failures.push(marker(530, now_ms(), None));
    winner.mark = Some(Mark { offset: 505, timestamp: Millis(MARK_MS) });
    let content = stored_partition::encode(&winner).unwrap();
    let (runtime, database) = (Handle::current(), Arc::clone(&url));
    let race = move || {
        let client = client(database.get().unwrap());
        tokio::task::block_in_place(|| runtime.block_on(put(&client, 3, 2, content.clone())));
        Fault::None
    };
    let bench = Bench::with_faults(Arc::new(FirstWrite { seen: AtomicBool::new(false), then: race })).await;
    url.set(bench.url.clone()).unwrap();
    bench.put(3, 1, &before).await;
    let done = printed(&["clear", "--yes", "--dynamodb", &bench.url, "--partition", "3", "--offset", "510"]);
    assert!(done.ends_with("cleared, 2 pending-failure markers left\n"), "{done}");
    let (version, item) = bench.stored(3).await;
    assert_eq!((version, offsets(&item)), (3, vec![520, 530]));
    assert_eq!(item.mark.map(|mark| mark.offset), Some(505));
    bench.database.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_write_that_was_applied_is_no_failure() {
    let faults = FirstWrite { seen: AtomicBool::new(false), then: || Fault::ReplyLost };
    let bench = Bench::with_faults(Arc::new(faults)).await;
    bench.put(3, 1, &two_markers()).await;
    let done = printed(&["clear", "--yes", "--dynamodb", &bench.url, "--partition", "3", "--offset", "510"]);
    assert!(done.ends_with("gone already, 1 pending-failure marker left\n"), "{done}");
    let (version, item) = bench.stored(3).await;
    assert_eq!((version, offsets(&item)), (2, vec![520]));
    bench.database.shutdown().await.unwrap();
}
