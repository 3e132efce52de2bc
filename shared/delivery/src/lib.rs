//! A Kafka batch's way through a function: records are decoded or dead-lettered, worked on by key and in order within a deadline, and
//! every one that is not handled is named in the answer, so that the mapping delivers it again.
//!
//! A function is a [`UseCase`]: how it reads a value, and what it does with the records that could be read; most need no more than a
//! [`Handler`]. [`Delivery`] does the rest. It does no I/O of its own, starts no tasks, and reads time only through the [`Clock`], so it
//! serves a function that was never meant for it, and a test without Lambda, Kafka or a clock:
//!
//! ```
//! use std::sync::Mutex;
//! use std::time::Duration;
//!
//! use centinela_contracts::{dead_letter_v1::DeadLetter, kafka_event::KafkaBatch, keyed::DeploymentKey};
//! use centinela_delivery::{Batch, Clock, Deadline, DeadLetters, Delivery, Handler, PublishError, Rejection, Settings};
//! use centinela_domain::Millis;
//!
//! /// Stock by article; an article that is locked cannot be changed now.
//! #[derive(Default)]
//! struct Stock(Mutex<std::collections::BTreeMap<String, i64>>);
//!
//! impl Handler for Stock {
//!     type Content = (String, i64);
//!
//!     fn decode(&self, value: &[u8]) -> Result<Self::Content, Rejection> {
//!         serde_json::from_slice(value).map_err(|error| Rejection::not_json(&error))
//!     }
//!
//!     async fn handle(&self, batch: &mut Batch<Self::Content>) {
//!         for (article, records) in batch.by_key(|(article, _)| article) {
//!             if article == "locked" {
//!                 batch.fail(records);
//!                 continue;
//!             }
//!             let change: i64 = records.iter().map(|&record| batch.records[record].content.1).sum();
//!             *self.0.lock().unwrap().entry(article).or_default() += change;
//!         }
//!     }
//! }
//!
//! /// What production gives to `centinela-adapters`: a topic of dead letters, and the machine's clock.
//! struct Outside;
//!
//! impl DeadLetters for Outside {
//!     async fn send(&self, records: &[DeadLetter], _deadline: Millis) -> Vec<Result<(), PublishError>> {
//!         records.iter().map(|letter| Ok(println!("dead-lettered: {}", letter.reason))).collect()
//!     }
//! }
//!
//! impl Clock for Outside {
//!     fn now(&self) -> Millis {
//!         Millis(1_795_867_200_000)
//!     }
//!     fn monotonic_us(&self) -> u64 {
//!         0
//!     }
//!     async fn pause(&self, _at_most: Duration) {}
//! }
//!
//! // As Lambda delivers it: `["bolts",5]`, `nonsense`, `["locked",1]` and `["bolts",-2]` of one partition.
//! let event = br#"{"eventSource": "aws:kafka", "records": {"stock-0": [
//!     {"topic": "stock", "partition": 0, "offset": 7, "timestamp": 1795867200000, "timestampType": "LOG_APPEND_TIME", "value": "WyJib2x0cyIsNV0="},
//!     {"topic": "stock", "partition": 0, "offset": 8, "timestamp": 1795867200001, "timestampType": "LOG_APPEND_TIME", "value": "bm9uc2Vuc2U="},
//!     {"topic": "stock", "partition": 0, "offset": 9, "timestamp": 1795867200002, "timestampType": "LOG_APPEND_TIME", "value": "WyJsb2NrZWQiLDFd"},
//!     {"topic": "stock", "partition": 0, "offset": 10, "timestamp": 1795867200003, "timestampType": "LOG_APPEND_TIME", "value": "WyJib2x0cyIsLTJd"}]}}"#;
//! let batch = KafkaBatch::parse(event)?;
//! let key = DeploymentKey::new(b"a secret of the deployment, of 32 bytes or more")?;
//! let (stock, delivery) = (Stock::default(), Delivery::new(Outside, Outside, Settings::new(key)));
//! let later = Millis(1_795_867_210_000);
//! let deadline = Deadline { work: later, answer: later };
//! let outcome = centinela_testkit::schedule::run(delivery.deliver(&stock, batch, deadline))?;
//!
//! assert_eq!(stock.0.lock().unwrap()["bolts"], 3);
//! assert_eq!(outcome.dead_lettered, 1);
//! // What the mapping is to deliver again.
//! assert_eq!(outcome.response.encode(), br#"{"batchItemFailures":[{"itemIdentifier":{"partition":"stock-0","offset":9}}]}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `centinela-function` puts a whole Lambda around it, in forty lines.

mod batch;
mod causes;
mod conditional;
mod dead_letters;
mod deliver;
mod handler;
mod intake;
mod ports;

pub use batch::{Batch, Deadline, Delivered, Groups, Position, Rounds, Slice};
pub use causes::Causes;
pub use conditional::{Commit, StoreError, Versioned, Write};
pub use deliver::{BatchError, Delivery, Outcome, Settings, UseCase};
pub use handler::Handler;
pub use intake::Rejection;
pub use ports::{Clock, DeadLetters, PublishError};
