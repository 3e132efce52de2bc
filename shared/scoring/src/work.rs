//! A record of the batch that is a transaction.

use centinela_contracts::keyed::DeploymentKey;
use centinela_contracts::transaction_v1;
use centinela_delivery::{Delivered, Rejection};
use centinela_domain::{
    ContentDigest, Coordinates, Currency, DecisionId, EventTime, Ledger, Transaction, TransactionDigest,
};

/// A transaction to decide.
pub type Work = Delivered<Decoded>;

/// What a record says.
#[derive(Debug)]
pub struct Decoded {
    pub transaction: Transaction,
    /// The time that its features and the user's state go by.
    pub time: EventTime,
    pub decision_id: DecisionId,
    pub digest: TransactionDigest,
    pub content_digest: ContentDigest,
}

/// Reads a record's value.
pub(crate) fn decode(
    value: &[u8],
    source: Coordinates,
    key: &DeploymentKey,
    default: Currency,
) -> Result<Decoded, Rejection> {
    let transaction = transaction_v1::parse_in(value, default)?;
    let decision_id = transaction.decision_id();
    Ok(Decoded {
        time: transaction.event_time(source.timestamp),
        decision_id,
        digest: decision_id.digest(),
        content_digest: key.content_digest(&transaction),
        transaction,
    })
}

/// Whether it is proved that the record was not decided: no decision on it was published by whoever handled what stands before the mark,
/// and none that stands behind the mark has left the ring.
pub(crate) fn is_verified(work: &Work, ledger: &Ledger) -> bool {
    work.verified.is_some_and(|from| {
        from.partition == work.at.partition && from.offset <= work.at.offset && !ledger.may_have_evicted_since(from)
    })
}
