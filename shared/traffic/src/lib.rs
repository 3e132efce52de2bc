//! A seeded world of customers, merchants and fraudsters, and the features that its history gives.
//!
//! Beside transactions it has what users do, and what becomes known later, from the same truth.
//!
//! For training ([`TrafficConfig::history`] through [`FeatureFold`]) and for live traffic ([`TrafficConfig::live`], with a [`Past`]
//! or without). Pure: no clock, no files; the same seed gives the same bytes on every machine. It is a simulation: a model's figures on it say that the
//! machinery works, not how much real fraud would be found.

mod actions;
mod chance;
mod fold;
mod fraud;
mod generator;
mod labels;
mod matrix;
mod past;
mod profile;
mod resends;
mod shape;
mod transaction;
mod world;

pub use actions::{ActionFields, ActionKind, Person, SentAction};
pub use fold::{ALLOWED_LATENESS_MS, FeatureFold, Row, States};
pub use generator::{DEFAULT_START, Generator, TrafficConfig};
pub use labels::{Label, LabelKind, Labels};
pub use matrix::{MatrixWriter, Truth};
pub use past::{Past, PastLimits};
pub use profile::Profile;
pub use resends::RESENT_WITHIN;
pub use shape::Shape;
pub use transaction::{Event, Kind, LabelledTransaction, TransactionFields};
