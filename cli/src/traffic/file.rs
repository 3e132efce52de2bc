//! A file's transactions, and between them what becomes known of each, so long after it as was asked for.

use std::collections::VecDeque;
use std::time::Duration;

use centinela_contracts::event_v1::{self, Event, EventId, EventKind};
use centinela_contracts::transaction_v1;
use centinela_domain::{Currency, InvalidTransaction, Millis, Transaction};

use super::input::{InputError, Rows};
use super::{Message, Stream};

/// What is made of a file besides its transactions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    /// How long after a transaction its label goes out, by event time; none where none does.
    pub labels_after: Option<Duration>,
    /// Transactions of this time after the first one do not count when scores are measured.
    pub measured_after: Option<Duration>,
}

/// A file on its way out.
pub struct File {
    rows: Box<Rows>,
    truth: Truth,
    default_currency: Currency,
    /// Event time of the first transaction.
    began: Option<Millis>,
    /// Labels that wait for their time, which is the order of the file.
    waiting: VecDeque<(Millis, Message)>,
    /// The next transaction, which waits for the labels before it.
    next: Option<(Option<Transaction>, Message)>,
}

impl File {
    /// Takes a file as it is opened.
    pub fn new(rows: Rows, truth: Truth, default_currency: Currency) -> Self {
        Self { rows: Box::new(rows), truth, default_currency, began: None, waiting: VecDeque::new(), next: None }
    }

    /// The next record; none at the end. Labels whose time the file does not reach are not sent.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub fn next(&mut self) -> Result<Option<Message>, InputError> {
        if self.truth.labels_after.is_none() && self.truth.measured_after.is_none() {
            return self.rows.next();
        }
        let (transaction, mut message) = match self.next.take() {
            Some(held) => held,
            None => {
                let Some(message) = self.rows.next()? else { return Ok(None) };
                (transaction_v1::parse_in(&message.value, self.default_currency).ok(), message)
            }
        };
        let Some(transaction) = transaction else { return Ok(Some(message)) };
        if let Some((_, label)) = self.waiting.pop_front_if(|(known_at, _)| *known_at <= transaction.occurred_at) {
            self.next = Some((Some(transaction), message));
            return Ok(Some(label));
        }
        if let (Some(delay), Some(fraud)) = (self.truth.labels_after, message.fraud) {
            let known_at = later(transaction.occurred_at, delay);
            // A file's ids are those of transactions, so those of its labels are in order too.
            let label = label(&transaction, fraud, known_at);
            self.waiting.extend(label.ok().map(|label| (known_at, label)));
        }
        let began = *self.began.get_or_insert(transaction.occurred_at);
        if self.truth.measured_after.is_some_and(|after| transaction.occurred_at < later(began, after)) {
            message.fraud = None;
        }
        Ok(Some(message))
    }

    /// Transactions that will come, where that is known.
    pub fn expected(&self) -> Option<u64> {
        self.rows.expected()
    }
}

fn later(at: Millis, by: Duration) -> Millis {
    Millis(at.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

fn label(transaction: &Transaction, fraud: bool, known_at: Millis) -> Result<Message, InvalidTransaction> {
    let event = Event {
        event_id: EventId::new("event_id", transaction.id.as_str())?,
        occurred_at: known_at,
        user_id: Some(transaction.user_id.clone()),
        transaction_id: Some(transaction.id.clone()),
        kind: if fraud { EventKind::Chargeback } else { EventKind::ConfirmedGood },
        device_id: Some(transaction.device_id.clone()),
    };
    Ok(Message::beside(Stream::Labels, transaction.user_id.as_str(), event_v1::encode(&event)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Key;
    use crate::traffic::input::Input;

    const HEADER: &str = "transaction_id,timestamp,user_id,amount,device_type,device_id,ip,user_agent,fraud\n";

    fn messages(truth: Truth) -> Vec<(Stream, String, Option<bool>)> {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("days.csv");
        let row = |day: u32| format!("t{day},2026-11-0{day}T12:00:00Z,u,12.34,pos,d,203.0.113.9,a,{}\n", day == 2);
        std::fs::write(&path, HEADER.to_owned() + &(1..=5).map(row).collect::<String>()).unwrap();
        let input = Input { key: Key::TransactionId, limit: None, default_currency: Currency::DEFAULT };
        let mut file = File::new(input.open_checked(&path).unwrap(), truth, Currency::DEFAULT);
        let mut messages = Vec::new();
        while let Some(message) = file.next().unwrap() {
            let value = String::from_utf8(message.value).unwrap();
            messages.push((message.stream, value, message.fraud));
        }
        messages
    }

    #[test]
    fn a_label_goes_out_before_the_first_transaction_of_its_time() {
        let messages = messages(Truth { labels_after: Some(Duration::from_secs(2 * 86_400)), measured_after: None });
        let streams: Vec<Stream> = messages.iter().map(|(stream, ..)| *stream).collect();
        let (transaction, label) = (Stream::Transactions, Stream::Labels);
        assert_eq!(streams, [transaction, transaction, label, transaction, label, transaction, label, transaction]);
        assert!(messages[2].1.contains("confirmed_good") && messages[2].1.contains("\"t1\""), "{}", messages[2].1);
        assert!(messages[4].1.contains("chargeback") && messages[4].1.contains("\"t2\""), "{}", messages[4].1);
        let known = event_v1::parse(messages[4].1.as_bytes()).unwrap();
        assert_eq!((known.occurred_at, known.device_id.unwrap().as_str()), (Millis(1_793_793_600_000), "d"));
    }

    #[test]
    fn what_happened_before_is_not_measured_and_is_labelled_all_the_same() {
        let day = Duration::from_secs(86_400);
        let messages = messages(Truth { labels_after: Some(day), measured_after: Some(2 * day) });
        let measured: Vec<Option<bool>> =
            messages.iter().filter(|(stream, ..)| *stream == Stream::Transactions).map(|(.., fraud)| *fraud).collect();
        assert_eq!(measured, [None, None, Some(false), Some(false), Some(false)]);
        assert!(messages.iter().any(|(_, value, _)| value.contains("chargeback")));
    }
}
