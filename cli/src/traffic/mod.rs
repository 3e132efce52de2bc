//! What is sent: generated transactions or a file's, and the producer that sends them at their time.

pub mod api;
mod columns;
mod container;
mod csv_rows;
mod deliveries;
mod file;
pub mod input;
pub mod latency;
mod parquet_rows;
pub mod producer;
pub mod progress;
pub mod topics;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use centinela_contracts::payload::PayloadProblem;
use centinela_contracts::transaction_v1;
use centinela_domain::{Currency, DecisionId, Transaction};
use centinela_traffic::{Event, Generator, Labels, Past, PastLimits, Profile, TrafficConfig};

use crate::args::{ACTIONS_DEFAULT, Key, LABELS_DEFAULT, Traffic};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::terminal;
use file::{File, Truth};
use input::{Input, InputError, Rule};

/// A check that takes longer is announced.
const SILENCE: Duration = Duration::from_secs(2);

/// What producers send, each to its own topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Transactions, which have a rate.
    Transactions,
    /// What users do besides; sent between transactions as it comes.
    Actions,
    /// What becomes known of transactions; sent between them as it comes.
    Labels,
}

impl Stream {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Transactions, Self::Actions, Self::Labels];
    /// Those that come between transactions.
    pub const BESIDE: [Self; 2] = [Self::Actions, Self::Labels];

    /// In words, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Transactions => "transactions",
            Self::Actions => "user actions",
            Self::Labels => "labels",
        }
    }
}

/// A record on its way to Kafka.
#[derive(Debug)]
pub struct Message {
    /// Where it goes.
    pub stream: Stream,
    /// Its key; none for what is no transaction.
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// The decision that it must lead to; none for what is no transaction.
    pub decision_id: Option<DecisionId>,
    /// The truth, where the input knows it.
    pub fraud: Option<bool>,
}

impl Message {
    /// A record from bytes that may or may not be a transaction.
    fn from_value(value: Vec<u8>, key: Key, fraud: Option<bool>) -> Self {
        match transaction_v1::parse(&value) {
            Ok(transaction) => Self::from_transaction(&transaction, value, key, fraud),
            Err(_) => Self { stream: Stream::Transactions, key: None, value, decision_id: None, fraud },
        }
    }

    fn from_transaction(transaction: &Transaction, value: Vec<u8>, key: Key, fraud: Option<bool>) -> Self {
        let key = match key {
            Key::TransactionId => transaction.id.as_str(),
            Key::UserId => transaction.user_id.as_str(),
        };
        let (key, decision_id) = (Some(key.as_bytes().to_vec()), Some(transaction.decision_id()));
        Self { stream: Stream::Transactions, key, value, decision_id, fraud }
    }

    /// A record that comes between transactions, keyed by its user.
    fn beside(stream: Stream, user_id: &str, value: Vec<u8>) -> Self {
        Self { stream, key: Some(user_id.as_bytes().to_vec()), value, decision_id: None, fraud: None }
    }
}

/// Where the records come from.
pub enum Source {
    /// The simulated world.
    Generated {
        generator: Box<Generator>,
        /// Keys of the records.
        key: Key,
        /// What is added to each id, for servers that remember the last run's.
        suffix: String,
        /// What is not sent, by the number of its stream.
        left_out: [bool; Stream::ALL.len()],
        /// Who sends it.
        profile: Profile,
    },
    /// A file.
    File(Box<File>),
}

impl Source {
    /// Opens what was asked for. A file that cannot be read, or that holds something else than transactions, is refused here,
    /// before anything is started. Reads the whole file.
    ///
    /// # Errors
    /// See [`InputError`].
    pub fn open(traffic: &Traffic, default_currency: Currency) -> Result<Self, InputError> {
        if let Some(path) = &traffic.input {
            let input = Input { key: traffic.key, limit: traffic.limit, default_currency };
            let rows = if traffic.unchecked { input.open(path, Rule::Anything)? } else { input.open_checked(path)? };
            if traffic.labels_after.is_some() && !rows.is_labelled() {
                return Err(InputError::NoLabels { path: path.clone() });
            }
            let truth = Truth { labels_after: traffic.labels_after, measured_after: traffic.measure_after };
            return Ok(Self::File(Box::new(File::new(rows, truth, default_currency))));
        }
        let config = TrafficConfig {
            users: traffic.users as usize,
            actions: traffic.actions.unwrap_or(ACTIONS_DEFAULT),
            ..TrafficConfig::live(traffic.seed).shaped(traffic.shape.0)
        };
        let labels = Labels::of_share(traffic.labels.unwrap_or(LABELS_DEFAULT), config.fraud_share);
        let generator = Box::new(Generator::new(TrafficConfig { labels, ..config }));
        let (key, suffix, left_out) = (traffic.key, String::new(), [false; Stream::ALL.len()]);
        Ok(Self::Generated { generator, key, suffix, left_out, profile: Profile::Mixed })
    }

