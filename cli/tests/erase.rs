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
use centinela_contracts::stored_user::{self, StoredUser};
use centinela_domain::{Coordinates, Entry, Ledger, Millis, Outcome, TransactionDigest, UserState};
use centinela_e2e::command::centinela;
use centinela_lake::keys;
use centinela_local::aws::{
    ACCESS_KEY_ID, AttrType, DynamoConfig, DynamoDb, NoFaults, REGION, S3, S3Config, SECRET_ACCESS_KEY, TableSpec,
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
        let tables = ["user_state", "labels"].map(table).to_vec();
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
    let (said, code) = world.said(&[USER, "--yes", "--s3", &url, "--bucket", "another"]);
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
