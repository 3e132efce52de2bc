//! The same for functions whose records only change state: every case through the function's real binary, in a batch with good records of
//! other users, which must be taken in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use centinela_contracts::stored_label;
use centinela_domain::{DecisionId, TransactionId, UserId};
use centinela_e2e::hosted::{Hosted, Published};
use serde::Deserialize;
use serde_json::json;

use crate::case::{Input, Item};
use crate::{OFFSET_FIRST, PARTITION_FIRST, TIMESTAMP_MS, base64};

/// What no line may hold, whatever the case.
const NEVER_LOGGED: [&str; 4] = ["jane.doe@example.com", "4111111111111111", "+1 555 0100", "203.0.113.9"];

/// What must become of a case's values.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Fate {
    /// Taken in, or passed on: acknowledged without a dead letter.
    Handled,
    /// On `dead-letters` under this reason code, with the original bytes.
    Parked(String),
    /// Listed in the response, to be delivered again.
    Unsettled,
}

/// A case as it stands in its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(skip)]
    name: String,
    about: String,
    values: Vec<Input>,
    /// What the tables hold of `user-NAME`, `device-NAME` and the label of `tx-NAME` before.
    #[serde(default)]
    items: Vec<Item>,
    fate: Fate,
    #[serde(default)]
    never_logged: Vec<String>,
}

impl Case {
    fn user(&self) -> String {
        format!("user-{}", self.name)
    }

    fn key(&self, table: &str) -> String {
        match table {
            "user_state" => self.user(),
            "device_state" => format!("device-{}", self.name),
            _ => {
                let user = UserId::new(self.user()).expect("a valid name");
                let transaction = TransactionId::new(format!("tx-{}", self.name)).expect("a valid name");
                stored_label::key(DecisionId::derive(&user, &transaction))
            }
        }
    }
}

fn read_all(folder: &Path) -> Vec<Case> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let read = |path: &Path| {
        let text = std::fs::read(path).expect("a readable file");
        let mut case: Case =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        case.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(!case.about.is_empty() && !case.values.is_empty(), "{} says what it is about", case.name);
        case
    };
    paths.iter().map(|path| read(path)).collect()
}

/// A function whose records only change state.
struct Subject {
    function: &'static str,
    folder: &'static str,
    /// A good record of a user.
    good: fn(&str) -> serde_json::Value,
    /// The attribute that a good record leaves in its user's item.
    leaves: &'static str,
    cases_min: usize,
}

