//! Several functions own one item, each its attributes: on the embedded DynamoDB and on DynamoDB Local, by the lean client and by the SDK's.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TransactWriteItem, Update,
};
use centinela_adapters::aws::{Services, WireClient};
use centinela_adapters::{
    AttributeGroup, DynamoConfig, DynamoLimits, DynamoStateStore, OwnedItems, OwnedTable, SystemClock, Tables,
};
use centinela_contracts::stored_partition::{self, StoredPartition};
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::{stored_profile, stored_risk};
use centinela_domain::profile::{Fact, Minute};
use centinela_domain::risk::{Day, Verdict};
use centinela_domain::{DeviceId, DeviceState, Ledger, Millis, MissingInputs, Profile, Risk, UserId, UserState};
use centinela_e2e::real_servers::RealServers;
use centinela_local::aws::{DynamoConfig as Service, DynamoDb};
use centinela_scoring::ports::{
    Background, Commit, DecisionState, KnownDevices, Marks, ReadRequest, StateReader, StoreError, Versioned, Write,
};
use futures::future::{join_all, join3};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const USERS: &str = "owned_users";
const DEVICES: &str = "owned_devices";
const MARKS: &str = "owned_marks";
/// A call whose answer comes late is tried again, and its own write then looks like somebody else's: on a busy machine too, none may.
const LIMITS: DynamoLimits = DynamoLimits {
    attempt: Duration::from_secs(60),
    device_patience: Duration::from_secs(60),
    single_item: Duration::from_secs(60),
    calls_in_flight: 4,
};
const DEADLINE_MS: i64 = 60_000;
const T: Millis = Millis(1_790_000_000_000);

/// A database and what its owners use.
struct Database {
    by: WireClient,
    client: Client,
    tables: Tables,
    store: DynamoStateStore,
}

/// Each client has tables of its own.
fn named(table: &str, by: WireClient) -> String {
    format!("{table}_{by:?}").to_lowercase()
}

impl Database {
    async fn at(url: &str, by: WireClient) -> Self {
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(url)
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("centinela", "centinela-local", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .load()
            .await;
        let tables = Services::new(&sdk, by).unwrap().tables().await.unwrap();
        let [user_table, device_table, marks_table] = [USERS, DEVICES, MARKS].map(|table| named(table, by));
        let config = DynamoConfig {
            user_table,
            device_table,
            marks_table,
            consumer_group: "group".to_owned(),
            transactions_topic: "transactions".to_owned(),
            name_for_logs: Arc::new(|_| "pseudonym".to_owned()),
            limits: LIMITS,
        };
        let store = DynamoStateStore::new(tables.clone(), config);
        Self { by, client: Client::new(&sdk), tables, store }
    }

    /// The tests of this process share one DynamoDB Local and its tables; each has keys of its own.
    async fn create_tables(&self) {
        for table in [USERS, DEVICES, MARKS] {
            let attribute = AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S);
            let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
            let call = self.client.create_table().table_name(named(table, self.by)).key_schema(key);
            let call = call.attribute_definitions(attribute.build().unwrap()).billing_mode(BillingMode::PayPerRequest);
            if let Err(error) = call.send().await {
                assert!(
                    error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()),
                    "{error:?}"
                );
            }
        }
    }

    fn owned(&self, table: &str, group: AttributeGroup) -> OwnedItems {
        let (name, kind, name_for_logs) = (named(table, self.by), "item", Arc::new(|_: &str| "pseudonym".to_owned()));
        let table = OwnedTable { name, group, kind, name_for_logs, limits: LIMITS };
        OwnedItems::new(self.tables.clone(), table)
    }

    /// All attributes of an item.
    async fn attributes(&self, table: &str, key: &str) -> HashMap<String, AttributeValue> {
        let get = self.client.get_item().table_name(named(table, self.by)).key("pk", AttributeValue::S(key.to_owned()));
        get.consistent_read(true).send().await.unwrap().item.unwrap_or_default()
    }
}

const BOTH: [WireClient; 2] = [WireClient::Lean, WireClient::Sdk];

