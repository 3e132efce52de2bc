//! The state store against an embedded DynamoDB that misbehaves on request, by either client.

#[macro_use]
mod clients;

use std::collections::HashSet;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use centinela_adapters::aws::{Services, WireClient};
use centinela_adapters::{ConnectError, DynamoConfig, DynamoLimits, DynamoStateStore, SystemClock, Tables};
use centinela_contracts::stored_partition::{PENDING_FAILURES_MAX, PendingFailure, StoredPartition};
use centinela_contracts::stored_user::StoredUser;
use centinela_delivery::Clock;
use centinela_domain::{DeviceId, DeviceState, Ledger, Mark, Millis, UserId, UserState};
use centinela_local::aws::{AttrType, DynamoConfig as Service, DynamoDb, Fault, FaultSource, RequestInfo, TableSpec};
use centinela_scoring::ports::{
    Commit, DecisionState, KnownDevices, Marks, ReadRequest, StateReader, StoreError, Versioned, Write,
};
use clients::sdk;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

type TestResult = Result<(), Box<dyn Error>>;
type Rule = Box<dyn Fn(usize, &str, &Value) -> Fault + Send + Sync>;

const T: Millis = Millis(1_790_000_000_000);

/// Decides by the request's place, operation and body, and remembers what was asked.
struct Script {
    rule: Rule,
    calls: Mutex<Vec<(String, Value)>>,
}

impl FaultSource for Script {
    fn decide(&self, request: &RequestInfo<'_>) -> Fault {
        let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
        let mut calls = self.calls.lock().expect("no test panics while it holds this");
        let fault = (self.rule)(calls.len(), request.operation, &body);
        calls.push((request.operation.to_owned(), body));
        fault
    }
}

struct World {
    service: DynamoDb,
    store: DynamoStateStore,
    tables: Tables,
    /// Sees what is stored, whoever stored it.
    client: Client,
    script: Arc<Script>,
}

fn tables() -> Vec<TableSpec> {
    ["user_state", "device_state", "settled_offsets"]
        .map(|name| TableSpec {
            name: name.to_owned(),
            partition_key: ("pk".to_owned(), AttrType::S),
            sort_key: None,
            ttl_attribute: None,
        })
        .to_vec()
}

fn config() -> DynamoConfig {
    DynamoConfig {
        user_table: "user_state".to_owned(),
        device_table: "device_state".to_owned(),
        marks_table: "settled_offsets".to_owned(),
        consumer_group: "score-transactions".to_owned(),
        transactions_topic: "transactions".to_owned(),
        name_for_logs: Arc::new(|_| "pseudonym".to_owned()),
        limits: DynamoLimits::default(),
    }
}

impl World {
    async fn calm(by: WireClient) -> Result<Self, Box<dyn Error>> {
        Self::with(by, |_, _, _| Fault::None).await
    }

    async fn with(
        by: WireClient,
        rule: impl Fn(usize, &str, &Value) -> Fault + Send + Sync + 'static,
    ) -> Result<Self, Box<dyn Error>> {
        let script = Arc::new(Script { rule: Box::new(rule), calls: Mutex::default() });
        let faults: Arc<dyn FaultSource> = Arc::clone(&script) as _;
        let service = DynamoDb::start(Service { port: None, tables: tables(), faults, latency: None }).await?;
        let sdk = sdk(&service.url()).await;
        let tables = Services::new(&sdk, by)?.tables().await?;
        let store = DynamoStateStore::new(tables.clone(), config());
        Ok(Self { service, store, tables, client: Client::new(&sdk), script })
    }

    fn calls(&self) -> Vec<(String, Value)> {
        self.script.calls.lock().expect("no test panics while it holds this").clone()
    }

    fn statements_per_call(&self) -> Vec<usize> {
        let calls = self.calls();
        let batches = calls.iter().filter(|(operation, _)| operation == "BatchExecuteStatement");
        batches.map(|(_, body)| body["Statements"].as_array().map_or(0, Vec::len)).collect()
    }

