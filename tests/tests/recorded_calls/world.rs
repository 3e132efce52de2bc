//! A platform on which everything happens that hardly ever does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use centinela_e2e::{built, workspace};
use centinela_infra::Infrastructure;
use centinela_local::Calls;
use centinela_local::aws::{Fault, FaultSource, RequestInfo};
use centinela_local::platform::{Platform, PlatformConfig};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// Writes of which the first answer of each function is lost: whoever asks again finds that it was first.
const LOSES_ANSWERS: [&str; 4] = ["BatchExecuteStatement", "UpdateItem", "PutItem", "TransactWriteItems"];

/// Loses the first answer to each kind of write, and refuses the stream while it is out.
#[derive(Default)]
struct Trouble {
    lost: Mutex<BTreeSet<(String, String)>>,
    stream_is_out: AtomicBool,
}

impl FaultSource for Trouble {
    fn decide(&self, request: &RequestInfo<'_>) -> Fault {
        let Some(caller) = request.caller else { return Fault::None };
        if request.service == "kinesis" && self.stream_is_out.load(Ordering::SeqCst) {
            return Fault::Throttle;
        }
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let is_lost = LOSES_ANSWERS.contains(&request.operation)
            && lost.insert((caller.to_owned(), request.operation.to_owned()));
        if is_lost { Fault::ReplyLost } else { Fault::None }
    }
}

/// The platform, and what it notes.
pub struct World {
    platform: Platform,
    trouble: Arc<Trouble>,
    calls: Calls,
    buckets: BTreeMap<String, String>,
}

impl World {
    /// Lets all of it happen; the calls by function.
    pub async fn rare_things(functions: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        let world = Self::start(functions).await;
        world.a_race_and_an_outage().await;
        world.requests_of_people().await;
        world.the_lake_grows_old().await;
        world.dead_letters().await;
        world.an_id_that_many_use().await;
        world.sample_events(functions).await;
        world.the_brake().await;
        let calls = world.by_function(functions);
        world.platform.stop(Duration::from_secs(5)).await.unwrap();
        calls
    }

    async fn start(functions: &[&str]) -> Self {
        let binaries = tokio::task::block_in_place(|| built(functions));
        let mut infrastructure = Infrastructure::bundled("local").unwrap();
        for function in &mut infrastructure.functions {
            // What was replaced is deleted at once, not after two hours, and a look-up waits for no invocation of before.
            if let Some(grace) = function.environment.get_mut("GRACE_SECONDS") {
                "1".clone_into(grace);
            }
            if let Some(plans) = function.environment.get_mut("BRAKE_PLANS") {
                *plans = without_reservations(plans);
            }
        }
        let buckets = infrastructure.buckets.iter().map(|bucket| (bucket.name.clone(), bucket.logical_id.clone()));
        let (buckets, trouble, calls) = (buckets.collect(), Arc::new(Trouble::default()), Calls::noted());
        let mut config = PlatformConfig::new(infrastructure, &binaries);
        config.faults = Arc::clone(&trouble) as Arc<dyn FaultSource>;
        config.calls = calls.clone();
        let platform = Platform::start(config).await.unwrap();
        Self { platform, trouble, calls, buckets }
    }

    fn by_function(&self, functions: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for called in self.calls.all().into_iter().filter(|called| functions.contains(&called.caller.as_str())) {
            let on = match called.on.strip_prefix("bucket/") {
                Some(rest) => {
                    let (bucket, key) = rest.split_once('/').map_or((rest, None), |(bucket, key)| (bucket, Some(key)));
                    let id = self.buckets.get(bucket).map_or(bucket, String::as_str);
                    key.map_or_else(|| format!("bucket/{id}"), |key| format!("bucket/{id}/{key}"))
                }
                None => called.on.clone(),
            };
            found.entry(called.caller).or_default().insert(format!("{} {on}", called.action));
        }
        found
    }

