//! `centinela erase` as an operator runs it: the real command against the embedded database.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::HashMap;
use std::process::Output;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use centinela_contracts::stored_decision::{self, IndexedDecision};
use centinela_contracts::stored_user::{self, StoredUser};
use centinela_domain::{
    AmountMinor, Coordinates, Currency, DecisionId, Entry, Ledger, Millis, Outcome, TransactionDigest, TransactionId,
    UserId, UserState,
};
use centinela_e2e::command::centinela;
use centinela_e2e::running::Running;
use centinela_lake::keys;
use centinela_local::aws::{
    ACCESS_KEY_ID, AttrType, AwsAccess, DynamoConfig, DynamoDb, NoFaults, REGION, S3, S3Config, SECRET_ACCESS_KEY,
    TableSpec,
};

const USER: &str = "ana.person";
const OTHER: &str = "ben.person";

struct World {
    service: DynamoDb,
    client: Client,
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

impl World {
    async fn new() -> Self {
        let table = |name: &str| TableSpec {
            name: name.to_owned(),
            partition_key: ("pk".to_owned(), AttrType::S),
            sort_key: None,
            ttl_attribute: None,
        };
        let tables = ["user_state", "labels", "decisions"].map(table).to_vec();
        let config = DynamoConfig { port: None, tables, faults: Arc::new(NoFaults), latency: None };
        let service = DynamoDb::start(config).await.unwrap();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(service.url())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"))
            .build();
        Self { service, client: Client::from_conf(config) }
    }

    async fn put(&self, table: &str, attributes: &[(&str, AttributeValue)]) {
        let item: HashMap<_, _> = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.client.put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
    }

    /// A user with a decision on a record of this age, a profile, and a label.
    async fn put_user(&self, user: &str, age_ms: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let timestamp = Millis(now - age_ms);
        let entry = Entry {
            digest: TransactionDigest([7; 6]),
            content: None,
            coordinates: vec![Coordinates { partition: 0, offset: 7, timestamp }],
            outcome: Outcome::Approved,
            score: 0.0,
            decision: None,
        };
        let ledger = Ledger { entries: vec![entry], ..Ledger::default() };
        let stored = stored_user::encode(&StoredUser { state: UserState::new(timestamp), ledger });
        let blob = |bytes: Vec<u8>| AttributeValue::B(Blob::new(bytes));
        let version = || AttributeValue::N("1".to_owned());
        let attributes =
            [("pk", text(user)), ("v", version()), ("s", blob(stored)), ("pv", version()), ("p", blob(vec![1]))];
        self.put("user_state", &attributes).await;
        for number in 0..3 {
            self.put("labels", &[("pk", text(&format!("{user}-{number}"))), ("u", text(user))]).await;
        }
    }

    /// An item of the index with decisions of these users, who chose the same id.
    async fn put_indexed(&self, transaction: &str, users: &[&str]) {
        let id = TransactionId::new(transaction).unwrap();
        let entry = |user: &&str| {
            let user_id = UserId::new(*user).unwrap();
            IndexedDecision {
                decision_id: DecisionId::derive(&user_id, &id),
                user_id,
                outcome: Outcome::Approved,
                score: 0.25,
                amount_minor: AmountMinor::new(100).unwrap(),
                currency: Currency::DEFAULT,
                reasons: Vec::new(),
                model_version: "test".to_owned(),
                event_time: Millis(1),
                decided_at: Millis(2),
                late: false,
                ahead: false,
                degraded: false,
                guarded: false,
            }
        };
        let entries: Vec<_> = users.iter().map(entry).collect();
        let content = AttributeValue::B(Blob::new(stored_decision::encode(&entries)));
        let attributes = [("pk", text(transaction)), ("d", content), ("x", AttributeValue::N("9".to_owned()))];
        self.put("decisions", &attributes).await;
    }

    /// The users of an item of the index.
    async fn indexed(&self, transaction: &str) -> Vec<String> {
        let read = self.client.get_item().table_name("decisions").key("pk", text(transaction)).send().await.unwrap();
        let Some(item) = read.item else { return Vec::new() };
        assert_eq!(item["x"].as_n().unwrap(), "9", "its time to live stays");
        let entries = stored_decision::decode(item["d"].as_b().unwrap().as_ref()).unwrap();
        entries.into_iter().map(|entry| entry.user_id.as_str().to_owned()).collect()
    }

    async fn keys(&self, table: &str) -> Vec<String> {
        let found = self.client.scan().table_name(table).send().await.unwrap().items.unwrap_or_default();
        let mut keys: Vec<String> = found.iter().map(|item| item["pk"].as_s().unwrap().clone()).collect();
        keys.sort();
        keys
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let url = self.service.url();
        let mut command = centinela(&["erase", "--dynamodb", &url]);
        if !arguments.contains(&"--s3") {
            command.arg("--tables-only");
        }
        tokio::task::block_in_place(|| command.args(arguments).output().unwrap())
    }

