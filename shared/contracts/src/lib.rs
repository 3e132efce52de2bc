//! Contracts: every byte layout that leaves or enters a process, versioned, as typed values that are valid by construction.
//!
//! Reading never panics and never allocates by a length that was not checked against the input's own size; what cannot be
//! read is a typed problem whose text a person understands and which never repeats personal data. Nothing here decides
//! anything: rules live in `centinela-domain`.

pub mod batch_response;
mod binary;
pub mod dead_letter_v1;
pub mod decision_v1;
pub mod event_v1;
mod excerpt;
pub mod failure_record;
pub mod json;
pub mod kafka_event;
pub mod keyed;
pub mod payload;
mod rfc3339;
pub mod stored_decision;
pub mod stored_device;
pub mod stored_label;
pub mod stored_partition;
pub mod stored_profile;
pub mod stored_risk;
pub mod stored_rollup;
pub mod stored_user;
pub mod transaction_v1;
pub mod user_action_v1;
pub mod window_state;

pub use excerpt::Excerpt;