/// Both databases, one after the other, each by both clients.
async fn on_both(test: impl AsyncFn(&Database)) {
    let embedded = DynamoDb::start(Service::default()).await.unwrap();
    let mut urls = vec![embedded.url()];
    let servers = RealServers::shared();
    urls.extend(servers.as_ref().map(|servers| servers.dynamodb().to_owned()));
    for (url, by) in urls.iter().flat_map(|url| BOTH.map(|by| (url, by))) {
        let database = Database::at(url, by).await;
        database.create_tables().await;
        test(&database).await;
    }
}

fn soon() -> Millis {
    use centinela_delivery::Clock;
    Millis(SystemClock.now().0 + DEADLINE_MS)
}

fn write(key: &str, expected: Option<u64>, content: &str) -> Write<String, Vec<u8>> {
    Write { key: key.to_owned(), expected, item: content.as_bytes().to_vec() }
}

fn is_done<T>(commits: &[Commit<T>]) -> bool {
    commits.iter().all(|commit| matches!(commit, Commit::Done))
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn stored(transactions: u64) -> StoredUser {
    StoredUser { state: UserState { transactions, ..UserState::new(T) }, ledger: Ledger::default() }
}

fn first_decision(name: &str) -> Vec<Write<UserId, StoredUser>> {
    vec![Write { key: user(name), expected: None, item: stored(1) }]
}

async fn decides_after_another_owner(database: &Database) {
    let profiles = database.owned(USERS, AttributeGroup::PROFILE);
    assert!(is_done(&profiles.commit(&[write("ana", None, "registered")], soon()).await));
    let request = ReadRequest { users: vec![user("ana")], ..ReadRequest::default() };
    let answer = database.store.read(request, soon()).await;
    assert!(answer.users.is_empty() && answer.unreadable_users.is_empty() && answer.problem.is_none(), "{answer:?}");
    assert!(database.store.read_user(&user("ana"), soon()).await.unwrap().is_none());

    assert!(is_done(&database.store.commit_users(first_decision("ana"), soon()).await));
    let lost = database.store.commit_users(first_decision("ana"), soon()).await;
    assert!(matches!(&lost[..], [Commit::Lost(Some(Versioned { version: 1, .. }))]), "{lost:?}");
    let profile = profiles.get("ana", soon()).await.unwrap();
    assert_eq!(profile, Some(Versioned { version: 1, item: b"registered".to_vec() }));
}

async fn another_owner_comes_after_decisions(database: &Database) {
    let profiles = database.owned(USERS, AttributeGroup::PROFILE);
    assert!(is_done(&database.store.commit_users(first_decision("ben"), soon()).await));
    assert!(profiles.get("ben", soon()).await.unwrap().is_none());
    assert!(is_done(&profiles.commit(&[write("ben", None, "registered")], soon()).await));
    let lost = profiles.commit(&[write("ben", None, "late")], soon()).await;
    assert!(matches!(&lost[..], [Commit::Lost(Some(Versioned { version: 1, .. }))]), "{lost:?}");
    let decided = database.store.read_user(&user("ben"), soon()).await.unwrap();
    assert_eq!(decided, Some(Versioned { version: 1, item: stored(1) }));
    let mut names: Vec<_> = database.attributes(USERS, "ben").await.into_keys().collect();
    names.sort();
    assert_eq!(names, ["p", "pk", "pv", "s", "v"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_another_owner_created_has_no_state_of_this_one_and_is_taken_over() {
    on_both(async |database| {
        decides_after_another_owner(database).await;
        another_owner_comes_after_decisions(database).await;

        let phone = DeviceId::new("phone").unwrap();
        let risks = database.owned(DEVICES, AttributeGroup::RISK);
        assert!(is_done(&risks.commit(&[write("phone", None, "chargeback")], soon()).await));
        let seen = vec![Write { key: phone, expected: None, item: DeviceState::first_seen(T) }];
        assert!(is_done(&database.store.commit_devices(seen, soon()).await));
        assert_eq!(risks.get("phone", soon()).await.unwrap().map(|risk| risk.item), Some(b"chargeback".to_vec()));

        let key = stored_partition::key("group", "transactions", 3);
        let others = database.owned(MARKS, AttributeGroup::RISK);
        assert!(matches!(others.commit_alone(write(&key, None, "other"), soon()).await, Commit::Done));
        let mark = || Write { key: 3, expected: None, item: StoredPartition::default() };
        assert!(matches!(database.store.commit_partition(mark(), soon()).await, Commit::Done));
        assert!(matches!(database.store.commit_partition(mark(), soon()).await, Commit::Lost(Some(_))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_owners_say_comes_with_the_read_and_is_left_out_where_it_cannot_be_read() {
    on_both(async |database| {
        let profile = Profile::from_facts([Fact::Registered { at: Minute(14_000_000) }]);
        let mut risk = Risk::default();
        risk.add(Day(9_800), Verdict::Chargeback);
        let (phone, tablet) = (DeviceId::new("phone-of-cleo").unwrap(), DeviceId::new("tablet-of-dan").unwrap());
        let profiles = database.owned(USERS, AttributeGroup::PROFILE);
        let [risks, device_risks] = [USERS, DEVICES].map(|table| database.owned(table, AttributeGroup::RISK));
        let of = |key: &str, item| [Write { key: key.to_owned(), expected: None, item }];
        let (good, broken) = (stored_risk::encode(&risk), vec![0xff]);
        for (items, writes) in [
            (&profiles, of("cleo", stored_profile::encode(&profile))),
            (&risks, of("cleo", good.clone())),
            (&device_risks, of(phone.as_str(), good)),
            (&profiles, of("dan", broken.clone())),
            (&risks, of("dan", broken.clone())),
            (&device_risks, of(tablet.as_str(), broken)),
        ] {
            assert!(is_done(&items.commit(&writes, soon()).await));
        }
        assert!(is_done(&database.store.commit_users(first_decision("dan"), soon()).await));
        let (cleo, dan) = (user("cleo"), user("dan"));
        let devices = vec![phone.clone(), tablet.clone()];
        let request = ReadRequest { users: vec![cleo.clone(), dan.clone(), user("eva")], devices, partitions: vec![] };
        let answer = database.store.read(request, soon()).await;
        let Background { profiles, user_risk, device_risk, .. } = &answer.background;
        assert_eq!((profiles.len(), profiles.get(&cleo)), (1, Some(&profile)));
        assert_eq!((user_risk.len(), user_risk.get(&cleo)), (1, Some(&risk)));
        assert_eq!((device_risk.len(), device_risk.get(&phone)), (1, Some(&risk)));
        let (eva, missing) = (user("eva"), |user, device| answer.background.missing(user, device, false));
        assert!(!missing(&cleo, &phone).any() && !missing(&eva, &phone).any());
        let all = MissingInputs { device: false, profile: true, user_risk: true, device_risk: true };
        assert_eq!(missing(&dan, &tablet), all);
        assert_eq!(answer.users[&dan].item, stored(1), "what is broken beside it does not stop a decision");
        assert!(answer.unreadable_users.is_empty() && answer.unread_devices.is_empty() && answer.problem.is_none());
    })
    .await;
}

/// Counts in one owner's attributes of many keys, as often as asked, beside whoever else does.
async fn count(items: &OwnedItems, keys: &[String], times: u64) {
    for _ in 0..times {
        let mut left: Vec<String> = keys.to_vec();
        while !left.is_empty() {
            let states = join_all(left.iter().map(|key| items.get(key, soon()))).await;
            let writes: Vec<_> = left
                .into_iter()
                .zip(states)
                .map(|(key, state)| {
                    let (expected, counted) = match state.unwrap() {
                        Some(Versioned { version, item }) => {
                            (Some(version), u64::from_be_bytes(item.try_into().unwrap()))
                        }
                        None => (None, 0),
                    };
                    Write { key, expected, item: (counted + 1).to_be_bytes().to_vec() }
                })
                .collect();
            let commits = items.commit(&writes, soon()).await;
            let lost = writes.into_iter().zip(commits).filter_map(|(write, commit)| match commit {
                Commit::Done => None,
                Commit::Lost(_) => Some(write.key),
                Commit::Failed(problem) => panic!("{problem:?}"),
            });
            left = lost.collect();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_that_write_at_the_same_time_never_lose_each_others_attributes() {
    const TIMES: u64 = 8;
    on_both(async |database| {
        let groups = [AttributeGroup::DECISIONS, AttributeGroup::PROFILE, AttributeGroup::RISK];
        let owners = groups.map(|group| database.owned(USERS, group));
        let keys: Vec<String> = (0..30).map(|number| format!("busy-{number}")).collect();
        // Each owner twice: two environments of one function.
        join_all(owners.iter().chain(&owners).map(|owner| count(owner, &keys, TIMES))).await;
        for owner in &owners {
            for key in &keys {
                let counted = owner.get(key, soon()).await.unwrap();
                let expected = Versioned { version: 2 * TIMES, item: (2 * TIMES).to_be_bytes().to_vec() };
                assert_eq!(counted, Some(expected), "{key}");
            }
        }
    })
    .await;
}

/// One label on a user and a device: a transaction over the owner's attributes of both.
async fn label(database: &Database, number: usize) -> bool {
    let update = |table: &str, key: &str| {
        let update =
            Update::builder().table_name(named(table, database.by)).key("pk", AttributeValue::S(key.to_owned()));
        let update = update.update_expression("SET r = :content ADD rv :one");
        let update = update.expression_attribute_values(":one", AttributeValue::N("1".to_owned()));
        let content = AttributeValue::B(Blob::new(number.to_string().into_bytes()));
        let update = update.expression_attribute_values(":content", content).build().unwrap();
        TransactWriteItem::builder().update(update).build()
    };
    let call = database.client.transact_write_items().transact_items(update(USERS, "labelled"));
    call.transact_items(update(DEVICES, "labelled")).send().await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_another_owner_cost_nobody_a_write() {
    on_both(async |database| {
        let decisions = [USERS, DEVICES].map(|table| database.owned(table, AttributeGroup::DECISIONS));
        let keys = ["labelled".to_owned()];
        let labels = async {
            let mut applied = 0;
            for number in 0..40 {
                applied += u64::from(label(database, number).await);
            }
            applied
        };
        let (applied, (), ()) = join3(labels, count(&decisions[0], &keys, 40), count(&decisions[1], &keys, 40)).await;
        assert!(applied > 0);
        for (items, table) in decisions.iter().zip([USERS, DEVICES]) {
            assert_eq!(items.get("labelled", soon()).await.unwrap().map(|state| state.version), Some(40));
            let risk = database.owned(table, AttributeGroup::RISK).get("labelled", soon()).await.unwrap();
            assert_eq!(risk.map(|state| state.version), Some(applied));
        }
    })
    .await;
}

/// Answers each request with the next of these bodies.
async fn answering(bodies: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut bodies = bodies.iter();
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                if let Some((_, value)) =
                    line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            stream.read_exact(&mut vec![0; length]).await.unwrap();
            let Some(body) = bodies.next() else { return };
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length";
            stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn a_statement_that_meets_a_transaction_is_tried_again_inside_the_deadline() {
    for by in BOTH {
        tried_again_inside_the_deadline(by).await;
    }
}

async fn tried_again_inside_the_deadline(by: WireClient) {
    const CONFLICT: &str = r#"{"Responses":[{"Error":{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"}},{}]}"#;
    const AGAIN: &str =
        r#"{"Responses":[{"Error":{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"}}]}"#;
    let url = answering(&[CONFLICT, AGAIN, r#"{"Responses":[{}]}"#]).await;
    let profiles = Database::at(&url, by).await.owned(USERS, AttributeGroup::PROFILE);
    let writes = [write("ana", Some(1), "one"), write("ben", None, "two")];
    assert!(is_done(&profiles.commit(&writes, soon()).await));

    let url = answering(&[AGAIN; 1_000]).await;
    let profiles = Database::at(&url, by).await.owned(USERS, AttributeGroup::PROFILE);
    let deadline = Millis(soon().0 - DEADLINE_MS + 150);
    let commits = profiles.commit(&[write("ana", Some(1), "one")], deadline).await;
    assert!(matches!(commits[..], [Commit::Failed(StoreError::Unavailable(_))]), "{commits:?}");
}
