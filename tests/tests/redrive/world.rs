//! A platform with the deciding function and the redrive, an outage on request, and the command beside it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use centinela_contracts::{decision_v1, stored_user};
use centinela_domain::{Millis, UserId};
use centinela_e2e::built;
use centinela_e2e::command::centinela;
use centinela_infra::Infrastructure;
use centinela_lake::hour::Hour;
use centinela_lake::keys;
use centinela_lake::parquet_write::{Effort, FileWriter};
use centinela_lake::row::{Cell, Place, Row};
use centinela_lake::store::{Condition, ObjectStore as _};
use centinela_lake::table::Table;
use centinela_local::aws::{Fault, FaultSource, RequestInfo};
use centinela_local::platform::{Platform, PlatformConfig};
use centinela_object_store::S3Lake;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tempfile::TempDir;

const FUNCTIONS: [&str; 2] = ["score-transactions", "redrive-dead-letters"];
const DECISIONS: [&str; 2] = ["approved", "blocked"];
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);
/// Rounds of a redrive until nothing is open.
const ROUNDS_MAX: usize = 20;

/// The database refuses the deciding function.
#[derive(Default)]
struct Outage(AtomicBool);

impl FaultSource for Outage {
    fn decide(&self, request: &RequestInfo<'_>) -> Fault {
        let is_hit = request.service == "dynamodb" && request.caller == Some(FUNCTIONS[0]);
        if is_hit && self.0.load(Ordering::SeqCst) { Fault::Throttle } else { Fault::None }
    }
}

/// A transaction that can be decided.
pub fn good(number: usize) -> String {
    json!({
        "version": 1, "transaction_id": format!("redrive-{number}"), "timestamp": 1_795_357_920_000_u64 + number as u64,
        "user_id": format!("user-{}", number % 10), "amount": "12.50", "currency": "EUR", "device_type": "mobile",
        "device_id": "device", "ip": "203.0.113.7", "user_agent": "a shop",
    })
    .to_string()
}

