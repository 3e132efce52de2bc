//! The tokens that make `TransactWriteItems` idempotent, kept here: the engine looks through all of its own at each call, and SDKs send
//! a new one with each transaction.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

/// How long a token is known.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>
const WINDOW: Duration = Duration::from_secs(600);

/// What is known of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing: the transaction is to be done.
    New,
    /// The same request was done, and this is the answer to it now.
    Done(Bytes),
    /// Another request was done.
    Another,
}

/// Tokens of transactions that were done, for as long as they count.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    requests: RandomState,
    known: HashMap<String, (u64, Bytes)>,
    /// By age, the oldest first.
    order: VecDeque<(Instant, String)>,
}

impl Tokens {
    /// Looks a token up that comes with this request at `now`.
    pub(super) fn find(&mut self, token: &str, request: &[u8], now: Instant) -> Seen {
        while self.order.front().is_some_and(|(since, _)| now.saturating_duration_since(*since) >= WINDOW) {
            if let Some((_, token)) = self.order.pop_front() {
                self.known.remove(&token);
            }
        }
        match self.known.get(token) {
            None => Seen::New,
            Some((known, answer)) if *known == self.requests.hash_one(request) => Seen::Done(as_read(answer)),
            Some(_) => Seen::Another,
        }
    }

    /// Notes that the request was done.
    pub(super) fn done(&mut self, token: String, request: &[u8], answer: Bytes, now: Instant) {
        self.known.insert(token.clone(), (self.requests.hash_one(request), answer));
        self.order.push_back((now, token));
    }
}

/// The answer to a transaction that is not done again: it cost reads. For items of at most 1 KB they are as many as the writes.
fn as_read(answer: &Bytes) -> Bytes {
    let Ok(mut json) = serde_json::from_slice::<Value>(answer) else { return answer.clone() };
    let tables = json.get_mut("ConsumedCapacity").and_then(Value::as_array_mut);
    for table in tables.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(units) = table.remove("WriteCapacityUnits") {
            table.insert("ReadCapacityUnits".to_owned(), units);
        }
    }
    json.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_for_ten_minutes_with_its_request() {
        let (mut tokens, begin) = (Tokens::default(), Instant::now());
        let answer = br#"{"ConsumedCapacity":[{"CapacityUnits":4.0,"TableName":"t","WriteCapacityUnits":4.0}]}"#;
        assert_eq!(tokens.find("a", b"request", begin), Seen::New);
        tokens.done("a".to_owned(), b"request", Bytes::from_static(answer), begin);
        let Seen::Done(again) = tokens.find("a", b"request", begin + WINDOW / 2) else { panic!("it is known") };
        let again: Value = serde_json::from_slice(&again).unwrap();
        assert_eq!(again["ConsumedCapacity"][0]["ReadCapacityUnits"], 4.0);
        assert!(again["ConsumedCapacity"][0].get("WriteCapacityUnits").is_none());
        assert_eq!(tokens.find("a", b"other", begin + WINDOW / 2), Seen::Another);
        assert_eq!(tokens.find("a", b"other", begin + WINDOW), Seen::New);
        assert_eq!((tokens.known.len(), tokens.order.len()), (0, 0));
    }
}
