//! What is sent: generated transactions or a file's, and the producer that sends them at their time.

mod columns;
mod container;
mod csv_rows;
pub mod input;
mod parquet_rows;
pub mod producer;
pub mod progress;

use std::path::Path;
use std::time::Duration;

use centinela_contracts::transaction_v1;
use centinela_domain::{Currency, DecisionId, InvalidTransaction, Transaction};
use centinela_traffic::{Event, Generator, Past, PastLimits, TrafficConfig};

use crate::args::{Key, Traffic};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::terminal;
use input::{Input, InputError, Rows, Rule};

/// A check that takes longer is announced.
const SILENCE: Duration = Duration::from_secs(2);

/// A record on its way to Kafka.
#[derive(Debug)]
pub struct Message {
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
            Err(_) => Self { key: None, value, decision_id: None, fraud },
        }
    }

    fn from_transaction(transaction: &Transaction, value: Vec<u8>, key: Key, fraud: Option<bool>) -> Self {
        let key = match key {
            Key::TransactionId => transaction.id.as_str(),
            Key::UserId => transaction.user_id.as_str(),
        };
        Self { key: Some(key.as_bytes().to_vec()), value, decision_id: Some(transaction.decision_id()), fraud }
    }
}

/// Where the records come from.
pub enum Source {
    /// The simulated world.
    Generated {
        generator: Box<Generator>,
        /// Keys of the records.
        key: Key,
        /// What is added to each transaction's id, for servers that remember the last run's.
        suffix: String,
    },
    /// A file.
    File(Box<Rows>),
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
            return Ok(Self::File(Box::new(rows)));
        }
        let config = TrafficConfig {
            users: traffic.users as usize,
            ..TrafficConfig::live(traffic.seed).shaped(traffic.shape.0)
        };
        Ok(Self::Generated { generator: Box::new(Generator::new(config)), key: traffic.key, suffix: String::new() })
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

    /// Adds a suffix to the ids of generated transactions: the same seed gives the same ones, and a server that is not started
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
    pub fn past(&mut self) -> Result<Option<Past>, InvalidTransaction> {
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
            Self::File(rows) => rows.next(),
            Self::Generated { generator, key, suffix } => {
                let transaction = generator.by_ref().find_map(|event| match event {
                    Event::Transaction(transaction) => Some(transaction),
                    Event::Action(_) | Event::Label(_) => None,
                });
                if transaction.is_none() {
                    terminal::note(
                        "the generated traffic ends: its world has reached the year 2100; more --users or a lower --rate last longer",
                    );
                }
                Ok(transaction.map(|mut transaction| {
                    if !suffix.is_empty() {
                        let marked = format!("{}{suffix}", transaction.fields.transaction_id);
                        transaction.fields.transaction_id = marked.into();
                    }
                    Message::from_value(transaction.fields.to_json(), *key, Some(transaction.is_fraud()))
                }))
            }
        }
    }

    /// Records that will come, where that is known.
    pub fn expected(&self) -> Option<u64> {
        match self {
            Self::Generated { .. } => None,
            Self::File(rows) => rows.expected(),
        }
    }
}
