//! A real Lambda function for the tests of the platform: what it does is told by its events.
//!
//! A Kafka event is worked off record by record; a record's value is an order (`ok`, `sleep-once:MS`, `crash-once`, `fail-once`,
//! `fail-always`, `report-once`, `report-always`, `invalid-once`, `unknown-once`). Any other event is an order itself: `{"do": …}`.
//! Under `FIXTURE_STATE` it notes every delivery and every handled record, and what it has already done once.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// Says why it ends, as a function that panics does.
const CRASH_STATUS: i32 = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    match std::env::var("FIXTURE_INIT").as_deref() {
        Ok("exit") => {
            say_stderr("cannot reach the model")?;
            std::process::exit(3);
        }
        Ok("report") => {
            report_init_error()?;
            std::process::exit(4);
        }
        _ => {}
    }
    lambda_runtime::run(service_fn(handle)).await
}

fn report_init_error() -> Result<(), Error> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let body = json!({ "errorType": "Fixture.NoModel", "errorMessage": "the model file is empty" }).to_string();
    let mut stream = TcpStream::connect(&api)?;
    let length = body.len();
    write!(
        stream,
        "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nhost: {api}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    stream.read_to_string(&mut String::new())?;
    Ok(())
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    if let Some(records) = event.payload.get("Records").and_then(Value::as_array) {
        return work_off_stream(&event.payload, records);
    }
    match event.payload.get("records").and_then(Value::as_object) {
        Some(partitions) => work_off(partitions),
        None => obey(&event).await,
    }
}

/// Records of a stream: a window's state is the list of what was handled in it.
fn work_off_stream(event: &Value, records: &[Value]) -> Result<Value, Error> {
    let records: Vec<Order> = records.iter().filter_map(stream_order).collect();
    let delivered: Vec<Value> = records.iter().map(Order::coordinates).collect();
    note("deliveries", &json!(delivered))?;
    let (mut failures, mut handled) = (Vec::new(), Vec::new());
    let mut state = event.get("state").cloned().unwrap_or_else(|| json!({}));
    for record in &records {
        let (order, argument) = record.value.split_once(':').unwrap_or((&record.value, "0"));
        match order {
            "crash-once" if first_time(record)? => crash()?,
            "fail-once" if first_time(record)? => return Err("told to fail once".into()),
            "fail-always" => return Err("told to fail always".into()),
            "report-once" if first_time(record)? => failures.push(record.offset),
            "report-always" => failures.push(record.offset),
            "grow" => state["padding"] = "x".repeat(argument.parse()?).into(),
            _ => {}
        }
        // What comes behind a record that is reported comes again with it.
        if failures.is_empty() {
            handled.push(record.coordinates());
            let seen = state["seen"].as_str().unwrap_or_default();
            state["seen"] = format!("{seen} {}", record.value).trim().into();
        }
    }
    note("handled", &json!(handled))?;
    let is_final = event["isFinalInvokeForWindow"] == true;
    if is_final {
        note(
            "windows",
            &json!([event["window"]["start"], event["shardId"], event["isWindowTerminatedEarly"], state["seen"]]),
        )?;
        if std::env::var("FIXTURE_END").as_deref() == Ok("fail-once") && first_time_of("the-end")? {
            return Err("told to fail at the first end".into());
        }
    }
    let failures: Vec<Value> =
        failures.iter().map(|number| json!({ "itemIdentifier": format!("{number:056}") })).collect();
    Ok(json!({ "state": if is_final { json!({}) } else { state }, "batchItemFailures": failures }))
}

/// Sequence numbers of tests are numbers with 56 digits.
fn stream_order(record: &Value) -> Option<Order> {
    let shard = record["eventID"].as_str()?.split(':').next()?;
    Some(Order {
        partition: shard.to_owned(),
        offset: record["kinesis"]["sequenceNumber"].as_str()?.parse().ok()?,
        value: record["kinesis"]["data"].as_str().map(decode)?,
    })
}

