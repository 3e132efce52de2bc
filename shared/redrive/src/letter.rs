//! A dead letter as an operator meets it: what it is about, where its record was first, and whether it can go back.

use centinela_contracts::dead_letter_v1::{
    self, DeadLetterReason, FIRST_OFFSET, FIRST_PARTITION, FIRST_SIGNATURE, FIRST_TIMESTAMP, FIRST_TOPIC, VERIFIED,
};
use centinela_contracts::failure_record::{self, FailureRecord};
use centinela_contracts::kafka_event::Record;
use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::{event_v1, transaction_v1, user_action_v1};
use centinela_domain::{Coordinates, Currency, DecisionId, Millis};

use crate::ports::{Message, Place};

/// Header of a redriven record with the place of its letter, for people.
pub(crate) const REDRIVEN_FROM: &str = "centinela-redriven-from";

/// Which topics hold what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Transactions.
    pub transactions: String,
    /// User actions.
    pub user_actions: String,
    /// Events, such as labels.
    pub events: String,
}

/// What letters are read with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signs; none where nobody has given it, and then nothing can be sent.
    pub key: Option<DeploymentKey>,
    /// What a transaction without a currency is in, as for the function that decides.
    pub default_currency: Currency,
    /// The topics.
    pub topics: Topics,
}

/// Why a record is among the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A function could not handle it.
    Function(DeadLetterReason),
    /// The mapping gave it up, under this condition.
    Mapping(String),
    /// The message is neither.
    Unknown,
}

impl Cause {
    /// The reason code, or the condition.
    pub fn name(&self) -> &str {
        match self {
            Self::Function(reason) => reason.as_str(),
            Self::Mapping(condition) => condition,
            Self::Unknown => "unknown",
        }
    }
}

/// What is known of where a record was first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// This deployment signed it.
    Signed,
    /// The mapping says so, which signs nothing: it is believed where the topic was already read to.
    OfTheMapping,
    /// Nobody's word: not signed, or without the key to tell.
    None,
}

/// A record that was dead-lettered.
#[derive(Clone, Debug, PartialEq)]
pub struct Original {
    /// Its topic.
    pub topic: String,
    /// Where it was first delivered.
    pub at: Coordinates,
    /// How that is known.
    pub proof: Proof,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its own headers, without those of a redrive.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Of its decision, where it is a transaction that can be read.
    pub decision: Option<DecisionId>,
    /// What the transaction is for, in minor units of a currency.
    pub amount: Option<(u64, String)>,
    /// What is wrong with its value, in the eyes of this release.
    pub problem: Option<String>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// Where it stands.
    pub place: Place,
    /// When it was dead-lettered.
    pub at: Millis,
    /// Why.
    pub cause: Cause,
    /// The same in words.
    pub reason: String,
    /// The records: one, or those of a batch that a mapping gave up; none where the letter has no bytes of them.
    pub originals: Vec<Original>,
    /// Bytes that were left out because the letter would have been too large.
    pub truncated_bytes: u64,
    /// Records of a batch that are not described in a way that can be read: the others can go back, and the letter stays open.
    pub broken: u64,
}

/// Whether a letter can go back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// As it is.
    Ready,
    /// Its value, or what it is about, must be repaired first: it would only come back.
    NeedsRepair(String),
    /// It cannot.
    Cannot(String),
}

impl Letter {
    /// Reads a message. Whatever it holds is a letter; what is not understood says so.
    pub fn read(message: Message, settings: &Settings) -> Self {
        let Message { place, written_at, key: _, value, headers } = message;
        match dead_letter_v1::parse(&value) {
            Ok(received) => Self::of_function(place, received, &headers, settings),
            Err(problem) => match failure_record::parse(&value) {
                Ok(record) => Self::of_mapping(place, written_at, record, settings),
                Err(_) => Self {
                    place,
                    at: written_at,
                    cause: Cause::Unknown,
                    reason: format!("the message is no dead letter: {problem}"),
                    originals: Vec::new(),
                    truncated_bytes: 0,
                    broken: 0,
                },
            },
        }
    }

    fn of_function(
        place: Place,
        received: dead_letter_v1::ReceivedDeadLetter,
        signed: &[(String, Vec<u8>)],
        settings: &Settings,
    ) -> Self {
        let dead_letter_v1::ReceivedDeadLetter { letter, truncated_bytes } = received;
        let coordinates = letter.offset.zip(letter.timestamp).map(|(offset, timestamp)| Coordinates {
            partition: letter.partition,
            offset,
            timestamp,
        });
        let originals = coordinates.map(|at| {
            let value = letter.value.as_deref().unwrap_or_default();
            let first = settings.key.as_ref().and_then(|key| dead_letter_v1::signed_first(signed, value, key));
            let (topic, at, proof) = match first {
                Some(Ok((topic, at))) => (topic, at, Proof::Signed),
                Some(Err(_)) | None => (letter.topic.clone(), at, Proof::None),
            };
            Original::new(topic, at, proof, (letter.key, letter.value, letter.headers), settings)
        });
        Self {
            place,
            at: letter.dead_lettered_at,
            cause: Cause::Function(letter.reason_code),
            reason: letter.reason,
            originals: originals.into_iter().collect(),
            truncated_bytes,
            broken: 0,
        }
    }

