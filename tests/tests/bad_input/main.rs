//! Every bad input under `tests/bad-input` through the function's real binary: each meets the fate that its file names, the good
//! transactions beside it are decided, and nothing of it is logged.

#![expect(clippy::print_stdout, reason = "the table of fates is for whoever runs the tests")]

mod case;
mod judge;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use case::{Case, Fate};
use centinela_contracts::stored_partition;
use centinela_e2e::hosted::Hosted;
use judge::Verdicts;
use serde_json::json;

/// A case has a partition of its own, counted from here.
const PARTITION_FIRST: u32 = 1_000;
/// Where records begin; the first one is a good transaction.
const OFFSET_FIRST: u64 = 10;
/// The broker's time of the first record.
const TIMESTAMP_MS: u64 = 1_795_357_920_000;

/// An invocation.
pub(crate) struct Prepared {
    pub(crate) partition: u32,
    pub(crate) event: Vec<u8>,
    /// User and transaction of the good transactions in the event.
    pub(crate) good: Vec<(String, String)>,
    /// The records in question: offset where the test chose it, and what must be kept of a dead letter.
    pub(crate) bad: Vec<(Option<u64>, Option<Vec<u8>>)>,
    /// Items to store before: table, key and attributes.
    pub(crate) items: Vec<(String, String, BTreeMap<String, AttributeValue>)>,
}

/// Puts records together to a partition's list.
struct List {
    partition: u32,
    topic: String,
    records: Vec<String>,
    good: Vec<(String, String)>,
}

impl List {
    fn next_offset(&self) -> u64 {
        OFFSET_FIRST + self.records.len() as u64
    }

    fn push(&mut self, key: &str, value: &[u8]) -> u64 {
        let offset = self.next_offset();
        let record = json!({
            "topic": self.topic, "partition": self.partition, "offset": offset, "timestamp": TIMESTAMP_MS + offset,
            "timestampType": "LOG_APPEND_TIME", "key": base64(key.as_bytes()), "value": base64(value), "headers": [],
        });
        self.records.push(record.to_string());
        offset
    }

    fn push_good(&mut self, case: &Case) {
        let (user, transaction) =
            (format!("good-{}-{}", case.name(), self.good.len()), format!("good-{}", self.good.len()));
        self.push(&transaction, &transaction_of(&user, &transaction, &format!("device-of-{user}")));
        self.good.push((user, transaction));
    }

