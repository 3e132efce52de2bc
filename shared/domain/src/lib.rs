//! The rules of a fraud decision: transactions, what is remembered about users and devices, features, policy and the ledger
//! that makes a decision happen once.
//!
//! Pure on purpose: no I/O, no clock, no randomness, no serialisation. The same inputs give the same decision, bit for bit, on
//! every processor. Time enters only as the event's or the broker's time.

mod decay;
pub mod decision;
pub mod device;
pub mod features;
pub mod guard;
pub mod identity;
pub mod ledger;
pub mod money;
pub mod policy;
pub mod profile;
pub mod risk;
pub mod rollup;
pub mod transaction;
pub mod user;

pub use decision::{Decision, MissingInputs, ModelStamp, Outcome, Reason, ReasonCode};
pub use device::DeviceState;
pub use features::{FEATURES, FeatureVector, RecordedFeatures};
pub use guard::{Band, Fallback, Guard};
pub use identity::{
    ContentDigest, DecisionId, DeviceId, EventId, MerchantId, TransactionDigest, TransactionId, UserId,
};
pub use ledger::{Coordinates, Entry, Ledger, Mark};
pub use money::{AmountMinor, Currency};
pub use policy::Policy;
pub use profile::Profile;
pub use risk::Risk;
pub use rollup::Rollup;
pub use transaction::{DeviceType, EventTime, InvalidTransaction, Millis, Transaction};
pub use user::UserState;
