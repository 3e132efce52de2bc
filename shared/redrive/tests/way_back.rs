//! The way back of dead letters, rule by rule, over surroundings in memory.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use centinela_contracts::dead_letter_v1::{self, DeadLetter, DeadLetterReason};
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::transaction_v1;
use centinela_domain::{Coordinates, Currency, DecisionId, Millis};
use centinela_redrive::{
    Found, Handled, Message, Outgoing, Place, Plan, PortError, Report, Request, Settings, Surroundings, Topics,
    drop_letters, list, redrive,
};
use futures::executor::block_on;
use serde_json::{Value, json};

const AT_MS: i64 = 1_795_357_920_000;

fn key() -> DeploymentKey {
    DeploymentKey::new(b"a key for tests only").unwrap()
}

fn settings() -> Settings {
    let topics = Topics {
        transactions: "transactions".to_owned(),
        user_actions: "user_actions".to_owned(),
        events: "events".to_owned(),
    };
    Settings { key: Some(key()), default_currency: Currency::DEFAULT, topics }
}

fn transaction(id: &str) -> Vec<u8> {
    let value = json!({
        "version": 1, "transaction_id": id, "timestamp": AT_MS, "user_id": "ana", "amount": "12.34", "currency": "EUR",
        "device_type": "mobile", "device_id": "d", "ip": "192.0.2.7", "user_agent": "shop/1.0",
    });
    value.to_string().into_bytes()
}

fn decision_id(value: &[u8]) -> DecisionId {
    transaction_v1::parse(value).unwrap().decision_id()
}

fn first(offset: u64) -> Coordinates {
    Coordinates { partition: 3, offset, timestamp: Millis(AT_MS + offset as i64) }
}

#[derive(Default)]
struct World {
    messages: Vec<Message>,
    read: usize,
    noted: Handled,
    published: BTreeMap<DecisionId, Found>,
    marks: BTreeMap<u32, Coordinates>,
    covers: Millis,
    sent: Vec<Outgoing>,
    /// This many sends are acknowledged.
    acknowledges: usize,
    now: i64,
    paused: Duration,
    searches: usize,
}

impl World {
    fn new(messages: Vec<Message>) -> Self {
        let mark = Coordinates { partition: 3, offset: 900, timestamp: Millis(AT_MS + 900) };
        let marks = BTreeMap::from([(3, mark)]);
        Self { messages, marks, acknowledges: usize::MAX, now: AT_MS, ..Self::default() }
    }

    fn redrive(&mut self, request: &Value) -> Report {
        let plan = plan(request);
        block_on(redrive(self, &settings(), &plan)).unwrap()
    }

    fn list(&mut self, request: &Value) -> Vec<String> {
        let (letters, _) = block_on(list(self, &settings(), &plan(request))).unwrap();
        letters.into_iter().map(|letter| letter.place.to_string()).collect()
    }
}

fn plan(request: &Value) -> Plan {
    Request::parse(&request.to_string()).unwrap().plan(Duration::from_secs(7), None).unwrap()
}

impl Surroundings for World {
    async fn handled(&mut self) -> Result<Handled, PortError> {
        self.read = 0;
        Ok(self.noted.clone())
    }

    async fn next_message(&mut self) -> Result<Option<Message>, PortError> {
        self.read += 1;
        Ok(self.messages.get(self.read - 1).cloned())
    }

    async fn note_handled(&mut self, handled: &Handled) -> Result<(), PortError> {
        self.noted = handled.clone();
        Ok(())
    }

    async fn marks(&mut self) -> Result<BTreeMap<u32, Coordinates>, PortError> {
        assert_eq!(self.searches, 0, "the marks are read before the decisions are looked for");
        Ok(self.marks.clone())
    }

    async fn begin_search(&mut self, _: Millis) -> Result<Millis, PortError> {
        self.searches = 0;
        Ok(self.covers)
    }

