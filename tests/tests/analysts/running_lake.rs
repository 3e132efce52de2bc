//! The lake of a running system: what a question sees of it, and that 1,000 labels change the features of later transactions exactly as
//! Python computes it from there.

use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_e2e::command::centinela;
use centinela_e2e::running::Running;
use centinela_e2e::workspace;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::lake;

const PATIENCE: Duration = Duration::from_secs(60);
const DAY_MS: u64 = 86_400_000;
const LABELLED: u64 = 800;
const CORRECTIONS: u64 = 200;
const LATER: u64 = 600;
const VERDICTS: [&str; 4] = ["chargeback", "confirmed_good", "confirmed_fraud", "refund"];

/// A number that looks drawn.
fn mixed(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

fn transaction(id: &str, number: u64, at_ms: u64) -> Value {
    json!({
        "version": 1, "transaction_id": id, "timestamp": at_ms, "user_id": format!("user-{}", mixed(number) % 60), "amount": "12.50",
        "currency": "EUR", "device_type": "mobile", "device_id": format!("device-{}", mixed(number ^ 0xd) % 40), "ip": "203.0.113.7",
        "user_agent": "a shop",
    })
}

/// A label of the transaction `before-NUMBER`; the correction of one does not say on which device that was.
fn label(number: u64, correction: bool, known_at_ms: u64) -> Value {
    let bought = transaction("", number, 0);
    let verdict = VERDICTS[(mixed(number ^ u64::from(correction)) % 4) as usize];
    let device = (!correction).then(|| bought["device_id"].clone());
    let id = format!("label-{number}{}", if correction { "-again" } else { "" });
    json!({
        "version": 1, "event_id": id, "timestamp": known_at_ms, "user_id": bought["user_id"], "transaction_id": format!("before-{number}"),
        "event": verdict, "device_id": device,
    })
}

struct Shop {
    producer: BaseProducer,
    bootstrap: String,
}

impl Shop {
    fn at(bootstrap: String) -> Self {
        let producer =
            ClientConfig::new().set("bootstrap.servers", &bootstrap).set("enable.idempotence", "true").create();
        Self { producer: producer.expect("a producer"), bootstrap }
    }

    fn send(&self, topic: &str, values: impl Iterator<Item = Value>) {
        for value in values {
            let key = value["user_id"].as_str().expect("a user").to_owned();
            let (key, value) = (key.as_bytes(), value.to_string());
            let sent = self.producer.send(BaseRecord::to(topic).key(key).payload(&value));
            sent.map_err(|(error, _)| error).expect("room in the queue");
        }
        self.producer.flush(PATIENCE).expect("acknowledged");
    }

    /// Waits until a group has handled everything on a topic.
    fn wait_for(&self, group: &str, topic: &str) {
        self.wait_until(group, topic, |handled, sent| handled == sent);
    }

    /// Waits until so many of the records that were sent to a topic were handled by a group.
    fn wait_until(&self, group: &str, topic: &str, is_enough: impl Fn(i64, i64) -> bool) {
        let mut config = ClientConfig::new();
        let config = config.set("bootstrap.servers", &self.bootstrap).set("group.id", group);
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        let partitions = metadata.topics()[0].partitions().len() as i32;
        let until = Instant::now() + PATIENCE;
        loop {
            let mut asked = TopicPartitionList::new();
            for partition in 0..partitions {
                asked.add_partition(topic, partition);
            }
            let committed = consumer.committed_offsets(asked, PATIENCE).expect("offsets");
            let elements = committed.elements();
            let handled = elements.iter().map(|element| match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            });
            let end = |partition| consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks").1;
            if is_enough(handled.sum(), (0..partitions).map(end).sum()) {
                return;
            }
            assert!(Instant::now() < until, "{group} never handles enough of {topic}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_question_sees_what_was_archived_a_moment_ago() {
    // More than one batch of the archive, which is not waited for a minute then.
    const RECORDS: u64 = 12_000;
    if let Err(skipped) = lake::prerequisites() {
        return println!("{skipped}");
    }
    let running = Running::start_with(&["--cold"]);
    let shop = Shop::at(running.endpoint("kafka"));
    shop.send(
        "transactions",
        (0..RECORDS).map(|number| transaction(&format!("now-{number}"), number, 1_790_000_000_000)),
    );
    shop.wait_until("archive-records-transactions", "transactions", |handled, _| handled > 0);
    let sql = running.directory().join("count.sql");
    std::fs::write(&sql, "SELECT count(*) AS records FROM transactions").expect("a file");
    let mut asked = centinela(&["query", "--format", "json"]);
    let answer = asked.arg(&sql).arg("--endpoints").arg(running.endpoints_file()).output().expect("it starts");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let rows: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    assert!(rows[0]["records"].as_u64() > Some(0), "{rows}: {}", String::from_utf8_lossy(&answer.stderr));
    let (status, report) = running.end();
    assert!(status.success() && report["clean"] == true, "{report}");
}

#[test]
fn a_thousand_labels_change_later_features_as_python_computes_it_from_the_lake() {
    let python = match lake::prerequisites() {
        Ok(python) => python,
        Err(skipped) => return println!("{skipped}"),
    };
    let kept = tempfile::tempdir().expect("a directory");
    let objects = kept.path().join("s3");
    let running = Running::start_with(&["--cold", "--s3-directory", objects.to_str().expect("a path")]);
    let shop = Shop::at(running.endpoint("kafka"));
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis() as u64;

    shop.send(
        "transactions",
        (0..LABELLED).map(|number| transaction(&format!("before-{number}"), number, now_ms - 50 * DAY_MS)),
    );
    shop.wait_for("score-transactions", "transactions");
    // Over 40 days, some of them in the year 2099, which nobody believes; corrections later than what they correct, and earlier.
    let known_at = |number: u64| match mixed(number ^ 0x1abe1) % 42 {
        41 => 4_080_000_000_000,
        days => now_ms - days * DAY_MS,
    };
    shop.send("events", (0..LABELLED).map(|number| label(number, false, known_at(number))));
    shop.wait_for("apply-labels", "events");
    shop.send("events", (0..CORRECTIONS).map(|number| label(number * 4, true, known_at(number ^ 0xc0))));
    shop.wait_for("apply-labels", "events");
    // Of now, and of the weeks before.
    let at = |number: u64| now_ms - mixed(number ^ 0xa7) % 3 * (mixed(number) % 20) * DAY_MS;
    shop.send(
        "transactions",
        (0..LATER).map(|number| transaction(&format!("after-{number}"), number ^ 0xbeef, at(number))),
    );

    let bucket = running.endpoint("lake");
    let (status, report) = running.end();
    assert!(status.success(), "{report}");
    assert_eq!(report["clean"], true, "{report}");

    let directory = workspace().join("tests/analysts");
    let mut asked = centinela(&["query", "--format", "json"]);
    asked.arg(directory.join("label_features.sql")).arg("--lake").arg(objects.join(bucket));
    let mut asking = asked.stdout(Stdio::piped()).spawn().expect("the command can be started");
    let mut computing = std::process::Command::new(python);
    computing.arg(directory.join("label_features.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    let computed = computing.stdin(asking.stdout.take().expect("a pipe")).output().expect("Python starts");
    assert!(asking.wait().expect("a child").success());
    let said = String::from_utf8_lossy(&computed.stdout).into_owned();
    print!("{said}");
    assert!(computed.status.success(), "{said}{}", String::from_utf8_lossy(&computed.stderr));
    assert!(said.starts_with(&format!("{} labels, {LATER} later transactions", LABELLED + CORRECTIONS)), "{said}");
}
