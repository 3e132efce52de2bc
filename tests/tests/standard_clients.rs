//! Clients that people already have, against the running command: confluent-kafka and boto3 from PyPI, kcat, and Kafka's own console
//! tools. The scripts in `tests/clients/` are the ones that the README shows. A client that is not there is skipped with a word.

#![expect(clippy::print_stdout, reason = "a skipped test says why, and a run one shows what the client saw")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use centinela_e2e::python::{cache, environment};
use centinela_e2e::running::Running;
use centinela_e2e::workspace;
use serde_json::{Value, json};

/// Apache Kafka's version whose tools are used; `.ci` fetches the same as a server.
const KAFKA_VERSION: &str = "4.1.0";

fn script(name: &str) -> PathBuf {
    workspace().join("tests/clients").join(name)
}

/// Cargo points tests at the libraries of this build. A client must load its own: kcat would else run on our librdkafka.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// Runs a client and returns its standard output.
fn said(command: &mut Command) -> String {
    let output = command
        .env_remove(LIBRARY_PATH)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in: {text}"))
}

/// The one line that is the decision on a transaction.
fn decision_on(text: &str, transaction: &str) -> Value {
    let decisions = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut wanted: Vec<Value> = decisions.filter(|decision| decision["transaction_id"] == transaction).collect();
    assert_eq!(wanted.len(), 1, "decisions on {transaction} in: {text}");
    wanted.remove(0)
}

fn has_java() -> bool {
    Command::new("java").arg("-version").stdin(Stdio::null()).output().is_ok()
}

fn has_kcat() -> bool {
    Command::new("kcat").arg("-V").env_remove(LIBRARY_PATH).stdin(Stdio::null()).output().is_ok()
}

#[test]
fn confluent_kafka_gets_its_decision_and_boto3_finds_it_everywhere() {
    let bin = match environment("clients", &script("requirements.txt")) {
        Ok(bin) => bin,
        Err(skipped) => return println!("{skipped}"),
    };
    let running = Running::start();
    let python = |name: &str, user: &str| {
        let mut command = Command::new(bin.join("python"));
        command.arg(script(name)).arg(running.endpoints_file()).arg(user);
        json_of(&said(&mut command))
    };
    let nobody = python("look_inside.py", "nobody");
    assert_eq!((&nobody["item"], &nobody["decisions"]), (&Value::Null, &json!([])), "{nobody}");

    let first = python("decide_one.py", "jane");
    let second = python("decide_one.py", "jane");
    for decision in [&first, &second] {
        println!("{decision}");
        assert_eq!(decision["user_id"], "jane");
        let topic = if decision["outcome"] == "APPROVED" { "approved" } else { "blocked" };
        assert_eq!(decision["topic"], topic, "{decision}");
    }

    let found = python("look_inside.py", "jane");
    println!("{found}");
    assert_eq!(found["item"]["version"], 2, "a write for each transaction: {found}");
    let ids = |decision: &Value| decision["decision_id"].clone();
    let mut on_stream: Vec<Value> = found["decisions"].as_array().expect("a list").iter().map(ids).collect();
    let mut published = vec![ids(&first), ids(&second)];
    on_stream.sort_by_key(Value::to_string);
    published.sort_by_key(Value::to_string);
    assert_eq!(on_stream, published, "the stream has what the topics have");
    let sorted = |list: &Value| list.as_array().expect("a list").iter().map(Value::to_string).collect::<BTreeSet<_>>();
    assert_eq!(sorted(&found["buckets"]), sorted(&running.endpoints["buckets"]));
    assert!(running.end().0.success(), "the report is clean");
}

/// A batch that nobody can read stops its partition, so every codec that a producer may choose is read.
#[test]
fn a_producer_may_compress_as_it_likes() {
    let bin = match environment("clients", &script("requirements.txt")) {
        Ok(bin) => bin,
        Err(skipped) => return println!("{skipped}"),
    };
    let running = Running::start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let mut command = Command::new(bin.join("python"));
        command.arg(script("decide_one.py")).arg(running.endpoints_file()).args(["jane", codec]);
        let decision = json_of(&said(&mut command));
        println!("{codec}: {decision}");
        assert_eq!(decision["user_id"], "jane");
    }
    assert!(running.end().0.success(), "the report is clean");
}

#[test]
fn kcat_gets_its_decision() {
    if !has_kcat() {
        return println!("skipped: kcat is not installed (apt-get install kcat)");
    }
    let running = Running::start();
    let mut command = Command::new("sh");
    command.arg(script("with_kcat.sh")).arg(running.endpoint("kafka")).arg("tx-of-kcat");
    let decision = decision_on(&said(&mut command), "tx-of-kcat");
    println!("{decision}");
    assert_eq!(decision["user_id"], "user-of-kcat");
    assert!(running.end().0.success(), "the report is clean");
}

#[test]
fn kafkas_own_console_tools_get_their_decision() {
    let lib = match kafka_jars() {
        Ok(lib) => lib,
        Err(skipped) => return println!("{skipped}"),
    };
    let running = Running::start();
    let mut command = Command::new("sh");
    command
        .arg(script("with_kafka_tools.sh"))
        .arg(running.endpoint("kafka"))
        .arg("tx-of-kafka")
        .env("CENTINELA_KAFKA_LIB", lib);
    let decision = decision_on(&said(&mut command), "tx-of-kafka");
    println!("{decision}");
    assert_eq!(decision["user_id"], "user-of-kafka");
    assert!(running.end().0.success(), "the report is clean");
}

/// The directory with Apache Kafka's jars.
fn kafka_jars() -> Result<PathBuf, String> {
    if !has_java() {
        return Err("skipped: java is not installed (apt-get install default-jre-headless)".to_owned());
    }
    let named = std::env::var_os("CENTINELA_KAFKA_LIB").map(PathBuf::from);
    let lib = named.unwrap_or_else(|| cache().join(format!("kafka-{KAFKA_VERSION}/lib")));
    let is_there = |lib: &Path| lib.join(format!("kafka-clients-{KAFKA_VERSION}.jar")).exists();
    if is_there(&lib) {
        return Ok(lib);
    }
    Err(format!(
        "skipped: Apache Kafka {KAFKA_VERSION} is not in {}; name its lib directory in CENTINELA_KAFKA_LIB",
        lib.display()
    ))
}
