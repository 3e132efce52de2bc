//! The HTTP API in the running system: the answer is what the topics say, to the byte.

#![expect(clippy::print_stdout, reason = "a skipped test says why, and a measurement shows its figures")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_e2e::http::{Answer, send, token};
use centinela_e2e::python::environment;
use centinela_e2e::running::Running;
use centinela_e2e::workspace;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::{Value, json};

const SCOPES: &str = "decide ingest read label read:score read:user";
const JSON: &str = "content-type: application/json\r\n";
const PATIENCE: Duration = Duration::from_secs(60);

/// The API of a run, for a caller with a token.
struct Caller {
    api: String,
    authorization: String,
}

impl Caller {
    async fn of(running: &Running, scopes: &str) -> Self {
        let token = token(&running.endpoint("issuer"), scopes).await;
        Self { api: running.endpoint("api"), authorization: format!("authorization: Bearer {token}\r\n") }
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        send(&self.api, &format!("POST {path}"), &format!("{}{JSON}", self.authorization), body).await
    }

    async fn get(&self, path: &str) -> Answer {
        send(&self.api, &format!("GET {path}"), &self.authorization, "").await
    }

    /// Asks until a condition holds.
    async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {} {}", answer.status, answer.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn transaction(id: &str, user: &str, amount: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis();
    format!(
        r#"{{"transaction_id":"{id}","timestamp":{now},"user_id":"{user}","amount":{amount},"currency":"EUR","device_type":"mobile","device_id":"d-{user}","ip":"198.51.100.7","user_agent":"shop/1"}}"#
    )
}