    fn of_mapping(place: Place, written_at: Millis, record: FailureRecord, settings: &Settings) -> Self {
        let FailureRecord { condition, attempts, given_up_at, ranges, batch } = record;
        let mut originals = Vec::new();
        let mut broken = 0;
        for partition in batch.into_iter().flat_map(|batch| batch.partitions) {
            for record in partition.records {
                match record {
                    Ok(record) => originals.push(given_up(&partition.topic, record, settings)),
                    Err(_) => broken += 1,
                }
            }
        }
        let mut reason = format!("the mapping gave it up after {} attempts", attempts.unwrap_or_default());
        if broken > 0 {
            reason.push_str(&format!("; {broken} of its records are not described in a way that can be read"));
        }
        if originals.is_empty() {
            let ranges = ranges.iter().map(|range| format!("{} {} to {}", range.key, range.first, range.last));
            reason
                .push_str(&format!("; it holds no records, they stand at: {}", ranges.collect::<Vec<_>>().join(", ")));
        }
        Self {
            place,
            at: given_up_at.unwrap_or(written_at),
            cause: Cause::Mapping(condition),
            reason,
            originals,
            truncated_bytes: 0,
            broken,
        }
    }

    /// Whether the letter can go back, with or without another value, and as a record that was never there before or as the one that it was.
    pub fn readiness(&self, repaired: bool, as_new: bool) -> Readiness {
        use DeadLetterReason as Reason;
        let cannot = |why: &str| Readiness::Cannot(why.to_owned());
        if self.originals.is_empty() {
            return cannot("it does not hold the record with its place");
        }
        if self.truncated_bytes > 0 && !repaired {
            return cannot("its bytes are not all there");
        }
        if self.cause == Cause::Function(Reason::UnreadableRecord) {
            return cannot("it holds the mapping's description of the record, and not its bytes");
        }
        if !as_new && self.originals.iter().any(|original| original.proof == Proof::None) {
            return cannot("this deployment has not signed where its record was first");
        }
        if self.broken > 0 && self.originals.iter().any(|original| original.proof == Proof::None) {
            return cannot("some of its records cannot be read, and the others would go as new ones each time");
        }
        let by_reason = match self.cause {
            Cause::Function(Reason::TransactionIdReused) => Some("the transaction needs an id of its own"),
            Cause::Function(Reason::LabelWithoutUser) => Some("the label needs its user"),
            Cause::Function(Reason::LabelWithoutDevice) => Some("the label needs its device"),
            _ => None,
        };
        let problem = self.originals.iter().find_map(|original| original.problem.clone());
        match problem.or_else(|| by_reason.map(str::to_owned)) {
            Some(problem) if !repaired => Readiness::NeedsRepair(problem),
            _ => Readiness::Ready,
        }
    }
}

/// A record that a mapping gave up: it may have been redriven before.
fn given_up(topic: &str, record: Record, settings: &Settings) -> Original {
    let Record { coordinates, key, value, headers } = record;
    let bytes = value.as_deref().unwrap_or_default();
    let first = settings.key.as_ref().and_then(|key| dead_letter_v1::signed_first(&headers, bytes, key));
    let (topic, at, proof) = match first {
        Some(Ok((topic, at))) => (topic, at, Proof::Signed),
        // Somebody has made a place up.
        Some(Err(_)) => (topic.to_owned(), coordinates, Proof::None),
        None => (topic.to_owned(), coordinates, Proof::OfTheMapping),
    };
    Original::new(topic, at, proof, (key, value, headers), settings)
}

/// A transaction's decision, and what it is for.
type Said = (DecisionId, (u64, String));
/// Key, value and headers.
type Parts = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Vec<u8>)>);

impl Original {
    fn new(topic: String, at: Coordinates, proof: Proof, parts: Parts, settings: &Settings) -> Self {
        const OWN: [&str; 7] =
            [FIRST_TOPIC, FIRST_PARTITION, FIRST_OFFSET, FIRST_TIMESTAMP, FIRST_SIGNATURE, VERIFIED, REDRIVEN_FROM];
        let (key, value, mut headers) = parts;
        headers.retain(|(name, _)| !OWN.contains(&name.as_str()));
        let mut original =
            Self { topic, at, proof, key, value: None, headers, decision: None, amount: None, problem: None };
        original.take_value(value, settings);
        original
    }

    /// Takes another value, and what it says.
    pub(crate) fn take_value(&mut self, value: Option<Vec<u8>>, settings: &Settings) {
        let says = match &value {
            None => Err("it has no value".to_owned()),
            Some(value) => self.says(value, settings),
        };
        let (transaction, problem) = match says {
            Ok(transaction) => (transaction, None),
            Err(problem) => (None, Some(problem)),
        };
        (self.decision, self.amount) = transaction.unzip();
        (self.value, self.problem) = (value, problem);
    }

    fn says(&self, value: &[u8], settings: &Settings) -> Result<Option<Said>, String> {
        let Topics { transactions, user_actions, events } = &settings.topics;
        let said = |problem: &dyn std::error::Error| problem.to_string();
        if self.topic == *transactions {
            let read = transaction_v1::parse_in(value, settings.default_currency).map_err(|problem| said(&problem))?;
            let amount = (read.amount.minor(), read.currency.as_str().to_owned());
            return Ok(Some((read.decision_id(), amount)));
        }
        if self.topic == *user_actions {
            user_action_v1::parse(value).map_err(|problem| said(&problem))?;
        } else if self.topic == *events {
            event_v1::parse(value).map_err(|problem| said(&problem))?;
        }
        Ok(None)
    }
}