    async fn version_of(&self, name: &str) -> Option<u64> {
        self.store.read_user(&user(name), soon()).await.expect("the database is calm by now").map(|found| found.version)
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a valid name")
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).expect("a valid name")
}

fn stored(transactions: u64) -> StoredUser {
    let state = UserState { transactions, ..UserState::new(T) };
    StoredUser { state, ledger: Ledger::default() }
}

fn write(name: &str, expected: Option<u64>, transactions: u64) -> Write<UserId, StoredUser> {
    Write { key: user(name), expected, item: stored(transactions) }
}

fn writes(count: usize) -> Vec<Write<UserId, StoredUser>> {
    (0..count).map(|index| write(&format!("user-{index}"), None, index as u64)).collect()
}

fn soon() -> Millis {
    Millis(SystemClock.now().0 + 5_000)
}

fn within(time: Duration) -> Millis {
    Millis(SystemClock.now().0 + time.as_millis() as i64)
}

fn done<T>(commits: &[Commit<T>]) -> Vec<bool> {
    commits.iter().map(|commit| matches!(commit, Commit::Done)).collect()
}

async fn what_is_written_is_read_with_its_version(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    let device_state = DeviceState::first_seen(T);
    let partition =
        StoredPartition { mark: Some(Mark { offset: 7, timestamp: T }), pending_failures: Vec::new(), noted_at: T };
    assert_eq!(done(&world.store.commit_users(vec![write("ana", None, 1)], soon()).await), [true]);
    assert_eq!(done(&world.store.commit_users(vec![write("ana", Some(1), 2)], soon()).await), [true]);
    let note = Write { key: device("phone"), expected: None, item: device_state.clone() };
    assert_eq!(done(&world.store.commit_devices(vec![note], soon()).await), [true]);
    let note = Write { key: 3, expected: None, item: partition.clone() };
    assert!(matches!(world.store.commit_partition(note, soon()).await, Commit::Done));

    let request = ReadRequest {
        users: vec![user("ana"), user("nobody")],
        devices: vec![device("phone"), device("unseen")],
        partitions: vec![3, 4],
    };
    let answer = world.store.read(request, soon()).await;
    assert_eq!(answer.users, [(user("ana"), Versioned { version: 2, item: stored(2) })].into());
    assert_eq!(answer.devices, [(device("phone"), Versioned { version: 1, item: device_state })].into());
    assert_eq!(answer.partitions, [(3, Versioned { version: 1, item: partition })].into());
    assert!(answer.unread_users.is_empty() && answer.unread_devices.is_empty() && answer.unread_partitions.is_empty());
    assert!(answer.problem.is_none());
    Ok(())
}

async fn a_batch_is_read_in_as_few_calls_as_possible_and_only_the_marks_consistently(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    let request = ReadRequest {
        users: (0..120).map(|index| user(&format!("user-{index}"))).chain([user("user-0")]).collect(),
        devices: (0..70).map(|index| device(&format!("device-{index}"))).collect(),
        partitions: (0..10).collect(),
    };
    let answer = world.store.read(request, soon()).await;
    assert!(answer.problem.is_none());
    let calls = world.calls();
    assert_eq!(calls.len(), 2, "200 keys, 100 in a call");
    for (operation, body) in calls {
        assert_eq!(operation, "BatchGetItem");
        for (table, keys) in body["RequestItems"].as_object().expect("tables") {
            assert_eq!(keys["ConsistentRead"], table == "settled_offsets", "{table}");
        }
    }
    Ok(())
}