    fn into_event(self) -> Vec<u8> {
        let Self { partition, topic, records, .. } = self;
        let list = records.join(",");
        format!(r#"{{"eventSource":"aws:kafka","records":{{"{topic}-{partition}":[{list}]}}}}"#).into_bytes()
    }
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

fn transaction_of(user: &str, transaction: &str, device: &str) -> Vec<u8> {
    let value = json!({
        "version": 1, "transaction_id": transaction, "timestamp": TIMESTAMP_MS, "user_id": user, "amount": "12.50",
        "currency": "EUR", "device_type": "mobile", "device_id": device, "ip": "203.0.113.9", "user_agent": "test/1",
    });
    value.to_string().into_bytes()
}

fn prepare(case: &Case, partition: u32, world: &Hosted) -> Prepared {
    let mut list = List { partition, topic: world.topic.clone(), records: Vec::new(), good: Vec::new() };
    if let Some(event) = &case.event {
        return whole_event(case, &event.bytes(), list);
    }
    list.push_good(case);
    let (mut bad, mut items) = (Vec::new(), Vec::new());
    if let Some(record) = &case.record {
        let record = record.bytes();
        bad.push((None, original_of(case, &record)));
        list.records.push(String::from_utf8(record).expect("a record is text inside an event"));
    }
    for value in values(case) {
        let offset = list.push(&format!("key-{}", case.name()), &value);
        bad.push((Some(offset), Some(value)));
    }
    if !case.items.is_empty() {
        items = stored_items(case, world, partition, &mut list, &mut bad);
    }
    list.push_good(case);
    let good = list.good.clone();
    Prepared { partition, event: list.into_event(), good, bad, items }
}

/// An event in which `@good@` stands for the next record with a good transaction and `@partition@` for the case's partition.
fn whole_event(case: &Case, template: &[u8], mut list: List) -> Prepared {
    const GOOD: &str = "@good@";
    // Lossless for every template that a case can hold but those that are no UTF-8, which have no placeholders.
    let Ok(template) = std::str::from_utf8(template) else {
        return Prepared {
            partition: list.partition,
            event: template.to_vec(),
            good: Vec::new(),
            bad: Vec::new(),
            items: Vec::new(),
        };
    };
    let mut event = template.replace("@partition@", &list.partition.to_string());
    while event.contains(GOOD) {
        list.push_good(case);
        event = event.replacen(GOOD, &list.records[list.records.len() - 1], 1);
    }
    Prepared {
        partition: list.partition,
        event: event.into_bytes(),
        good: list.good,
        bad: Vec::new(),
        items: Vec::new(),
    }
}

fn values(case: &Case) -> Vec<Vec<u8>> {
    let values: Vec<Vec<u8>> = case.values.iter().map(case::Input::bytes).collect();
    match values.first() {
        Some(whole) if case.cut_everywhere => (0..whole.len()).map(|length| whole[..length].to_vec()).collect(),
        _ => values,
    }
}

/// What is kept of a dead letter: its own description when that is what is broken, else its value.
fn original_of(case: &Case, record: &[u8]) -> Option<Vec<u8>> {
    if case.fate == Fate::Parked("unreadable_record".to_owned()) {
        return Some(record.to_vec());
    }
    if !matches!(case.fate, Fate::Parked(_)) {
        return None;
    }
    let record: serde_json::Value = serde_json::from_slice(record).expect("the record is JSON");
    record["value"].as_str().map(|value| base64_simd::STANDARD.decode_to_vec(value).expect("base64"))
}

fn stored_items(
    case: &Case,
    world: &Hosted,
    partition: u32,
    list: &mut List,
    bad: &mut Vec<(Option<u64>, Option<Vec<u8>>)>,
) -> Vec<(String, String, BTreeMap<String, AttributeValue>)> {
    let mut items = Vec::new();
    let device = format!("device-{}", case.name());
    let mut add = |user: &str, transaction: &str| {
        let value = transaction_of(user, transaction, &device);
        let offset = list.push(transaction, &value);
        bad.push((Some(offset), Some(value)));
    };
    for item in &case.items {
        for length in (0..item.content_bytes()).filter(|_| item.cut_everywhere) {
            let user = format!("{}-{length}", case.user());
            add(&user, &format!("tx-{length}"));
            items.push((item.table.clone(), user, item.cut(length)));
        }
        let key = match item.table.as_str() {
            "user_state" => case.user(),
            "device_state" => device.clone(),
            _ => stored_partition::key(&world.group, &world.topic, partition),
        };
        items.extend((!item.cut_everywhere).then(|| (item.table.clone(), key, item.values())));
    }
    if !case.items.iter().any(|item| item.cut_everywhere) {
        add(&case.user(), &format!("tx-{}", case.name()));
    }
    items
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_input_meets_its_fate_and_harms_nothing_else() {
    let cases = case::read_all(&centinela_e2e::workspace().join("tests/bad-input"));
    assert!(cases.len() >= 90, "{} cases", cases.len());
    assert!(cases.iter().all(|case| !case.about.is_empty()), "every case says what it is about");
    let names: BTreeSet<&str> = cases.iter().map(Case::name).collect();
    assert_eq!(names.len(), cases.len(), "two cases share a name, and so their users");

    let world = Hosted::start().await;
    let mut verdicts = Verdicts::default();
    let mut prepared = Vec::new();
    for (case, partition) in cases.iter().zip(PARTITION_FIRST..) {
        let mut case_prepared = prepare(case, partition, &world);
        for (table, items) in by_table(std::mem::take(&mut case_prepared.items)) {
            world.put(&table, items).await;
        }
        let answer = world.invoke(std::mem::take(&mut case_prepared.event)).await;
        verdicts.answer(case, &case_prepared, &world.topic, answer);
        prepared.push(case_prepared);
    }
    let published = world.published();
    for (case, prepared) in cases.iter().zip(&prepared) {
        verdicts.published(case, prepared, &published);
        if let (Fate::Decided(decisions), true) = (&case.fate, case.items.is_empty()) {
            verdicts.counted(case, decisions, &world).await;
        }
    }
    verdicts.nothing_is_invented(&published);
    let (lines, stats) = world.end().await;
    verdicts.logged(&cases, &lines, &stats);

    println!("{}", table(&cases, &lines));
    verdicts.end();
}

type Keyed = (String, BTreeMap<String, AttributeValue>);

fn by_table(items: Vec<(String, String, BTreeMap<String, AttributeValue>)>) -> BTreeMap<String, Vec<Keyed>> {
    let mut tables: BTreeMap<String, Vec<Keyed>> = BTreeMap::new();
    for (table, key, attributes) in items {
        tables.entry(table).or_default().push((key, attributes));
    }
    tables
}

fn table(cases: &[Case], lines: &[String]) -> String {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for case in cases {
        let folder = case.path.split('/').next().unwrap_or_default();
        *counts.entry((folder, case.fate.name())).or_default() += 1;
    }
    let rows: String =
        counts.iter().map(|((folder, fate), count)| format!("{folder:<14}{fate:<12}{count:>6}\n")).collect();
    let header = format!("{:<14}{:<12}{:>6}", "input", "fate", "cases");
    format!(
        "{header}\n{rows}{:<26}{:>6}\nlog lines searched for what they must not hold: {}",
        "all",
        cases.len(),
        lines.len()
    )
}