/// Keys and messages of both decision topics.
fn published(bootstrap: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "decisions-api-test")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(None, PATIENCE).expect("topics");
    let mut all = TopicPartitionList::new();
    for topic in metadata.topics().iter().filter(|topic| ["approved", "blocked"].contains(&topic.name())) {
        for partition in topic.partitions() {
            all.add_partition_offset(topic.name(), partition.id(), Offset::Beginning).expect("a partition");
        }
    }
    let mut open = all.count();
    consumer.assign(&all).expect("partitions");
    let mut found = Vec::new();
    while open > 0 {
        match consumer.poll(PATIENCE).expect("a message or an end") {
            Ok(message) if message.key().is_some_and(&wanted) => {
                let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
                found.push((key.to_vec(), value.to_vec()));
            }
            Ok(_) => {}
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_the_stream_give_one_answer_to_the_byte() {
    let running = Running::start();
    let caller = Caller::of(&running, SCOPES).await;
    assert_eq!(send(&running.endpoint("api"), "GET /v1/health", "", "").await.json(), json!({ "status": "ok" }));

    let first = transaction("tx-1", "ana", "12.5");
    let mut answer = caller.post("/v1/decisions", &first).await;
    let deadline = Instant::now() + PATIENCE;
    // A slow machine may take longer than the API waits; it then says so, and the same request asks again.
    while answer.status == 202 {
        assert!(Instant::now() < deadline && answer.head.contains("location: /v1/decisions/tx-1?user_id=ana"));
        answer = caller.post("/v1/decisions", &first).await;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = published(&running.endpoint("kafka"), |key| key == b"tx-1");
    assert_eq!(told, [(b"tx-1".to_vec(), answer.body.clone())], "the topic has the answer, once");

    let reused = caller.post("/v1/decisions", &transaction("tx-1", "ana", "13.5")).await;
    assert_eq!(
        (reused.status, &reused.json()["type"]),
        (409, &"urn:problem-type:centinela:transaction-id-reused".into())
    );
    let known = caller.get("/v1/decisions/tx-1?user_id=ana").await.json();
    assert_eq!(known["decisions"][0]["outcome"], answer.json()["outcome"]);

    // The same by way of the stream, and a look-up of what came out of it.
    let sent = caller
        .post("/v1/transactions", &format!("[{},{}]", transaction("tx-2", "ana", "1"), transaction("tx-3", "bo", "2")))
        .await;
    assert_eq!((sent.status, &sent.json()["accepted"]), (202, &2.into()));
    let found = caller.until("/v1/decisions/tx-3?user_id=bo", |answer| answer.status == 200).await;
    assert_eq!(found.json()["decisions"][0]["user_id"], "bo");

    // By the id alone from the index, and counted in the windows.
    let indexed = caller.until("/v1/decisions/tx-1", |answer| answer.status == 200).await.json();
    assert_eq!(indexed["decisions"][0]["decision_id"], answer.json()["decision_id"]);
    let decisions = |answer: &Answer| answer.json()["total"]["decisions"].as_u64();
    caller.until("/v1/metrics", |answer| decisions(answer) == Some(3)).await;

    let action = r#"{"action_id":"a-1","timestamp":1795357920000,"user_id":"ana","action":"registered"}"#;
    assert_eq!(caller.post("/v1/user-actions", action).await.status, 202);
    let label = r#"{"event_id":"e-1","timestamp":1795357920000,"user_id":"ana","transaction_id":"tx-1","event":"confirmed_fraud","device_id":"d-ana"}"#;
    assert_eq!(caller.post("/v1/labels", label).await.status, 202);
    let is_known = |answer: &Answer| {
        let user = answer.json();
        user["labels"]["fraud"] == 1
            && user["profile"]["registered_at"].is_number()
            && user["activity"]["transactions"] == 2
    };
    caller.until("/v1/users/ana", is_known).await;

    let reader = Caller::of(&running, "read").await;
    let seen = reader.get("/v1/decisions/tx-1?user_id=ana").await.json();
    assert!(seen["decisions"][0].get("score").is_none(), "{seen}");
    assert_eq!(reader.get("/v1/users/ana").await.status, 403);
    assert_eq!(reader.get("/v1/metrics").await.status, 200);
    assert_eq!(caller.get("/v1/nothing").await.json()["type"], "urn:problem-type:centinela:not-found");
    assert_eq!(caller.get("/v1/labels").await.status, 405);
    assert_eq!(send(&running.endpoint("api"), "GET /v1/metrics", "", "").await.status, 401);

    let (status, report) = running.end();
    assert!(status.success(), "{report:#}");
}

/// How many ids race; more by hand: `CENTINELA_RACE=10000`.
fn racing_ids() -> usize {
    std::env::var("CENTINELA_RACE").ok().and_then(|ids| ids.parse().ok()).unwrap_or(200)
}

/// Asks for a decision until there is one; a killed function costs a try.
async fn decision(caller: &Caller, body: &str) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = caller.post("/v1/decisions", body).await;
        if answer.status == 200 {
            return answer;
        }
        assert!([202, 500, 503].contains(&answer.status) && Instant::now() < deadline, "{}", answer.text());
    }
}

/// Producers and callers send the same transactions at the same time, while processes are killed and batches repeated.
#[tokio::test(flavor = "multi_thread")]
async fn the_stream_and_the_requests_race_and_agree_to_the_byte() {
    let running = Running::start_with(&["--chaos", "--seed", "13"]);
    let caller = Arc::new(Caller::of(&running, SCOPES).await);
    let bootstrap = running.endpoint("kafka");
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", &bootstrap)
        .set("enable.idempotence", "true")
        .create()
        .expect("a producer");
    let (ids, began) = (racing_ids(), Instant::now());
    let mut racing = tokio::task::JoinSet::new();
    let places = Arc::new(tokio::sync::Semaphore::new(16));
    for index in 0..ids {
        let (caller, producer, places) = (Arc::clone(&caller), producer.clone(), Arc::clone(&places));
        racing.spawn(async move {
            let _place = places.acquire_owned().await.expect("places");
            let (id, user) = (format!("race-{index}"), format!("user-{}", index % 37));
            let body = transaction(&id, &user, "9.99");
            let record = FutureRecord::to("transactions").key(&id).payload(&body);
            let (answer, sent) = tokio::join!(decision(&caller, &body), producer.send(record, PATIENCE));
            sent.unwrap_or_else(|(error, _)| panic!("{error}"));
            (id, answer.body)
        });
    }
    let answers: BTreeMap<String, Vec<u8>> = racing.join_all().await.into_iter().collect();
    println!("{ids} ids raced in {:.1} s", began.elapsed().as_secs_f64());
    let all = published(&bootstrap, |key| key.starts_with(b"race-"));
    let mut in_full = 0;
    for (id, answer) in &answers {
        let told: BTreeSet<&Vec<u8>> =
            all.iter().filter(|(key, _)| key == id.as_bytes()).map(|(_, value)| value).collect();
        assert_eq!(told.len(), 1, "{id} has one decision");
        let (answer, told): (Value, Value) = (
            serde_json::from_slice(answer).expect("JSON"),
            serde_json::from_slice(told.first().expect("a decision")).expect("JSON"),
        );
        assert_eq!(answer["outcome"], told["outcome"], "{id}");
        assert_eq!(answer["decision_id"], told["decision_id"], "{id}");
        // A caller that was late finds what remains: its evidence may have gone meanwhile.
        if answer.get("features").is_some() {
            in_full += 1;
            assert!(
                all.iter().any(|(key, value)| key == id.as_bytes() && *value == answers[id]),
                "{id}: byte for byte"
            );
        }
    }
    println!("{in_full} of {ids} answers were the topic's bytes, the others what remained");
    assert!(in_full * 10 >= ids * 7, "{in_full} of {ids}");
    let (_, report) = running.end();
    let records = &report["records"];
    assert_eq!((&records["lost"], &records["doubled"]), (&0.into(), &0.into()), "{report:#}");
}

/// The README's lines: a machine signs with curl.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_signs_with_curl() {
    let has_curl = Command::new("curl").args(["--help", "all"]).output();
    if !has_curl.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--aws-sigv4")) {
        return println!("skipped: there is no curl with --aws-sigv4");
    }
    let running = Running::start();
    let keys = format!("{}:{}", running.endpoint("access_key_id"), running.endpoint("secret_access_key"));
    let signer = format!("aws:amz:{}:execute-api", running.endpoint("region"));
    let curl = |keys: &str, path: &str, body: Option<&str>| {
        let mut command = Command::new("curl");
        command.args(["-sS", "-w", "\n%{http_code}", "--user", keys, "--aws-sigv4", &signer]);
        if let Some(body) = body {
            command.args(["-H", "content-type: application/json", "-d", body]);
        }
        let output = command.arg(format!("{}{path}", running.endpoint("api"))).output().expect("curl runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let decided = curl(&keys, "/v1/decisions", Some(&transaction("tx 1/é", "ana", "12.5")));
    assert!(decided.ends_with("\n200") || decided.ends_with("\n202"), "{decided}");
    let found = curl(&keys, "/v1/decisions/tx%201%2F%C3%A9?user_id=ana", None);
    assert!(found.ends_with("\n200") || found.ends_with("\n404"), "{found}");
    assert!(curl("local:wrong", "/v1/metrics", None).ends_with("\n403"));
    assert!(running.end().0.success());
}

/// schemathesis makes requests from the OpenAPI file, good and bad ones, and checks every answer against it.
#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_breach() {
    let directory = workspace().join("tests/api");
    let bin = match environment("api", &directory.join("requirements.txt")) {
        Ok(bin) => bin,
        Err(skipped) => return println!("{skipped}"),
    };
    let running = Running::start();
    let run = |token: &str| {
        let mut command = Command::new(bin.join("schemathesis"));
        command.arg("--config-file").arg(directory.join("schemathesis.toml"));
        command.arg("run").arg(workspace().join("infra/openapi/decisions-api.yaml"));
        command.args(["--url", &running.endpoint("api"), "--no-color"]).current_dir(running.directory());
        let output = command.env_remove("LD_LIBRARY_PATH").env("CENTINELA_TOKEN", token).output();
        let output = output.expect("schemathesis runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{said}");
        assert!(output.status.success(), "{}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    };
    run(&token(&running.endpoint("issuer"), SCOPES).await);
    // Nobody's token: everything but the open route is refused.
    run("none");
    // Not whether it is clean: the labels that were made up name several devices for one transaction, which the report's fold does not know.
    let (_, report) = running.end();
    let records = &report["records"];
    assert_eq!((&records["lost"], &records["doubled"]), (&0.into(), &0.into()), "{report:#}");
}
