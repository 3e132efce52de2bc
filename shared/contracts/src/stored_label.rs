//! An item of table `labels`: the label that stands of a transaction, so that a redelivered one changes nothing and a later one applies
//! the difference. Its key is the decision's id in hex.
//!
//! Attribute `o` orders a transaction's labels as [`Label`] does, byte by byte: eight bytes of time, one of the verdict, the event's id.

use centinela_domain::risk::{Label, Verdict};
use centinela_domain::transaction::event_time;
use centinela_domain::{DecisionId, EventId};

pub use crate::binary::StoredProblem;

const TIME_BYTES: usize = 8;

/// The item's key, attribute `pk`.
pub fn key(decision: DecisionId) -> String {
    decision.to_string()
}

/// Attribute `o` of the item. Of two labels the greater has the greater bytes.
pub fn encode_order(label: &Label) -> Vec<u8> {
    let id = label.event_id.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(TIME_BYTES + 1 + id.len());
    // Event times are after 1970, so the sign's bit is never set.
    bytes.extend_from_slice(&label.at.0.to_be_bytes());
    bytes.push(label.verdict as u8);
    bytes.extend_from_slice(id);
    bytes
}

/// Reads attribute `o`.
pub fn decode_order(bytes: &[u8]) -> Result<Label, StoredProblem> {
    let (time, rest) = bytes.split_first_chunk::<TIME_BYTES>().ok_or(StoredProblem::Truncated)?;
    let (&verdict, id) = rest.split_first().ok_or(StoredProblem::Truncated)?;
    let at = event_time(i64::from_be_bytes(*time)).map_err(|_| StoredProblem::Invalid("label's time"))?;
    let verdict = Verdict::ALL.get(usize::from(verdict)).copied().ok_or(StoredProblem::Invalid("label's verdict"))?;
    let id = std::str::from_utf8(id).map_err(|_| StoredProblem::Invalid("label's event id"))?;
    let event_id = EventId::new("event_id", id).map_err(|_| StoredProblem::Invalid("label's event id"))?;
    Ok(Label { at, verdict, event_id })
}
