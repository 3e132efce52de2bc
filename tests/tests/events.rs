//! The events that `events/` shows of every function, through the function's real binary: each gets the response that stands beside it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use centinela_e2e::hosted::Hosted;
use centinela_e2e::workspace;
use centinela_infra::Infrastructure;
use centinela_local::lambda::PAYLOAD_BYTES_MAX;
use serde::Deserialize;
use serde_json::Value;

const SCORE_TRANSACTIONS: &str = "score-transactions";
/// A function's timeout in the stacks, which the largest batch must stay far below.
const LARGEST_BATCH_LIMIT: Duration = Duration::from_secs(10);

/// How to make an event that is too large to be kept: one record again and again, each time as another transaction.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    /// One sentence for people.
    about: String,
    /// The event whose first record is repeated.
    like: String,
    /// The event grows while it has at most so many bytes.
    bytes_max: usize,
    /// Users who take turns.
    users: usize,
    /// How long their user agents are: with short ones 6 MB would hold more records than a mapping delivers.
    user_agent_bytes: usize,
    /// The same of postal addresses; 0 where a record has none.
    #[serde(default)]
    address_bytes: usize,
}

fn folder(function: &str) -> PathBuf {
    workspace().join("events").join(function)
}

/// The functions that the stacks declare.
fn functions() -> Vec<String> {
    let stacks = Infrastructure::bundled("local").expect("the stacks in infra/ can be read");
    stacks.functions.into_iter().map(|function| function.name).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Follows a function's recipe; returns the event and its number of records.
fn made(function: &str, recipe: &Recipe) -> (Vec<u8>, usize) {
    let mut event: Value = serde_json::from_slice(&read(&folder(function).join(&recipe.like))).expect("an event");
    let lists = event["records"].as_object_mut().expect("partitions");
    let list = lists.values_mut().next().and_then(Value::as_array_mut).expect("a partition with records");
    let template = list.pop().expect("a record");
    list.clear();
    let value = base64_simd::STANDARD.decode_to_vec(template["value"].as_str().expect("a value")).expect("base64");
    let value: Value = serde_json::from_slice(&value).expect("a transaction");
    let mut bytes = event.to_string().len();
    let mut records = Vec::new();
    loop {
        let index = records.len();
        let record = another(&template, &value, index, recipe).to_string();
        bytes += record.len() + 1;
        if bytes > recipe.bytes_max {
            break;
        }
        records.push(record);
    }
    let count = records.len();
    let event = event.to_string().replacen("[]", &format!("[{}]", records.join(",")), 1);
    (event.into_bytes(), count)
}

/// The same record at another offset, as another transaction, action or event of another user.
fn another(template: &Value, value: &Value, index: usize, recipe: &Recipe) -> Value {
    let user = index % recipe.users;
    let (mut record, mut value) = (template.clone(), value.clone());
    for field in ["offset", "timestamp"] {
        record[field] = (record[field].as_u64().expect("a number") + 100_000 + index as u64).into();
    }
    for id in ["transaction_id", "action_id", "event_id"] {
        if value.get(id).is_some() {
            value[id] = format!("large-batch-{index}").into();
        }
    }
    value["user_id"] = format!("large-batch-user-{user}").into();
    value["device_id"] = format!("large-batch-device-{user}").into();
    for (field, bytes) in [("user_agent", recipe.user_agent_bytes), ("address", recipe.address_bytes)] {
        if bytes > 0 {
            value[field] = "a".repeat(bytes).into();
        }
    }
    record["value"] = base64_simd::STANDARD.encode_to_string(value.to_string()).into();
    record
}

/// Name and event of every file of a function, large ones made. What is made is also left in cargo's directory for test files, for `cargo lambda
/// invoke`.
fn events(function: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder(function);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut events = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".recipe") {
            let recipe: Recipe = serde_json::from_slice(&read(path)).expect("a recipe");
            assert!(!recipe.about.is_empty(), "{name} says what it is about");
            let (event, _) = made(function, &recipe);
            let file = match function {
                SCORE_TRANSACTIONS => format!("{name}.json"),
                other => format!("{other}-{name}.json"),
            };
            std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &event).expect("a file");
            events.push((name.to_owned(), event));
        } else if !name.ends_with(".response") {
            events.push((name, read(path)));
        }
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_gets_the_response_that_stands_beside_it() {
    for function in functions() {
        let events = events(&function);
        assert!(!events.is_empty(), "{function} has no event");
        let hosted = Hosted::start_function(&function).await;
        for (name, event) in events {
            let began = Instant::now();
            let response = hosted.invoke(event).await.unwrap_or_else(|error| panic!("{function}: {name}: {error}"));
            assert!(began.elapsed() < LARGEST_BATCH_LIMIT, "{function}: {name} took {:?}", began.elapsed());
            let expected = read(&folder(&function).join(format!("{name}.response.json")));
            let expected: Value = serde_json::from_slice(&expected).expect("a response");
            assert_eq!(response, expected, "{function}: {name}");
        }
        let (_, stats) = hosted.end().await;
        assert_eq!((stats.crashes, stats.timeouts, stats.cold_starts), (0, 0, 1), "{function}");
    }
}

#[test]
fn the_events_of_the_scoring_function_show_what_a_mapping_may_send() {
    let events = events(SCORE_TRANSACTIONS);
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    for wanted in
        ["single", "two-partitions", "duplicate", "poison", "tombstone", "odd-headers", "empty", "six-megabytes"]
    {
        assert!(names.contains(&wanted), "there is no event `{wanted}` among {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_event_is_as_large_as_lambda_delivers_and_every_record_of_it_is_decided_once() {
    let recipe = read(&folder(SCORE_TRANSACTIONS).join("six-megabytes.recipe.json"));
    let recipe: Recipe = serde_json::from_slice(&recipe).expect("a recipe");
    let (event, records) = made(SCORE_TRANSACTIONS, &recipe);
    assert!(event.len() <= PAYLOAD_BYTES_MAX && event.len() > PAYLOAD_BYTES_MAX - 2_000, "{} bytes", event.len());
    let hosted = Hosted::start().await;
    let first = hosted.invoke(event.clone()).await.expect("an answer");
    let second = hosted.invoke(event).await.expect("an answer");
    assert_eq!(first, second);
    let published = hosted.published();
    // The second delivery is answered from what the users' items remember, or known to be complete.
    assert!(published.fates.values().all(|fate| !fate.is_doubled()));
    assert_eq!((published.fates.len(), published.dead_letters.len()), (records, 0));
    let mut counted = 0;
    for user in 0..recipe.users {
        counted += hosted.totals_of(&format!("large-batch-user-{user}")).await.transactions;
    }
    assert_eq!(counted, records as u64, "each transaction counts once in its user's item");
    hosted.end().await;
}