/// One that cannot, for one of six reasons.
pub fn bad(number: usize) -> String {
    let good = good(number);
    match number % 6 {
        0 => good[..good.len() - 1].to_owned(),
        1 => good.replace(r#""device_id":"device","#, ""),
        2 => good.replace(r#""amount":"12.50""#, r#""amount":true"#),
        3 => good.replace(r#""amount":"12.50""#, r#""amount":"-1.00""#),
        4 => good.replace(r#""version":1"#, r#""version":2"#),
        _ => good.replacen('{', r#"{"amount":"1.00","#, 1),
    }
}

/// What is on the decision topics, by decision: the payloads that differ.
pub type Decided = BTreeMap<String, HashSet<Vec<u8>>>;

/// Everything.
pub struct World {
    platform: Platform,
    outage: Arc<Outage>,
    producer: BaseProducer,
    directory: TempDir,
}

impl World {
    pub async fn start(change: impl FnOnce(&mut Infrastructure)) -> Self {
        let binaries = built(&["centinela", FUNCTIONS[0], FUNCTIONS[1]]);
        let mut infrastructure = Infrastructure::bundled("local").unwrap();
        infrastructure.functions.retain(|function| FUNCTIONS.contains(&function.name.as_str()));
        infrastructure.mappings.retain(|mapping| mapping.function == FUNCTIONS[0]);
        infrastructure.triggers.clear();
        infrastructure.stream_mappings.clear();
        change(&mut infrastructure);
        let outage = Arc::new(Outage::default());
        let mut config = PlatformConfig::new(infrastructure, &binaries);
        config.faults = Arc::clone(&outage) as Arc<dyn FaultSource>;
        let platform = Platform::start(config).await.unwrap();
        let directory = TempDir::new().unwrap();
        let endpoints = platform.endpoints();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &endpoints.kafka)
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap();
        let file = json!({
            "kafka": endpoints.kafka, "dynamodb": endpoints.dynamodb, "s3": endpoints.s3, "region": endpoints.region,
            "access_key_id": endpoints.access_key_id, "secret_access_key": endpoints.secret_access_key, "lake": "lake",
        });
        std::fs::write(directory.path().join("endpoints.json"), file.to_string()).unwrap();
        Self { platform, outage, producer, directory }
    }

    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    pub fn outage(&self, is_on: bool) {
        self.outage.0.store(is_on, Ordering::SeqCst);
    }

    /// Sends keys with values.
    pub fn produce(&self, records: impl IntoIterator<Item = (String, String)>) {
        for (key, value) in records {
            let record = BaseRecord::to("transactions").key(&key).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    /// A file for the command.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn dead_letters(&self, arguments: &[&str]) -> Command {
        let mut command = centinela(&["dead-letters"]);
        command.args(arguments).arg("--endpoints").arg(self.directory.path().join("endpoints.json"));
        command
    }

    /// What the command prints when it ends well.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> String {
        let output = tokio::task::block_in_place(|| self.dead_letters(arguments).output().unwrap());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it reports.
    #[track_caller]
    pub fn report(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.command(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What it reports when letters stay open that were meant: its exit code says so.
    #[track_caller]
    pub fn report_of_some(&self, arguments: &[&str]) -> Value {
        let output = tokio::task::block_in_place(|| self.dead_letters(arguments).arg("--json").output().unwrap());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "and one line says why");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts the command, and kills it at a moment that comes before its end.
    pub async fn killed_when(&self, arguments: &[&str], is_so: impl Fn(&Self) -> bool) {
        let mut command = self.dead_letters(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.until("the command is at work", is_so).await;
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.code(), None, "it has ended before");
    }

    /// Redrives until no letter is open any more.
    pub async fn redrive_until_nothing_is_open(&mut self, more: &[&str]) {
        for _ in 0..ROUNDS_MAX {
            self.drained().await;
            let report = self.report(&[&["redrive", "--yes", "--limit", "5000"], more].concat());
            if report["letters"] == 0 {
                return;
            }
            assert_eq!(
                (&report["failed"], &report["cannot"], &report["needs_repair"]),
                (&json!(0), &json!(0), &json!(0))
            );
        }
        panic!("letters stay open: {}", self.command(&["list"]));
    }

    /// Puts on the dead letters what the mapping would write of every transaction that it gave up.
    pub fn give_up_all(&self) {
        self.read(&["transactions"], |message| {
            let record = json!({
                "topic": "transactions", "partition": message.partition(), "offset": message.offset(),
                "timestamp": message.timestamp().to_millis(),
                "value": base64_simd::STANDARD.encode_to_string(message.payload().unwrap()),
            });
            let records = json!({ format!("transactions-{}", message.partition()): [record] });
            let letter = json!({
                "requestContext": { "condition": "RetriesExhausted", "approximateInvokeCount": 10_000 },
                "KafkaBatchInfo": { "batchSize": 1, "recordInfo": { "offset": message.offset().to_string() } },
                "payload": { "eventSource": "aws:kafka", "records": records },
            });
            let letter = letter.to_string();
            let record = BaseRecord::<[u8], str>::to("dead-letters").key(message.key().unwrap()).payload(&letter);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        });
        self.producer.flush(PATIENCE).unwrap();
    }

    /// Puts every decision into the lake, as a raw object of this hour.
    pub async fn archive_decisions(&self) {
        let table = Table::Approved;
        let mut writer = FileWriter::new(table, Effort::Quick).unwrap();
        let mut offset = 0;
        tokio::task::block_in_place(|| {
            self.read(&DECISIONS, |message| {
                let decision = decision_v1::parse(message.payload().unwrap()).unwrap();
                let amount = decision.evidence.unwrap().amount.minor();
                let mut cells = vec![Cell::Null; table.columns().len()];
                for (name, cell) in [
                    ("decision_id", Cell::from(decision.decision_id.to_string())),
                    ("amount_minor", Cell::Int(amount as i64)),
                    ("currency", Cell::from("EUR")),
                ] {
                    cells[table.columns().iter().position(|column| column.name == name).unwrap()] = cell;
                }
                let place = Place { partition: 0, offset };
                offset += 1;
                writer.push(Row { place, broker_time: 0, problem: None, value: None, cells: cells.into() }).unwrap();
            });
        });
        let endpoints = self.platform.endpoints();
        let credentials =
            Credentials::new(&endpoints.access_key_id, &endpoints.secret_access_key, None, None, "the platform");
        let sdk = aws_config::SdkConfig::builder()
            .region(aws_config::Region::new(endpoints.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let store = S3Lake::new(&sdk, "lake", Some(&endpoints.s3)).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let key = format!("{}approved-0-0-9-ab.parquet", keys::raw_folder(table, Hour::of(Millis(now))));
        store.put(&key, writer.finish().unwrap(), Condition::None, Millis(i64::MAX)).await.unwrap();
    }

    /// Deletes what is on the decision topics, as retention does.
    pub async fn forget_decisions(&self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.platform.endpoints().kafka).create().unwrap();
        let mut before = TopicPartitionList::new();
        for topic in DECISIONS {
            for (partition, (_, end)) in (0..).zip(self.ends(topic)) {
                before.add_partition_offset(topic, partition, Offset::Offset(end)).unwrap();
            }
        }
        admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
    }

    /// Everything that is on the topic of the transactions is handled.
    async fn drained(&self) {
        let (_, mapping) = self.platform.mappings().next().unwrap();
        let ends: Vec<i64> = self.ends("transactions").into_iter().map(|(_, end)| end).collect();
        mapping.drain_to(&ends, PATIENCE).await.unwrap();
    }

    /// Asks the function.
    pub async fn invoke(&self, request: &Value) -> Value {
        let answer = self.platform.invoke(FUNCTIONS[1], Bytes::from(request.to_string())).await.unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    fn consumer(&self) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.platform.endpoints().kafka)
            .set("group.id", "judge")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }

    /// First offset and end of each partition.
    fn ends(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer = self.consumer();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let count = metadata.topics()[0].partitions().len();
        (0..count).map(|partition| consumer.fetch_watermarks(topic, partition as i32, PATIENCE).unwrap()).collect()
    }

    /// Records on a topic.
    pub fn count(&self, topic: &str) -> usize {
        self.ends(topic).into_iter().map(|(start, end)| (end - start) as usize).sum()
    }

    /// Reads topics up to where they end now.
    fn read(&self, topics: &[&str], mut take: impl FnMut(&BorrowedMessage<'_>)) {
        let consumer = self.consumer();
        let (mut list, mut left) = (TopicPartitionList::new(), 0);
        for topic in topics {
            for (partition, (start, end)) in (0..).zip(self.ends(topic)) {
                list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
                left += end - start;
            }
        }
        consumer.assign(&list).unwrap();
        let until = Instant::now() + PATIENCE;
        while left > 0 {
            assert!(Instant::now() < until, "{topics:?} are never read to their end");
            let Some(message) = consumer.poll(LOOK) else { continue };
            take(&message.unwrap());
            left -= 1;
        }
    }

    /// What was decided so far.
    pub fn decisions(&self) -> Decided {
        let mut decided = Decided::new();
        self.read(&DECISIONS, |message| {
            let payload = message.payload().unwrap();
            let decision = decision_v1::parse(payload).unwrap();
            let known = decided.entry(decision.transaction_id.as_str().to_owned()).or_default();
            // What is published from what remains says the same and less.
            if decision.evidence.is_some() || known.is_empty() {
                known.insert(payload.to_vec());
            }
        });
        decided
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !tokio::task::block_in_place(|| is_so(self)) {
            assert!(Instant::now() < until, "{what}: never");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every transaction from the first has one decision, and counts once for its user.
    pub async fn assert_each_decided_once(&self, count: usize) {
        let decided = tokio::task::block_in_place(|| self.decisions());
        let expected: BTreeSet<String> = (0..count).map(|number| format!("redrive-{number}")).collect();
        let missing: Vec<&String> = expected.iter().filter(|id| !decided.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{} are not decided, such as {:?}", missing.len(), missing.first());
        assert_eq!(decided.len(), count, "something was decided that nobody sent");
        let twice: Vec<&String> = decided.iter().filter(|(_, payloads)| payloads.len() > 1).map(|(id, _)| id).collect();
        assert!(twice.is_empty(), "decided twice: {twice:?}");
        let mut counted = 0;
        for item in self.platform.read_back("user_state").await.unwrap() {
            let user = UserId::new(item.key.as_str()).unwrap();
            counted += stored_user::decode(item.group("s").unwrap(), &user).unwrap().state.transactions;
        }
        assert_eq!(counted, count as u64, "each counts once in its user's item");
    }

    pub async fn end(self) {
        self.platform.stop(Duration::from_secs(10)).await.unwrap();
    }
}