    /// What it says, and its exit code; never the user.
    fn said(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output = self.run(arguments);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("person"), "{said}");
        (said, output.status.code())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_shown_first_and_then_erased_and_nobody_else() {
    let world = World::new().await;
    world.put_user(USER, 24 * 3_600_000).await;
    world.put_user(OTHER, 24 * 3_600_000).await;
    let (said, code) = world.said(&[USER]);
    assert_eq!(code, Some(0));
    assert!(said.contains("decisions, profile") && said.contains("labels: 3") && said.contains("--yes"), "{said}");
    assert_eq!(world.keys("user_state").await, [USER, OTHER]);

    let (said, code) = world.said(&[USER, "--yes"]);
    assert!(code == Some(0) && said.contains("erased"), "{said}");
    assert_eq!(world.keys("user_state").await, [OTHER]);
    assert_eq!(world.keys("labels").await, [0, 1, 2].map(|number| format!("{OTHER}-{number}")));

    let (said, code) = world.said(&[USER, "--yes"]);
    assert!(code == Some(0) && said.contains("none") && said.contains("labels: 0"), "once more is no mistake: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_entries_leave_the_index_and_those_of_others_with_the_same_id_stay() {
    let world = World::new().await;
    for number in 0..40 {
        world.put_indexed(&format!("t-{number}"), &[OTHER]).await;
    }
    world.put_indexed("alone", &[USER]).await;
    world.put_indexed("shared", &[OTHER, USER]).await;
    world.put_indexed("late", &[USER]).await;

    // Only these: the others leave by their time to live.
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("ids.csv");
    std::fs::write(&list, "transaction_id\nlate\nt-1\nunknown\n").unwrap();
    let (said, code) = world.said(&[USER, "--yes", "--transactions", list.to_str().unwrap()]);
    assert!(code == Some(0) && said.contains("entries of the index: 1"), "{said}");
    assert_eq!((world.indexed("late").await.len(), world.indexed("alone").await.len()), (0, 1));

    let (said, code) = world.said(&[USER]);
    assert!(code == Some(0) && said.contains("entries of the index: 2"), "{said}");
    assert_eq!(world.indexed("shared").await, [OTHER, USER], "nothing is changed without --yes");
    let (said, code) = world.said(&[USER, "--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((world.indexed("shared").await, world.keys("decisions").await.len()), (vec![OTHER.to_owned()], 41));

    world.put("decisions", &[("pk", text("broken")), ("d", AttributeValue::B(Blob::new([255])))]).await;
    let (said, code) = world.said(&[USER, "--yes"]);
    assert!(code == Some(1) && said.contains("1 items of table `decisions` cannot be read"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_system_is_found_by_its_endpoints_file() {
    let running = Running::start();
    let file = running.endpoints_file();
    let mut command = centinela(&["erase", "nobody.person", "--yes", "--endpoints"]);
    let erased = tokio::task::block_in_place(|| command.arg(&file).output().unwrap());
    let said = String::from_utf8_lossy(&erased.stdout).into_owned();
    assert!(erased.status.success() && said.contains("listed for the lake") && said.contains("index: 0"), "{erased:?}");
    let (status, report) = tokio::task::block_in_place(|| running.end());
    assert!(status.success(), "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_records_may_still_be_delivered_is_not_erased_unless_that_is_said() {
    let world = World::new().await;
    world.put_user(USER, 60_000).await;
    let (said, code) = world.said(&[USER, "--yes"]);
    assert!(code == Some(2) && said.contains("may still be delivered again"), "{said}");
    assert_eq!((world.keys("user_state").await.len(), world.keys("labels").await.len()), (1, 3));
    let (_, code) = world.said(&[USER, "--yes", "--settled", "30s"]);
    assert_eq!((code, world.keys("user_state").await.len(), world.keys("labels").await.len()), (Some(0), 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_listed_for_the_lake_before_anything_else_goes() {
    let world = World::new().await;
    world.put_user(USER, 24 * 3_600_000).await;
    let directory = tempfile::tempdir().unwrap();
    let config = S3Config {
        directory: Some(directory.path().to_owned()),
        buckets: vec!["lake".to_owned()],
        ..S3Config::default()
    };
    let lake = S3::start(config).await.unwrap();
    let url = lake.url();
    let access = AwsAccess { access_key_id: "somebody-else".to_owned(), ..AwsAccess::default() };
    let closed = S3::start(S3Config { buckets: vec!["lake".to_owned()], access, ..S3Config::default() }).await.unwrap();
    let (said, code) = world.said(&[USER, "--yes", "--s3", &closed.url()]);
    assert!(code == Some(1) && said.contains("nothing was erased"), "{said}");
    assert_eq!(world.keys("user_state").await.len(), 1);

    let listed = directory.path().join("lake").join(keys::erasure(USER));
    assert!(!listed.exists());
    for _ in 0..2 {
        let (said, code) = world.said(&[USER, "--yes", "--s3", &url]);
        assert!(code == Some(0) && said.contains("the next compaction"), "{said}");
    }
    let text = std::fs::read_to_string(listed).unwrap();
    assert!(text.contains("erased_at") && !text.contains("person"), "{text}");
    assert!(world.keys("user_state").await.is_empty() && world.keys("labels").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_out_is_said_in_one_line() {
    let world = World::new().await;
    for (arguments, named) in [
        (vec![""], "user_id is empty"),
        (vec![USER, "--label-table", "nobody-made-this"], "has no table `nobody-made-this`"),
        (vec![USER, "--settled", "tomorrow"], "--settled"),
    ] {
        let (said, code) = world.said(&arguments);
        assert!(code == Some(2) && said.contains(named), "{arguments:?}: {said}");
    }
}