    async fn search(&mut self, wanted: &BTreeSet<DecisionId>) -> Result<BTreeMap<DecisionId, Found>, PortError> {
        self.searches += 1;
        let found = self.published.iter().filter(|(id, _)| wanted.contains(id));
        Ok(found.map(|(id, found)| (*id, found.clone())).collect())
    }

    async fn ends(&mut self, topic: &str) -> Result<Vec<u64>, PortError> {
        Ok(if topic == "gone" { Vec::new() } else { vec![1_000; 10] })
    }

    async fn send(&mut self, records: Vec<Outgoing>) -> Vec<Result<(), PortError>> {
        let mut answers = Vec::new();
        for record in records {
            if self.acknowledges == 0 {
                answers.push(Err(PortError::new("sending", "no answer")));
                continue;
            }
            self.acknowledges -= 1;
            self.sent.push(record);
            answers.push(Ok(()));
        }
        answers
    }

    fn now(&self) -> Millis {
        Millis(self.now)
    }

    async fn pause(&mut self, time: Duration) {
        self.paused += time;
        self.now += i64::try_from(time.as_millis()).unwrap();
    }
}

/// A letter of a function, as the adapters write it.
fn letter(offset: u64, reason_code: DeadLetterReason, value: &[u8], signed_with: &DeploymentKey) -> Message {
    let at = first(offset);
    let letter = DeadLetter {
        reason_code,
        reason: format!("it is {}", reason_code.as_str()),
        topic: "transactions".to_owned(),
        partition: at.partition,
        offset: Some(at.offset),
        timestamp: Some(at.timestamp),
        key: Some(b"k".to_vec()),
        value: Some(value.to_vec()),
        headers: vec![("trace".to_owned(), b"7".to_vec())],
        dead_lettered_at: Millis(AT_MS + 10_000 + offset as i64),
    };
    Message {
        place: Place { partition: 0, offset },
        written_at: Millis(AT_MS),
        key: Some(b"k".to_vec()),
        value: dead_letter_v1::encode(&letter),
        headers: dead_letter_v1::first_headers("transactions", at, value, signed_with),
    }
}

fn unreadable(offset: u64) -> Message {
    letter(offset, DeadLetterReason::StateUnreadable, &transaction(&format!("t{offset}")), &key())
}

/// A record that the mapping gave up, as its failure topic gets it.
fn given_up(offset: u64, at: u64) -> Message {
    let encoded = base64_simd::STANDARD.encode_to_string(transaction(&format!("t{at}")));
    let value = json!({
        "requestContext": { "condition": "RetriesExhausted", "approximateInvokeCount": 9 },
        "KafkaBatchInfo": { "recordInfo": { "offset": at.to_string() } },
        "payload": { "eventSource": "aws:kafka", "records": { "transactions-3": [
            { "topic": "transactions", "partition": 3, "offset": at, "timestamp": AT_MS, "value": encoded },
        ] } },
    });
    Message {
        place: Place { partition: 0, offset },
        written_at: Millis(AT_MS),
        key: None,
        value: value.to_string().into_bytes(),
        headers: Vec::new(),
    }
}

fn doing(more: Value) -> Value {
    let mut request = json!({ "action": "redrive", "dry_run": false });
    more.as_object().unwrap().iter().for_each(|(name, value)| request[name] = value.clone());
    request
}

#[test]
fn a_record_goes_back_to_its_partition_signed_and_verified_and_once() {
    let mut world = World::new(vec![unreadable(0), given_up(1, 41)]);
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.letters, report.sent, report.verified, report.unfinished), (2, 2, 2, false));
    for (record, at) in world.sent.iter().zip([first(0), Coordinates { timestamp: Millis(AT_MS), ..first(41) }]) {
        assert_eq!((record.topic.as_str(), record.partition), ("transactions", 3));
        let first = dead_letter_v1::signed_first(&record.headers, &record.value, &key()).unwrap().unwrap();
        assert_eq!(first, ("transactions".to_owned(), at));
        let verified = dead_letter_v1::verified(&record.headers, "transactions", at, &record.value, &key());
        assert_eq!(verified, Some(world.marks[&3]));
    }
    assert_eq!(world.sent[0].headers[0], ("trace".to_owned(), b"7".to_vec()), "its own headers stay");
    assert!(world.paused >= Duration::from_secs(7), "the look-up waits for whoever was at work");
    let again = world.redrive(&doing(json!({})));
    assert_eq!((again.letters, world.sent.len()), (0, 2));
}

