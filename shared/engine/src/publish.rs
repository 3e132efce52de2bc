//! What of a user's part of a batch must be published.

use centinela_contracts::decision_v1;
use centinela_domain::ledger::Settled;

use crate::intake::Work;
use crate::plan::{Draft, Reply};
use crate::ports::Outgoing;

/// The decision that answers the record, if it may be unpublished: byte for byte the same every time. None when the record's
/// decision is proved published, or when there is nothing to say.
pub(crate) fn outgoing(draft: &Draft, work: &Work, reply: Reply, settled: &Settled) -> Option<Outgoing> {
    if matches!(reply, Reply::Stale | Reply::Undecidable) {
        return None;
    }
    let entry = draft.item.ledger.find(work.digest)?;
    let payload = match &entry.decision {
        Some(decision) => {
            let proved = !work.redriven() && entry.coordinates.iter().all(|&at| settled.covers(at));
            if proved {
                return None;
            }
            decision_v1::encode(decision)
        }
        // The mapping gave the record up, so the order of the source proves nothing about it.
        None if work.redriven() => decision_v1::encode_reduced(
            work.decision_id,
            &work.transaction.id,
            &work.transaction.user_id,
            entry.outcome,
            entry.score,
        ),
        None => return None,
    };
    Some(Outgoing {
        outcome: entry.outcome,
        transaction_id: work.transaction.id.clone(),
        decision_id: work.decision_id,
        payload,
    })
}