    /// The same, until somebody interrupts it: a large file takes a while.
    ///
    /// # Errors
    /// When the file is refused, or on an interrupt.
    pub async fn open_unless(
        traffic: &Traffic,
        default_currency: Currency,
        interrupt: &Interrupt,
    ) -> Result<Self, Failure> {
        let (traffic, checked) = (traffic.clone(), traffic.input.clone());
        let mut opening = tokio::task::spawn_blocking(move || Self::open(&traffic, default_currency));
        let mut silent = true;
        loop {
            tokio::select! {
                opened = &mut opening => {
                    return opened.map_err(|error| Failure::failed(&error))?.map_err(|error| Failure::usage(&error));
                }
                () = interrupt.finish.cancelled() => return Err(Failure::Interrupted),
                () = tokio::time::sleep(SILENCE), if silent => {
                    silent = false;
                    let path = checked.as_deref().unwrap_or(Path::new("")).display();
                    terminal::note(&format!("checking every row of {path} before anything is sent"));
                }
            }
        }
    }

    /// Sends nothing to this stream: there is no topic for it.
    pub fn leave_out(&mut self, stream: Stream) {
        if let Self::Generated { left_out, .. } = self {
            left_out[stream as usize] = true;
        }
    }

    /// Sends what this producer sees of the generated world.
    pub fn seen_by(&mut self, seen_by: Profile) {
        if let Self::Generated { profile, .. } = self {
            *profile = seen_by;
        }
    }

    /// Adds a suffix to the ids of generated transactions, actions and labels: the same seed gives the same ones, and a server that is not started
    /// anew knows them already. A file is sent as it is.
    pub fn mark(&mut self, mark: &str) {
        if let Self::Generated { suffix, .. } = self {
            *suffix = format!("-{mark}");
        }
    }

    /// Lets the simulated world live through its past; a file has none.
    ///
    /// # Errors
    /// When the world makes what is no transaction.
    pub fn past(&mut self) -> Result<Option<Past>, PayloadProblem> {
        match self {
            Self::Generated { generator, .. } => Past::live_through(generator, PastLimits::DEFAULT).map(Some),
            Self::File(_) => Ok(None),
        }
    }

    /// The next record; none at the end of a file.
    ///
    /// # Errors
    /// When the file cannot be read on.
    pub fn next(&mut self) -> Result<Option<Message>, InputError> {
        match self {
            Self::File(file) => file.next(),
            Self::Generated { generator, key, suffix, left_out, profile } => {
                let mut events = generator.by_ref().map(|mut event| {
                    profile.dress(&mut event);
                    message(event, *key, suffix)
                });
                let message = events.find(|message| !left_out[message.stream as usize]);
                if message.is_none() {
                    terminal::note(
                        "the generated traffic ends: its world has reached the year 2100; more --users or a lower --rate last longer",
                    );
                }
                Ok(message)
            }
        }
    }

    /// Records that will come, where that is known.
    pub fn expected(&self) -> Option<u64> {
        match self {
            Self::Generated { .. } => None,
            Self::File(file) => file.expected(),
        }
    }
}

/// An event of the simulated world as it goes onto its topic.
fn message(event: Event, key: Key, suffix: &str) -> Message {
    let marked = |id: &mut Arc<str>| {
        if !suffix.is_empty() {
            *id = format!("{id}{suffix}").into();
        }
    };
    match event {
        Event::Transaction(mut sent) => {
            marked(&mut sent.fields.transaction_id);
            Message::from_value(sent.fields.to_json(), key, Some(sent.is_fraud()))
        }
        Event::Action(mut sent) => {
            marked(&mut sent.fields.action_id);
            Message::beside(Stream::Actions, &sent.fields.user_id, sent.fields.to_json())
        }
        Event::Label(mut label) => {
            marked(&mut label.event_id);
            marked(&mut label.transaction_id);
            Message::beside(Stream::Labels, &label.user_id, label.to_json())
        }
    }
}