#[test]
fn a_dry_run_changes_nothing() {
    let mut world = World::new(vec![unreadable(0)]);
    let report = world.redrive(&json!({ "action": "redrive" }));
    assert_eq!((report.dry_run, report.sent, world.sent.len()), (true, 1, 0));
    assert_eq!(world.list(&json!({})), ["0-0"]);
    let report = block_on(drop_letters(&mut world, &settings(), &plan(&json!({"action":"drop","letters":["0-0"]}))));
    assert_eq!((report.unwrap().dropped, world.list(&json!({}))), (1, vec!["0-0".to_owned()]));
}

#[test]
fn what_is_decided_is_done_and_what_was_decided_otherwise_is_left_to_a_person() {
    let mut world = World::new(vec![unreadable(0), unreadable(1), unreadable(2)]);
    let decided = |amount: Option<u64>| Found { amount: amount.map(|amount| (amount, "EUR".to_owned())) };
    for (id, found) in [("t0", decided(Some(1_234))), ("t1", decided(Some(99))), ("t2", decided(None))] {
        world.published.insert(decision_id(&transaction(id)), found);
    }
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.found, report.cannot, report.sent), (2, 1, 0));
    assert!(report.left[0].why.contains("an id of its own"), "{report:?}");
    assert_eq!(world.list(&json!({})), ["0-1"]);
}

#[test]
fn nothing_is_called_verified_that_could_not_be_looked_for() {
    for change in [|world: &mut World| world.covers = Millis(AT_MS + 1), |world: &mut World| world.marks.clear()] {
        let mut world = World::new(vec![unreadable(0)]);
        change(&mut world);
        assert_eq!(world.redrive(&doing(json!({}))).verified, 0);
        let at = first(0);
        let record = &world.sent[0];
        assert_eq!(dead_letter_v1::verified(&record.headers, "transactions", at, &record.value, &key()), None);
    }
    let mut world = World::new(vec![unreadable(0)]);
    assert_eq!(world.redrive(&doing(json!({ "verify": false }))).verified, 0);
    assert_eq!(world.searches, 0);
}

#[test]
fn what_is_not_acknowledged_stays_open_and_goes_next_time() {
    let mut world = World::new((0..5).map(unreadable).collect());
    world.acknowledges = 3;
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.sent, report.failed), (3, 2));
    assert_eq!(world.list(&json!({})), ["0-3", "0-4"]);
    world.acknowledges = usize::MAX;
    assert_eq!(world.redrive(&doing(json!({}))).sent, 2);
    assert_eq!(world.sent.len(), 5);
}

#[test]
fn a_bad_record_waits_for_its_repair_and_keeps_its_first_place() {
    let mut world = World::new(vec![letter(0, DeadLetterReason::NotJson, b"{\"half", &key())]);
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.needs_repair, report.sent), (1, 0));
    let still_bad = world.redrive(&doing(json!({ "repairs": [{ "letter": "0-0", "value": "{}" }] })));
    assert_eq!((still_bad.needs_repair, still_bad.sent), (1, 0), "a repair that is none");
    let value = String::from_utf8(transaction("t0")).unwrap();
    let report = world.redrive(&doing(json!({ "repairs": [{ "letter": "0-0", "value": value }] })));
    assert_eq!((report.sent, report.verified), (1, 1));
    let record = &world.sent[0];
    let signed = dead_letter_v1::signed_first(&record.headers, &record.value, &key()).unwrap().unwrap();
    assert_eq!((signed.1, record.value.as_slice()), (first(0), value.as_bytes()));
}