async fn keys_that_were_left_unprocessed_are_asked_for_again(by: WireClient) -> TestResult {
    let world = World::with(by, |_, operation, body| {
        let keys = body["RequestItems"]["user_state"]["Keys"].as_array().map_or(0, Vec::len);
        if operation == "BatchGetItem" && keys > 2 { Fault::Partial { every: 2 } } else { Fault::None }
    })
    .await?;
    assert_eq!(done(&world.store.commit_users(writes(9), soon()).await), [true; 9]);
    let users = writes(9).into_iter().map(|write| write.key).collect();
    let answer = world.store.read(ReadRequest { users, ..ReadRequest::default() }, soon()).await;
    assert_eq!(answer.users.len(), 9);
    assert!(answer.unread_users.is_empty() && answer.problem.is_none());
    let asked: Vec<usize> = world.calls()[1..]
        .iter()
        .map(|(_, body)| body["RequestItems"]["user_state"]["Keys"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(asked, [9, 4, 2], "each time only what is missing");
    Ok(())
}

async fn devices_are_given_up_early_and_users_are_not(by: WireClient) -> TestResult {
    let world = World::with(by, |_, operation, body| {
        let devices = !body["RequestItems"]["device_state"].is_null();
        if operation == "BatchGetItem" && devices { Fault::Partial { every: 1 } } else { Fault::None }
    })
    .await?;
    assert_eq!(done(&world.store.commit_users(vec![write("ana", None, 1)], soon()).await), [true]);
    let request = ReadRequest { users: vec![user("ana")], devices: vec![device("phone")], partitions: vec![1] };
    let answer = world.store.read(request, soon()).await;
    assert!(answer.users.contains_key(&user("ana")));
    assert_eq!(answer.unread_devices, HashSet::from([device("phone")]));
    assert!(answer.unread_users.is_empty() && answer.unread_partitions.is_empty());
    assert!(matches!(answer.problem, Some(StoreError::Unavailable(_))), "{:?}", answer.problem);
    Ok(())
}

async fn a_device_table_that_refuses_costs_the_devices_only(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    assert_eq!(done(&world.store.commit_users(vec![write("ana", None, 1)], soon()).await), [true]);
    let store =
        DynamoStateStore::new(world.tables.clone(), DynamoConfig { device_table: "gone".to_owned(), ..config() });
    let request = ReadRequest { users: vec![user("ana")], devices: vec![device("phone")], partitions: vec![] };
    let answer = store.read(request, soon()).await;
    assert!(answer.users.contains_key(&user("ana")));
    assert!(answer.unread_devices.contains(&device("phone")));
    assert!(matches!(answer.problem, Some(StoreError::Rejected(_))), "{:?}", answer.problem);
    Ok(())
}

async fn what_cannot_be_read_until_the_deadline_is_named_as_unread(by: WireClient) -> TestResult {
    let world = World::with(by, |_, _, _| Fault::Throttle).await?;
    let request = || ReadRequest { users: vec![user("ana")], devices: vec![device("phone")], partitions: vec![5] };
    let answer = world.store.read(request(), within(Duration::from_millis(200))).await;
    assert!(answer.unread_users.contains(&user("ana")) && answer.unread_partitions.contains(&5));
    assert!(answer.unread_devices.contains(&device("phone")));
    assert!(matches!(answer.problem, Some(StoreError::Unavailable(_))), "{:?}", answer.problem);
    assert!(world.calls().len() > 1, "it was tried again");

    let answer = world.store.read(request(), Millis(0)).await;
    assert!(answer.unread_users.contains(&user("ana")));
    assert!(matches!(answer.problem, Some(StoreError::OutOfTime)), "{:?}", answer.problem);
    Ok(())
}

async fn a_call_that_hangs_is_given_up_with_its_attempt(by: WireClient) -> TestResult {
    let world =
        World::with(by, |place, _, _| if place == 0 { Fault::Delay(Duration::from_secs(30)) } else { Fault::None })
            .await?;
    let limits = DynamoLimits { attempt: Duration::from_millis(100), ..DynamoLimits::default() };
    let store = DynamoStateStore::new(world.tables.clone(), DynamoConfig { limits, ..config() });
    let started = Instant::now();
    let answer = store.read(ReadRequest { users: vec![user("ana")], ..ReadRequest::default() }, soon()).await;
    assert!(answer.unread_users.is_empty() && answer.problem.is_none());
    assert!(started.elapsed() < Duration::from_secs(5));
    Ok(())
}

async fn an_item_that_cannot_be_decoded_is_unreadable_and_its_owner_is_not_named(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    let garbage = AttributeValue::B(Blob::new([255, 0, 1]));
    let put = world.client.put_item().table_name("user_state").item("pk", AttributeValue::S("ana".to_owned()));
    put.item("v", AttributeValue::N("4".to_owned())).item("s", garbage).send().await?;
    let request = ReadRequest { users: vec![user("ana"), user("ben")], ..ReadRequest::default() };
    let answer = world.store.read(request, soon()).await;
    assert_eq!(answer.unreadable_users, HashSet::from([user("ana")]));
    assert!(answer.unread_users.is_empty());
    let Some(StoreError::Corrupt(cause)) = answer.problem else { panic!("{:?}", answer.problem) };
    assert_eq!(cause.to_string(), "the stored item of user pseudonym cannot be read");
    assert!(matches!(world.store.read_user(&user("ana"), soon()).await, Err(StoreError::Corrupt(_))));
    let lost = world.store.commit_users(vec![write("ana", Some(3), 1)], soon()).await;
    assert!(matches!(lost[..], [Commit::Failed(StoreError::Corrupt(_))]), "{lost:?}");
    Ok(())
}

async fn an_item_whose_version_none_could_follow_is_unreadable(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    assert_eq!(done(&world.store.commit_users(vec![write("ana", None, 1)], soon()).await), [true]);
    let seen = Write { key: device("phone"), expected: None, item: DeviceState::first_seen(T) };
    assert_eq!(done(&world.store.commit_devices(vec![seen], soon()).await), [true]);
    let mark =
        StoredPartition { mark: Some(Mark { offset: 5, timestamp: T }), pending_failures: Vec::new(), noted_at: T };
    let mark = Write { key: 2, expected: None, item: mark };
    assert!(matches!(world.store.commit_partition(mark, soon()).await, Commit::Done));
    let keys =
        [("user_state", "ana"), ("device_state", "phone"), ("settled_offsets", "score-transactions/transactions/2")];
    let request = || ReadRequest { users: vec![user("ana")], devices: vec![device("phone")], partitions: vec![2] };

    for (version, is_read) in [(1 << 53, true), ((1 << 53) + 1, false), (u64::MAX, false)] {
        for (table, key) in keys {
            let change = world.client.update_item().table_name(table).key("pk", AttributeValue::S(key.to_owned()));
            let change = change.update_expression("SET v = :v").condition_expression("attribute_exists(pk)");
            change.expression_attribute_values(":v", AttributeValue::N(version.to_string())).send().await?;
        }
        let answer = world.store.read(request(), soon()).await;
        let read = [answer.users.len(), answer.devices.len(), answer.partitions.len()];
        assert_eq!(read, [usize::from(is_read); 3], "{version}");
        let unread = [answer.unreadable_users.len(), answer.unread_devices.len(), answer.unread_partitions.len()];
        assert_eq!(unread, [usize::from(!is_read); 3], "{version}");
        let alone = world.store.read_user(&user("ana"), soon()).await;
        assert_eq!(matches!(alone, Err(StoreError::Corrupt(_))), !is_read, "{version}");
        let alone = world.store.read_partition(2, soon()).await;
        assert_eq!(matches!(alone, Err(StoreError::Corrupt(_))), !is_read, "{version}");
    }
    Ok(())
}

async fn a_lost_race_brings_the_winner_and_leaves_the_others_alone(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    assert_eq!(done(&world.store.commit_users(vec![write("ana", None, 1)], soon()).await), [true]);
    assert_eq!(done(&world.store.commit_users(vec![write("ana", Some(1), 2)], soon()).await), [true]);
    let contested = vec![write("ben", None, 1), write("ana", Some(1), 99), write("cleo", None, 1)];
    let commits = world.store.commit_users(contested, soon()).await;
    assert_eq!(done(&commits), [true, false, true]);
    let Commit::Lost(Some(winner)) = &commits[1] else { panic!("{:?}", commits[1]) };
    assert_eq!(*winner, Versioned { version: 2, item: stored(2) });
    assert_eq!(world.version_of("cleo").await, Some(1));
    Ok(())
}

async fn the_loser_of_two_first_writes_learns_the_winner(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    assert_eq!(done(&world.store.commit_users(vec![write("ana", None, 1)], soon()).await), [true]);
    let commits = world.store.commit_users(vec![write("ana", None, 2)], soon()).await;
    let [Commit::Lost(Some(winner))] = &commits[..] else { panic!("{commits:?}") };
    assert_eq!(*winner, Versioned { version: 1, item: stored(1) });
    let missing = world.store.commit_users(vec![write("nobody", Some(8), 2)], soon()).await;
    assert!(matches!(missing[..], [Commit::Lost(None)]), "{missing:?}");
    Ok(())
}

async fn only_throttled_statements_are_sent_again(by: WireClient) -> TestResult {
    let world =
        World::with(by, |place, _, _| if place == 0 { Fault::Partial { every: 3 } } else { Fault::None }).await?;
    assert_eq!(done(&world.store.commit_users(writes(7), soon()).await), [true; 7]);
    assert_eq!(world.statements_per_call(), [7, 2]);
    assert_eq!(world.version_of("user-2").await, Some(1));
    Ok(())
}

async fn a_throttled_call_is_sent_again_whole(by: WireClient) -> TestResult {
    let world = World::with(by, |place, _, _| if place < 2 { Fault::Throttle } else { Fault::None }).await?;
    assert_eq!(done(&world.store.commit_users(writes(3), soon()).await), [true; 3]);
    assert_eq!(world.statements_per_call(), [3, 3, 3]);
    Ok(())
}

async fn a_write_whose_reply_was_lost_comes_back_as_a_race_lost_against_itself(by: WireClient) -> TestResult {
    let world = World::with(by, |place, _, _| if place == 1 { Fault::ReplyLost } else { Fault::None }).await?;
    assert_eq!(done(&world.store.commit_users(vec![write("ana", None, 1)], soon()).await), [true]);
    let commits = world.store.commit_users(vec![write("ana", Some(1), 2), write("ben", None, 1)], soon()).await;
    let [Commit::Lost(Some(own)), Commit::Lost(Some(first))] = &commits[..] else { panic!("{commits:?}") };
    assert_eq!([own, first], [&Versioned { version: 2, item: stored(2) }, &Versioned { version: 1, item: stored(1) }]);
    assert_eq!(world.version_of("ana").await, Some(2), "applied once");
    assert_eq!(world.version_of("ben").await, Some(1), "applied once");
    Ok(())
}

async fn writes_that_never_get_through_have_failed(by: WireClient) -> TestResult {
    let world =
        World::with(by, |_, operation, _| if operation == "GetItem" { Fault::None } else { Fault::Throttle }).await?;
    let commits = world.store.commit_users(writes(2), within(Duration::from_millis(150))).await;
    assert!(commits.iter().all(|commit| matches!(commit, Commit::Failed(StoreError::Unavailable(_)))), "{commits:?}");
    assert_eq!(world.version_of("user-0").await, None);
    let late = world.store.commit_users(writes(1), Millis(0)).await;
    assert!(matches!(late[..], [Commit::Failed(StoreError::OutOfTime)]), "{late:?}");
    Ok(())
}

async fn a_refused_write_is_not_tried_again(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    let store = DynamoStateStore::new(world.tables.clone(), DynamoConfig { user_table: "gone".to_owned(), ..config() });
    let commits = store.commit_users(writes(2), soon()).await;
    assert!(commits.iter().all(|commit| matches!(commit, Commit::Failed(StoreError::Rejected(_)))), "{commits:?}");
    assert_eq!(world.calls().len(), 1);
    Ok(())
}

async fn many_writes_go_25_in_a_call_and_no_call_touches_an_item_twice(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    let mut all = writes(60);
    all.push(write("user-0", None, 7));
    let commits = world.store.commit_users(all, soon()).await;
    assert_eq!(done(&commits).into_iter().filter(|done| *done).count(), 60);
    let mut sizes = world.statements_per_call();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 11, 25, 25], "and the loser of two first writes is asked about once more");
    assert_eq!(world.service.snapshot().calls.get("BatchExecuteStatement"), Some(&4));
    Ok(())
}

