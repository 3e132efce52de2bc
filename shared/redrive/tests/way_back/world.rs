//! Surroundings in memory, and letters as functions and mappings write them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use centinela_contracts::dead_letter_v1::{self, DeadLetter, DeadLetterReason};
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::transaction_v1;
use centinela_domain::{Coordinates, Currency, DecisionId, Millis};
use centinela_redrive::{
    Found, Handled, Letter, Message, Outgoing, Place, Plan, PortError, Report, Request, Searched, Settings,
    Surroundings, Topics, list, redrive,
};
use futures::executor::block_on;
use serde_json::{Value, json};

pub const AT_MS: i64 = 1_795_357_920_000;

pub fn key() -> DeploymentKey {
    DeploymentKey::new(b"a key for tests only").unwrap()
}

pub fn settings() -> Settings {
    let topics = Topics {
        transactions: "transactions".to_owned(),
        user_actions: "user_actions".to_owned(),
        events: "events".to_owned(),
    };
    Settings { key: Some(key()), default_currency: Currency::DEFAULT, topics }
}

pub fn transaction(id: &str) -> Vec<u8> {
    let value = json!({
        "version": 1, "transaction_id": id, "timestamp": AT_MS, "user_id": "ana", "amount": "12.34", "currency": "EUR",
        "device_type": "mobile", "device_id": "d", "ip": "192.0.2.7", "user_agent": "shop/1.0",
    });
    value.to_string().into_bytes()
}

pub fn decision_id(value: &[u8]) -> DecisionId {
    transaction_v1::parse(value).unwrap().decision_id()
}

pub fn first(offset: u64) -> Coordinates {
    Coordinates { partition: 3, offset, timestamp: Millis(AT_MS + offset as i64) }
}

#[derive(Default)]
pub struct World {
    pub messages: Vec<Message>,
    pub read: usize,
    pub noted: Handled,
    pub published: BTreeMap<DecisionId, Found>,
    pub marks: BTreeMap<u32, Coordinates>,
    pub covers: Millis,
    /// Where searches began.
    pub begun: Vec<Millis>,
    pub sent: Vec<Outgoing>,
    /// Deleted by retention before it is read again.
    pub gone_when_read_again: Option<Place>,
    /// Dropped by somebody else while records are sent.
    pub dropped_meanwhile: Option<Place>,
    /// This many sends are acknowledged.
    pub acknowledges: usize,
    pub now: i64,
    pub paused: Duration,
    pub searches: usize,
    /// How long a search takes.
    pub search_takes_ms: i64,
    /// Whether others are decided meanwhile.
    pub marks_move_on: bool,
    pub marks_read: Vec<(i64, Coordinates)>,
    /// When a search ended, and how old the newest marks were that its word makes good, as records were sent.
    pub searched_at: i64,
    pub oldest_marks_ms: i64,
}

impl World {
    pub fn new(messages: Vec<Message>) -> Self {
        let mark = Coordinates { partition: 3, offset: 900, timestamp: Millis(AT_MS + 900) };
        let marks = BTreeMap::from([(3, mark)]);
        Self { messages, marks, acknowledges: usize::MAX, now: AT_MS, ..Self::default() }
    }

    pub fn redrive(&mut self, request: &Value) -> Report {
        let plan = plan(request);
        block_on(redrive(self, &settings(), &plan)).unwrap()
    }

    /// With so much time.
    pub fn redrive_for(&mut self, request: &Value, time: Duration) -> Report {
        let mut plan = plan(request);
        plan.deadline = Some(Millis(self.now + i64::try_from(time.as_millis()).unwrap()));
        block_on(redrive(self, &settings(), &plan)).unwrap()
    }

    pub fn list(&mut self, request: &Value) -> Vec<String> {
        let mut places = Vec::new();
        let take = |letter: &Letter| {
            places.push(letter.place.to_string());
            true
        };
        block_on(list(self, &settings(), &plan(request), take)).unwrap();
        places
    }
}

pub fn plan(request: &Value) -> Plan {
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

    async fn turn_back(&mut self, to: Place) -> Result<(), PortError> {
        let gone = self.gone_when_read_again.take();
        self.messages.retain(|message| Some(message.place) != gone);
        self.read = self.messages.iter().position(|message| message.place >= to).unwrap();
        Ok(())
    }

    async fn note_handled(&mut self, handled: &mut Handled) -> Result<(), PortError> {
        if let Some(place) = self.dropped_meanwhile {
            handled.insert(place);
        }
        self.noted = handled.clone();
        Ok(())
    }

    async fn marks(&mut self) -> Result<BTreeMap<u32, Coordinates>, PortError> {
        if let Some(mark) = self.marks.get_mut(&3) {
            mark.offset += u64::from(self.marks_move_on);
            self.marks_read.push((self.now, *mark));
        }
        Ok(self.marks.clone())
    }

    async fn begin_search(&mut self, since: Millis) -> Result<Millis, PortError> {
        self.begun.push(since);
        Ok(self.covers)
    }

    async fn search(&mut self, wanted: &BTreeSet<DecisionId>, deadline: Option<Millis>) -> Result<Searched, PortError> {
        self.searches += 1;
        self.searched_at = self.now;
        // What was published before is read once.
        self.now += std::mem::take(&mut self.search_takes_ms);
        if deadline.is_some_and(|deadline| self.now >= deadline.0) {
            return Ok(Searched::default());
        }
        let found = self.published.iter().filter(|(id, _)| wanted.contains(id));
        Ok(Searched { found: found.map(|(id, found)| (*id, found.clone())).collect(), is_all: true })
    }

    async fn ends(&mut self, topic: &str) -> Result<Vec<u64>, PortError> {
        Ok(if topic == "gone" { Vec::new() } else { vec![1_000; 10] })
    }

    async fn send(&mut self, records: Vec<Outgoing>) -> Vec<Result<(), PortError>> {
        for mark in records.iter().filter_map(signed_mark) {
            let (read_at, _) = self.marks_read.iter().find(|(_, read)| *read == mark).expect("a mark that was read");
            let waited = self.searched_at - read_at;
            assert!(
                waited >= 7_000,
                "looked for decisions {waited} ms after the marks, and not after whoever was at work"
            );
            self.oldest_marks_ms = self.oldest_marks_ms.max(self.now - read_at);
        }
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

fn signed_mark(record: &Outgoing) -> Option<Coordinates> {
    let (_, at) = dead_letter_v1::signed_first(&record.headers, &record.value, &key())?.unwrap();
    dead_letter_v1::verified(&record.headers, &record.topic, at, &record.value, &key())
}

/// A letter of a function, as the adapters write it.
pub fn letter(offset: u64, reason_code: DeadLetterReason, value: &[u8], signed_with: &DeploymentKey) -> Message {
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

pub fn unreadable(offset: u64) -> Message {
    letter(offset, DeadLetterReason::StateUnreadable, &transaction(&format!("t{offset}")), &key())
}

/// A record that the mapping gave up, as its failure topic gets it.
pub fn given_up(offset: u64, at: u64) -> Message {
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

pub fn doing(more: Value) -> Value {
    let mut request = json!({ "action": "redrive", "dry_run": false });
    more.as_object().unwrap().iter().for_each(|(name, value)| request[name] = value.clone());
    request
}