async fn obey(event: &LambdaEvent<Value>) -> Result<Value, Error> {
    let payload = &event.payload;
    let millis = payload.get("ms").and_then(Value::as_u64).unwrap_or(0);
    match payload.get("do").and_then(Value::as_str).unwrap_or("echo") {
        "sleep" => tokio::time::sleep(Duration::from_millis(millis)).await,
        "burn" => burn(Duration::from_millis(millis)),
        "crash" => crash()?,
        "fail" => return Err("told to fail".into()),
        "panic" => panic!("told to panic"),
        "print" => {
            say(r#"{"_aws":{"Timestamp":1},"handled":3}"#)?;
            say_stderr("a line on standard error")?;
        }
        "big" => return Ok(json!({ "big": "x".repeat(7 * 1024 * 1024) })),
        "environment" => {
            let variables: BTreeMap<String, String> = std::env::vars().collect();
            return Ok(json!(variables));
        }
        "context" => {
            let context = &event.context;
            return Ok(json!({
                "request_id": context.request_id,
                "deadline_ms": context.deadline,
                "arn": context.invoked_function_arn,
                "trace_id": context.xray_trace_id,
            }));
        }
        _ => return Ok(payload.clone()),
    }
    Ok(json!({ "pid": std::process::id() }))
}

fn work_off(partitions: &serde_json::Map<String, Value>) -> Result<Value, Error> {
    let records: Vec<Order> = partitions.iter().flat_map(|(name, records)| orders(name, records)).collect();
    let delivered: Vec<Value> = records.iter().map(Order::coordinates).collect();
    note("deliveries", &json!(delivered))?;
    let mut failures = Vec::new();
    let mut handled = Vec::new();
    let mut response = None;
    for record in &records {
        let (order, millis) = record.value.split_once(':').unwrap_or((&record.value, "0"));
        match order {
            "sleep-once" if first_time(record)? => std::thread::sleep(Duration::from_millis(millis.parse()?)),
            "crash-once" if first_time(record)? => crash()?,
            "fail-once" if first_time(record)? => return Err("told to fail once".into()),
            "fail-always" => return Err("told to fail always".into()),
            "report-once" if first_time(record)? => failures.push(failure(&record.partition, record.offset)),
            "report-always" => failures.push(failure(&record.partition, record.offset)),
            "unknown-once" if first_time(record)? => failures.push(failure(&record.partition, record.offset + 1_000)),
            "invalid-once" if first_time(record)? => {
                response = Some(json!({ "batchItemFailures": [{ "itemIdentifier": record.partition }] }));
            }
            _ => {}
        }
        if failures.iter().all(|failure| failure["itemIdentifier"]["offset"] != record.offset) {
            handled.push(record.coordinates());
        }
    }
    note("handled", &json!(handled))?;
    Ok(response.unwrap_or_else(|| json!({ "batchItemFailures": failures })))
}

struct Order {
    partition: String,
    offset: i64,
    value: String,
}

impl Order {
    fn coordinates(&self) -> Value {
        json!([self.partition, self.offset, self.value])
    }
}

fn orders(name: &str, records: &Value) -> Vec<Order> {
    let order = |record: &Value| Order {
        partition: name.to_owned(),
        offset: record["offset"].as_i64().unwrap_or(-1),
        value: record["value"].as_str().map(decode).unwrap_or_default(),
    };
    records.as_array().map(|records| records.iter().map(order).collect()).unwrap_or_default()
}

/// Large values are cut to what tells them apart.
fn decode(base64: &str) -> String {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => u32::from(letter - b'A'),
        b'a'..=b'z' => u32::from(letter - b'a') + 26,
        b'0'..=b'9' => u32::from(letter - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for group in base64.trim_end_matches('=').as_bytes().chunks(4).take(16) {
        let bits = group.iter().fold(0, |bits, letter| bits << 6 | digit(*letter)) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn failure(partition: &str, offset: i64) -> Value {
    json!({ "itemIdentifier": { "partition": partition, "offset": offset } })
}

fn state() -> PathBuf {
    std::env::var_os("FIXTURE_STATE").map_or_else(std::env::temp_dir, PathBuf::from)
}

fn first_time(record: &Order) -> Result<bool, Error> {
    first_time_of(&format!("{}-{}", record.partition, record.offset))
}

fn first_time_of(what: &str) -> Result<bool, Error> {
    let marker = state().join(format!("once-{what}"));
    match OpenOptions::new().write(true).create_new(true).open(marker) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// One line, one write: environments share the file.
fn note(file: &str, line: &Value) -> Result<(), Error> {
    let mut file = OpenOptions::new().append(true).create(true).open(state().join(file))?;
    file.write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

fn crash() -> Result<(), Error> {
    say_stderr("told to crash")?;
    std::process::exit(CRASH_STATUS);
}

fn burn(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

fn say(line: &str) -> Result<(), Error> {
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

fn say_stderr(line: &str) -> Result<(), Error> {
    writeln!(std::io::stderr(), "{line}")?;
    Ok(())
}