async fn a_partitions_write_is_conditional_and_a_loser_learns_the_winner(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    let item = |offset| StoredPartition {
        mark: Some(Mark { offset, timestamp: T }),
        pending_failures: Vec::new(),
        noted_at: T,
    };
    let note = |expected, offset| Write { key: 2, expected, item: item(offset) };
    assert!(matches!(world.store.commit_partition(note(None, 5), soon()).await, Commit::Done));
    assert!(matches!(world.store.commit_partition(note(Some(1), 6), soon()).await, Commit::Done));
    for late in [note(None, 9), note(Some(1), 9)] {
        let Commit::Lost(Some(winner)) = world.store.commit_partition(late, soon()).await else { panic!("not lost") };
        assert_eq!(winner, Versioned { version: 2, item: item(6) });
    }
    assert_eq!(world.store.read_partition(2, soon()).await?.map(|found| found.version), Some(2));
    assert!(world.store.read_partition(9, soon()).await?.is_none());
    let marker = |offset| PendingFailure { at: Mark { offset, timestamp: T }, owner: None, unreadable: 0 };
    let pending_failures = (0..=PENDING_FAILURES_MAX as u64).map(marker).collect();
    let crowded = Write { key: 2, expected: Some(2), item: StoredPartition { pending_failures, ..item(6) } };
    assert!(matches!(world.store.commit_partition(crowded, soon()).await, Commit::Failed(StoreError::Rejected(_))));
    Ok(())
}