    fn has_called(&self, function: &str, action: &str, on: &str) -> bool {
        let calls = self.calls.all();
        calls.iter().any(|called| called.caller == function && called.action == action && called.on == on)
    }

    async fn until_called(&self, function: &str, action: &str, on: &str) {
        let began = Instant::now();
        while !self.has_called(function, action, on) {
            assert!(began.elapsed() < PATIENCE, "{function} never called {action} on {on}, but {:?}", self.calls.all());
            tokio::time::sleep(LOOK).await;
        }
    }

    fn produce(&self, topic: &str, records: impl IntoIterator<Item = (String, String)>) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.platform.endpoints().kafka)
            .set("partitioner", "murmur2_random")
            .create()
            .unwrap();
        for (key, value) in records {
            let record = BaseRecord::to(topic).key(&key).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// New users are written twice at once; then decisions cannot be published for a while, which is noted.
    async fn a_race_and_an_outage(&self) {
        self.produce("transactions", (0..40).map(|number| (format!("user-{}", number % 10), transaction(number))));
        self.until_called("score-transactions", "kinesis:PutRecords", "stream/decisions").await;
        self.trouble.stream_is_out.store(true, Ordering::SeqCst);
        self.produce("transactions", (40..50).map(|number| (format!("user-{}", number % 10), transaction(number))));
        self.until_called("score-transactions", "dynamodb:UpdateItem", "table/settled_offsets").await;
        self.trouble.stream_is_out.store(false, Ordering::SeqCst);
        // No function can do anything with this.
        for topic in ["transactions", "user_actions", "events"] {
            self.produce(topic, [("nobody".to_owned(), "no json".to_owned())]);
        }
        for function in ["score-transactions", "track-user-actions", "apply-labels"] {
            self.until_called(function, "kafka-cluster:WriteData", "topic/dead-letters").await;
        }
    }

    async fn requests_of_people(&self) {
        let user = json!([{ "user_id": "ana", "action_id": "a-1", "timestamp": 1_795_867_200_000_u64, "action": "logged_in",
            "device_id": "phone-1", "ip": "198.51.100.7", "outcome": "success" }]);
        let label = json!([{ "event_id": "e-1", "timestamp": 1_795_867_200_000_u64, "event": "chargeback", "user_id": "ana",
            "transaction_id": "tx-1", "device_id": "phone-1" }]);
        for (method, path, body) in [
            ("POST", "/v1/transactions", Some(format!("[{}]", transaction(900)))),
            ("POST", "/v1/user-actions", Some(user.to_string())),
            ("POST", "/v1/labels", Some(label.to_string())),
            ("POST", "/v1/decisions", Some(transaction(901))),
            ("GET", "/v1/users/user-1", None),
            ("GET", "/v1/decisions/recorded-1", None),
            ("GET", "/v1/metrics", None),
        ] {
            self.ask("decisions-api", &request(method, path, body)).await;
        }
    }

    /// Everything comes back: what the mapping gave up is found in the lake, what cannot be read is repaired or dropped.
    async fn dead_letters(&self) {
        let record = json!({ "topic": "transactions", "partition": 0, "offset": 1, "timestamp": 1_795_357_920_000_u64,
            "value": base64_simd::STANDARD.encode_to_string(transaction(1)) });
        let letter = json!({
            "requestContext": { "condition": "RetriesExhausted", "approximateInvokeCount": 10_000 },
            "KafkaBatchInfo": { "batchSize": 1, "recordInfo": { "offset": "1" } },
            "payload": { "eventSource": "aws:kafka", "records": { "transactions-0": [record] } },
        });
        self.produce("dead-letters", [("user-1".to_owned(), letter.to_string())]);
        self.until_lake_is_searched().await;
        for (topic, value) in [
            ("transactions", transaction(950).into_bytes()),
            ("user_actions", sample_record("track-user-actions")),
            ("events", sample_record("apply-labels")),
        ] {
            let unreadable = json!({ "action": "list", "topic": topic, "reasons": ["not_json"] });
            let listed = self.ask("redrive-dead-letters", &unreadable).await;
            let value = base64_simd::STANDARD.encode_to_string(value);
            let repair = json!({ "letter": listed["letters"][0]["letter"], "value_base64": value });
            let request = json!({ "action": "redrive", "topic": topic, "dry_run": false, "as_new": true, "rate": 1000,
                "repairs": [repair] });
            let answer = self.ask("redrive-dead-letters", &request).await;
            assert!(answer["sent"].as_u64() > Some(0), "{topic}: {answer} of {listed}");
        }
        self.produce("dead-letters", [("nobody".to_owned(), "no letter".to_owned())]);
        let drop = json!({ "action": "drop", "since": 0, "dry_run": false });
        let answer = self.ask("redrive-dead-letters", &drop).await;
        assert!(answer["dropped"].as_u64() > Some(0), "{answer}");
    }

    /// Asks until a decision that is on no topic any more was looked for in every kind of the lake's files.
    async fn until_lake_is_searched(&self) {
        let began = Instant::now();
        let mut number = 3_000;
        // Once: what is deleted before it is archived never comes into the lake.
        self.forget_decisions().await;
        let files = ["lake", "manifests", "raw"].map(|folder| format!("bucket/lake/{folder}/*"));
        while !files.iter().all(|files| self.has_called("redrive-dead-letters", "s3:GetObject", files)) {
            assert!(began.elapsed() < PATIENCE, "a redrive does not look into all of {files:?}");
            self.produce("transactions", [("user-1".to_owned(), transaction(number))]);
            number += 1;
            let look_up = json!({ "action": "redrive", "topic": "transactions", "as_new": true });
            self.ask("redrive-dead-letters", &look_up).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Deletes what is on the decision topics, as retention does.
    async fn forget_decisions(&self) {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.platform.endpoints().kafka).set("group.id", "judge");
        let consumer: BaseConsumer = client.create().unwrap();
        let mut before = TopicPartitionList::new();
        for topic in ["approved", "blocked"] {
            let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
            for partition in metadata.topics()[0].partitions() {
                let (_, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap();
                before.add_partition_offset(topic, partition.id(), Offset::Offset(end)).unwrap();
            }
        }
        let admin: AdminClient<DefaultClientContext> = client.create().unwrap();
        admin.delete_records(&before, &AdminOptions::new()).await.unwrap();
    }

    /// Several users' transactions have one id, until the index has added one to another's.
    async fn an_id_that_many_use(&self) {
        let began = Instant::now();
        let mut number = 0;
        while !self.has_called("index-decisions", "dynamodb:PartiQLUpdate", "table/decisions") {
            assert!(began.elapsed() < PATIENCE, "no decision is added to the others of its id");
            let mut shared: Value = serde_json::from_str(&transaction(number)).unwrap();
            let user = format!("sharer-{number}");
            shared["transaction_id"] = "shared".into();
            shared["user_id"] = user.as_str().into();
            self.produce("transactions", [(user, shared.to_string())]);
            number += 1;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every hour is compacted, once more after it grew, and searched for somebody who was erased.
    async fn the_lake_grows_old(&self) {
        self.until_called("archive-records", "s3:PutObject", "bucket/lake/raw/*").await;
        self.until_lake_shrinks().await;
        self.ask("compact-lake", &json!({ "erased": true })).await;
    }

    /// Asks until what was replaced is gone: files of the lake go a second after their hour's next manifest.
    async fn until_lake_shrinks(&self) {
        let began = Instant::now();
        let mut number = 2_000;
        let is_gone = |on: &str| self.has_called("compact-lake", "s3:DeleteObject", on);
        while !(is_gone("bucket/lake/lake/*") && is_gone("bucket/lake/raw/*")) {
            assert!(began.elapsed() < PATIENCE, "compaction deletes nothing");
            self.produce("transactions", [("user-1".to_owned(), transaction(number))]);
            number += 1;
            self.ask("compact-lake", &json!({ "open": true })).await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every event that `events/` shows of a function, the brake's aside, which would stop the others.
    async fn sample_events(&self, functions: &[&str]) {
        for function in functions.iter().filter(|function| **function != "guard-costs") {
            let folder = workspace().join("events").join(function);
            let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let is_event = |name: &str| {
                name.ends_with(".json") && !name.ends_with(".response.json") && !name.ends_with(".recipe.json")
            };
            for file in files.iter().filter(|file| is_event(&file.to_string_lossy())) {
                let event = Bytes::from(std::fs::read(file).unwrap());
                // Some are there to be refused.
                let _refused_or_not = self.platform.invoke(function, event).await;
            }
        }
    }

    async fn the_brake(&self) {
        self.ask("guard-costs", &json!({ "action": "show" })).await;
        let alarms =
            ["writes", "invocations", "index-writes", "pollers", "block-rate", "user-actions-lag", "events-lag"];
        for alarm in alarms {
            for action in ["fire", "release"] {
                self.ask_until_done(&json!({ "action": action, "alarm": alarm, "main_job": true })).await;
            }
        }
    }

    /// A mapping that is being switched is in use: the brake fails as a whole then, and Lambda would ask it again.
    async fn ask_until_done(&self, request: &Value) {
        let began = Instant::now();
        let answer = loop {
            match self.platform.invoke("guard-costs", Bytes::from(request.to_string())).await {
                Ok(answer) => break answer,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{request}: {error:?}"),
            }
            tokio::time::sleep(LOOK).await;
        };
        let report: Value = serde_json::from_slice(&answer).unwrap();
        assert!(report[0]["plans"][0]["steps"].is_array(), "{request}: {report}");
    }

    async fn ask(&self, function: &str, request: &Value) -> Value {
        let answer = self.platform.invoke(function, Bytes::from(request.to_string())).await;
        let answer = answer.unwrap_or_else(|error| panic!("{function} {request}: {error:?}"));
        serde_json::from_slice(&answer).unwrap_or_default()
    }
}

/// The plans with one more, as they are where functions reserve no concurrency: what a release gives back is none.
fn without_reservations(plans: &str) -> String {
    let mut plans: Vec<Value> = serde_json::from_str(plans).unwrap();
    let steps = plans[0]["steps"].as_array_mut().unwrap();
    for function in ["archive-records", "compact-lake"] {
        steps.push(json!({ "function": function, "concurrency": 1, "released": null }));
    }
    Value::from(plans).to_string()
}

/// The first record of a function's sample event.
fn sample_record(function: &str) -> Vec<u8> {
    let file = workspace().join("events").join(function).join("single.json");
    let event: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let records = event["records"].as_object().unwrap().values().next().unwrap();
    base64_simd::STANDARD.decode_to_vec(records[0]["value"].as_str().unwrap().as_bytes()).unwrap()
}

fn transaction(number: usize) -> String {
    json!({
        "version": 1, "transaction_id": format!("recorded-{number}"), "timestamp": 1_795_357_920_000_u64 + number as u64,
        "user_id": format!("user-{}", number % 10), "amount": "12.50", "currency": "EUR", "device_type": "mobile",
        "device_id": format!("device-{}", number % 5), "ip": "203.0.113.7", "user_agent": "a shop",
    })
    .to_string()
}

/// What API Gateway hands over of a request with every scope, made of a sample.
fn request(method: &str, path: &str, body: Option<String>) -> Value {
    let sample = workspace().join("events/decisions-api/transactions-base64.json");
    let mut event: Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    let route = format!("{method} {path}");
    event["routeKey"] = route.clone().into();
    event["rawPath"] = path.into();
    event["requestContext"]["routeKey"] = route.into();
    event["requestContext"]["http"]["method"] = method.into();
    event["requestContext"]["http"]["path"] = path.into();
    event["isBase64Encoded"] = false.into();
    event["body"] = body.into();
    event
}