#[test]
fn nobody_s_word_is_signed_and_no_place_that_never_was() {
    let stranger = DeploymentKey::new(b"somebody else's key").unwrap();
    let forged = letter(0, DeadLetterReason::StateUnreadable, &transaction("t0"), &stranger);
    let mut world = World::new(vec![forged, given_up(1, 1_000)]);
    let report = world.redrive(&doing(json!({})));
    assert_eq!((report.cannot, report.sent), (2, 0), "{report:?}");
    let report = world.redrive(&doing(json!({ "as_new": true, "letters": ["0-0"] })));
    assert_eq!((report.sent, report.verified), (1, 0));
    assert!(dead_letter_v1::signed_first(&world.sent[0].headers, &world.sent[0].value, &key()).is_none());
}

#[test]
fn letters_are_found_by_reason_time_partition_text_and_place() {
    let not_json = letter(1, DeadLetterReason::NotJson, b"{\"half", &key());
    let nonsense = Message { value: b"hello".to_vec(), headers: Vec::new(), ..unreadable(3) };
    let mut world = World::new(vec![unreadable(0), not_json, given_up(2, 41), nonsense]);
    for (request, expected) in [
        (json!({}), vec!["0-0", "0-1", "0-2", "0-3"]),
        (json!({ "limit": 2 }), vec!["0-0", "0-1"]),
        (json!({ "reasons": ["not_json", "RetriesExhausted"] }), vec!["0-1", "0-2"]),
        (json!({ "reasons": ["unknown"] }), vec!["0-3"]),
        (json!({ "since": AT_MS + 10_001 }), vec!["0-1"]),
        (json!({ "until": AT_MS + 10_001, "topic": "transactions" }), vec!["0-0", "0-2"]),
        (json!({ "partition": 4 }), vec![]),
        (json!({ "text": "half" }), vec!["0-1"]),
        (json!({ "text": "state_unreadable" }), vec!["0-0"]),
        (json!({ "letters": ["0-2", "7-7"] }), vec!["0-2"]),
    ] {
        assert_eq!(world.list(&request), expected, "{request}");
    }
}

#[test]
fn a_rate_is_kept() {
    let mut world = World::new((0..200).map(unreadable).collect());
    world.redrive(&doing(json!({ "rate": 20, "verify": false })));
    assert_eq!((world.sent.len(), world.now - AT_MS), (200, 10_000));
}

#[test]
fn a_batch_in_a_bucket_is_several_records_of_one_letter() {
    let mut one = given_up(0, 41);
    let mut document: Value = serde_json::from_slice(&one.value).unwrap();
    let record = document["payload"]["records"]["transactions-3"][0].clone();
    let mut second = record.clone();
    second["offset"] = json!(42);
    second["value"] = json!(base64_simd::STANDARD.encode_to_string(transaction("t42")));
    let event = json!({ "eventSource": "aws:kafka", "records": { "transactions-3": [record, second] } });
    document["payload"] = json!(event.to_string());
    document["requestContext"]["condition"] = json!("RetryAttemptsExhausted");
    document["KafkaBatchInfo"] =
        json!({ "recordsInfo": { "transactions-3": { "firstRecordOffset": "41", "lastRecordOffset": "42" } } });
    one.value = document.to_string().into_bytes();
    let mut world = World::new(vec![one]);
    world.acknowledges = 1;
    assert_eq!(world.redrive(&doing(json!({}))).failed, 1);
    assert_eq!(world.list(&json!({})), ["0-0"], "open until all of it is acknowledged");
    world.acknowledges = usize::MAX;
    assert_eq!(world.redrive(&doing(json!({}))).sent, 2);
    assert_eq!(world.list(&json!({})), Vec::<String>::new());
}