async fn missing_tables_are_named_at_start_and_a_throttling_database_is_not_one(by: WireClient) -> TestResult {
    let world = World::calm(by).await?;
    let missing = DynamoConfig { marks_table: "gone".to_owned(), ..config() };
    let error = DynamoStateStore::connect(world.tables.clone(), missing).await.expect_err("a table is missing");
    assert!(matches!(error, ConnectError::Tables { .. }));
    assert!(error.to_string().contains("\"gone\""), "{error}");
    DynamoStateStore::connect(world.tables.clone(), config()).await?;

    let throttling = World::with(by, |_, _, _| Fault::Throttle).await?;
    DynamoStateStore::connect(throttling.tables.clone(), config()).await?;
    Ok(())
}

/// What `BatchGetItem` answers when nothing is there.
const NOTHING: &str = r#"{"Responses":{},"UnprocessedKeys":{}}"#;

fn refusal(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"no"}}"#)
}

fn answer(status: u16, date: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} Something\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The store before a server that gives these answers, one after the other, and the last of them from then on. It notes when each request says
/// that it was signed.
async fn scripted(
    by: WireClient,
    answers: Vec<String>,
) -> Result<(DynamoStateStore, Arc<Mutex<Vec<String>>>), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let signed = Arc::new(Mutex::new(Vec::new()));
    let (noting, answers) = (Arc::clone(&signed), Arc::new(answers));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (noting, answers) = (Arc::clone(&noting), Arc::clone(&answers));
            tokio::spawn(serve(BufReader::new(socket), noting, answers));
        }
    });
    let tables = Services::new(&sdk(&url).await, by)?.tables().await?;
    Ok((DynamoStateStore::new(tables, config()), signed))
}