/// The event of a case: its values between two good records, which the broker has received just now: what waits for a repair is not given
/// up yet. Returns the good users, and the offsets of the values.
fn event(case: &Case, subject: &Subject, topic: &str, partition: u32) -> (Vec<u8>, Vec<String>, Vec<u64>) {
    let good = ["first", "last"].map(|place| format!("good-{place}-{}", case.name));
    let value_of = |user: &String| (subject.good)(user).to_string().into_bytes();
    let mut values = vec![value_of(&good[0])];
    values.extend(case.values.iter().map(Input::bytes));
    values.push(value_of(&good[1]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as u64;
    let offsets: Vec<u64> = (OFFSET_FIRST..).take(values.len()).collect();
    let record = |(value, offset): (&Vec<u8>, &u64)| {
        json!({
            "topic": topic, "partition": partition, "offset": offset, "timestamp": now + offset,
            "timestampType": "LOG_APPEND_TIME", "key": base64(case.name.as_bytes()), "value": base64(value), "headers": [],
        })
    };
    let records: Vec<_> = values.iter().zip(&offsets).map(record).collect();
    let event = json!({ "eventSource": "aws:kafka", "records": { format!("{topic}-{partition}"): records } });
    (event.to_string().into_bytes(), good.to_vec(), offsets[1..offsets.len() - 1].to_vec())
}

/// What differs of a case's dead letters.
fn dead_lettered(case: &Case, partition: u32, published: &Published) -> Vec<String> {
    let letters = published.dead_letters.iter().filter(|stored| stored.letter.partition == partition);
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut differences = Vec::new();
    for stored in letters {
        let letter = &stored.letter;
        found.push((letter.reason_code.as_str(), letter.value.clone().unwrap_or_default()));
        for secret in secrets(case).filter(|secret| letter.reason.contains(secret.as_str())) {
            differences.push(format!("{}: the reason tells `{secret}`", case.name));
        }
    }
    let mut expected: Vec<(&str, Vec<u8>)> = match &case.fate {
        Fate::Parked(reason) => case.values.iter().map(|value| (reason.as_str(), value.bytes())).collect(),
        Fate::Handled | Fate::Unsettled => Vec::new(),
    };
    found.sort();
    expected.sort();
    if found != expected {
        let codes: Vec<&str> = found.iter().map(|(code, _)| *code).collect();
        differences
            .push(format!("{} ({}): dead-lettered as {codes:?} instead of {:?}", case.name, case.about, case.fate));
    }
    differences
}

fn secrets(case: &Case) -> impl Iterator<Item = String> {
    let own = [case.user(), format!("device-{}", case.name)];
    own.into_iter().chain(NEVER_LOGGED.map(str::to_owned)).chain(case.never_logged.clone())
}

async fn judge(subject: Subject) {
    let cases = read_all(&centinela_e2e::workspace().join("tests/bad-input").join(subject.folder));
    assert!(cases.len() >= subject.cases_min, "{} cases", cases.len());
    assert_eq!(cases.iter().map(|case| &case.name).collect::<BTreeSet<_>>().len(), cases.len());
    let world = Hosted::start_function(subject.function).await;
    let (mut differences, mut good_users) = (Vec::new(), Vec::new());
    for (case, partition) in cases.iter().zip(PARTITION_FIRST..) {
        for item in &case.items {
            world.put(&item.table, vec![(case.key(&item.table), item.values())]).await;
        }
        let (event, good, offsets) = event(case, &subject, &world.topic, partition);
        let place = format!("{}-{partition}", world.topic);
        let failures: Vec<_> = match case.fate {
            Fate::Unsettled => offsets
                .iter()
                .map(|offset| json!({ "itemIdentifier": { "partition": place, "offset": offset } }))
                .collect(),
            _ => Vec::new(),
        };
        match world.invoke(event).await {
            Ok(answer) if answer == json!({ "batchItemFailures": failures }) => {}
            other => differences.push(format!("{} ({}): {other:?}", case.name, case.about)),
        }
        good_users.extend(good);
    }
    for user in good_users {
        let item: BTreeMap<_, _> = world.item("user_state", &user).await.unwrap_or_default().into_iter().collect();
        if !item.contains_key(subject.leaves) {
            differences.push(format!("{user}'s good record is not taken in"));
        }
    }
    let published = world.published();
    for (case, partition) in cases.iter().zip(PARTITION_FIRST..) {
        differences.extend(dead_lettered(case, partition, &published));
    }
    let (lines, stats) = world.end().await;
    for case in &cases {
        for secret in secrets(case) {
            let line = lines.iter().find(|line| line.contains(&secret));
            differences.extend(line.map(|line| format!("{}: `{secret}` is logged: {line}", case.name)));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!((stats.crashes, stats.timeouts, stats.cold_starts), (0, 0, 1));
    // Without the metric lines the search of the log would prove nothing.
    assert_eq!(lines.iter().filter(|line| line.contains("_aws")).count(), cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_action_meets_its_fate_and_harms_nothing_else() {
    let good =
        |user: &str| json!({ "action_id": "a", "timestamp": TIMESTAMP_MS, "user_id": user, "action": "registered" });
    let (function, folder) = ("track-user-actions", "action");
    judge(Subject { function, folder, good, leaves: "p", cases_min: 40 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_label_meets_its_fate_and_harms_nothing_else() {
    let good = |user: &str| {
        json!({
            "event_id": "e", "timestamp": TIMESTAMP_MS, "user_id": user, "transaction_id": "t", "event": "chargeback",
            "device_id": format!("device-of-{user}"),
        })
    };
    let (function, folder) = ("apply-labels", "event");
    judge(Subject { function, folder, good, leaves: "r", cases_min: 35 }).await;
}
