//! What of a remembered decision must be published.

use centinela_contracts::decision_v1;
use centinela_domain::Entry;
use centinela_domain::ledger::CommittedMarks;

use crate::ports::Outgoing;
use crate::work::Work;

/// The decision that answers a record that the ring knew, if it may be unpublished: byte for byte the same every time. None when
/// it is proved published; a decision that was made just now never is, and goes out by [`again`].
pub(crate) fn outgoing(entry: &Entry, work: &Work, committed: &CommittedMarks) -> Option<Outgoing> {
    let payload = match &entry.decision {
        Some(_) if !work.is_redriven() && entry.coordinates.iter().all(|&at| committed.covers(at)) => return None,
        Some(decision) => decision_v1::encode(decision),
        // The mapping gave the record up, so the order of the source proves nothing about it.
        None if work.is_redriven() => decision_v1::encode_reduced(
            work.content.decision_id,
            &work.content.transaction.id,
            &work.content.transaction.user_id,
            entry.outcome,
            entry.score,
        ),
        None => return None,
    };
    Some(Outgoing {
        outcome: entry.outcome,
        transaction_id: work.content.transaction.id.clone(),
        partition: work.source.partition,
        decision_id: work.content.decision_id,
        payload,
    })
}

/// The whole decision of an entry on a record in this partition, to be published; none when the entry was shrunk, because then it is proved
/// published.
pub(crate) fn again(entry: &Entry, partition: u32) -> Option<Outgoing> {
    let decision = entry.decision.as_deref()?;
    Some(Outgoing {
        outcome: entry.outcome,
        transaction_id: decision.transaction_id.clone(),
        partition,
        decision_id: decision.decision_id,
        payload: decision_v1::encode(decision),
    })
}