/// None when the client has gone.
async fn serve(
    mut socket: BufReader<TcpStream>,
    signed: Arc<Mutex<Vec<String>>>,
    answers: Arc<Vec<String>>,
) -> Option<()> {
    loop {
        let (mut at, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("x-amz-date", value)) => value.clone_into(&mut at),
                Some(("content-length", value)) => length = value.parse().ok()?,
                Some(_) => {}
                None if line.trim().is_empty() => break,
                None => {}
            }
        }
        socket.read_exact(&mut vec![0; length]).await.ok()?;
        let place = {
            let mut signed = signed.lock().expect("no test panics while it holds this");
            signed.push(at);
            (signed.len() - 1).min(answers.len() - 1)
        };
        socket.write_all(answers[place].as_bytes()).await.ok()?;
    }
}

async fn a_service_that_is_unwell_or_throttles_is_asked_again_and_one_that_refuses_is_not(
    by: WireClient,
) -> TestResult {
    for (status, said, requests) in [
        (500, refusal("InternalServerError"), 2),
        (503, "<html>busy</html>".to_owned(), 2),
        (400, refusal("ThrottlingException"), 2),
        (400, refusal("RequestLimitExceeded"), 2),
        (400, refusal("ValidationException"), 1),
        (400, refusal("AccessDeniedException"), 1),
    ] {
        let (store, signed) = scripted(by, vec![answer(status, "", &said), answer(200, "", NOTHING)]).await?;
        let read = store.read(ReadRequest { users: vec![user("ana")], ..ReadRequest::default() }, soon()).await;
        assert_eq!(signed.lock().expect("nobody panics").len(), requests, "{status} {said}");
        match read.problem {
            None => assert_eq!(requests, 2, "{status} {said}"),
            Some(StoreError::Rejected(_)) => assert_eq!(requests, 1, "{status} {said}"),
            Some(other) => panic!("{status} {said}: {other}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_clock_costs_the_lean_client_one_attempt_and_a_second_refusal_is_believed() -> TestResult {
    let refused = || answer(400, "Sun, 06 Nov 1994 08:49:37 GMT", &refusal("InvalidSignatureException"));
    let request = || ReadRequest { users: vec![user("ana")], ..ReadRequest::default() };
    let (store, signed) = scripted(WireClient::Lean, vec![refused(), answer(200, "", NOTHING)]).await?;
    for place in ["the first", "the next"] {
        let read = store.read(request(), soon()).await;
        assert!(read.problem.is_none(), "{place}: {:?}", read.problem);
    }
    let is_corrected: Vec<bool> =
        signed.lock().expect("nobody panics").iter().map(|at| at.starts_with("19941106t08")).collect();
    assert_eq!(is_corrected, [false, true, true], "and the correction is kept");

    let (store, signed) = scripted(WireClient::Lean, vec![refused()]).await?;
    let read = store.read(request(), soon()).await;
    assert!(matches!(read.problem, Some(StoreError::Rejected(_))), "{:?}", read.problem);
    assert_eq!(signed.lock().expect("nobody panics").len(), 2);
    Ok(())
}

by_both_clients! {
    a_service_that_is_unwell_or_throttles_is_asked_again_and_one_that_refuses_is_not,
    what_is_written_is_read_with_its_version,
    a_batch_is_read_in_as_few_calls_as_possible_and_only_the_marks_consistently,
    keys_that_were_left_unprocessed_are_asked_for_again,
    devices_are_given_up_early_and_users_are_not,
    a_device_table_that_refuses_costs_the_devices_only,
    what_cannot_be_read_until_the_deadline_is_named_as_unread,
    a_call_that_hangs_is_given_up_with_its_attempt,
    an_item_that_cannot_be_decoded_is_unreadable_and_its_owner_is_not_named,
    an_item_whose_version_none_could_follow_is_unreadable,
    a_lost_race_brings_the_winner_and_leaves_the_others_alone,
    the_loser_of_two_first_writes_learns_the_winner,
    only_throttled_statements_are_sent_again,
    a_throttled_call_is_sent_again_whole,
    a_write_whose_reply_was_lost_comes_back_as_a_race_lost_against_itself,
    writes_that_never_get_through_have_failed,
    a_refused_write_is_not_tried_again,
    many_writes_go_25_in_a_call_and_no_call_touches_an_item_twice,
    a_partitions_write_is_conditional_and_a_loser_learns_the_winner,
    missing_tables_are_named_at_start_and_a_throttling_database_is_not_one,
}
