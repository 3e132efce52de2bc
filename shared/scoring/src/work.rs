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
    /// Hash of the user's id.
    pub user: u32,
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
    let mut transaction = transaction_v1::parse_in(value, default)?;
    key.hide_guessable(&mut transaction);
    let decision_id = transaction.decision_id();
    Ok(Decoded {
        user: transaction.user_id.hash32(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_domain::Millis;

    const TRANSACTION: &[u8] = br#"{"version":1,"transaction_id":"t","timestamp":1795357920123,"user_id":"u","amount":"1.00","currency":"EUR","device_type":"mobile","device_id":"d","ip":"192.0.2.7","user_agent":"shop/1.0"}"#;

    fn decoded(secret: &[u8], value: &[u8]) -> Transaction {
        let key = DeploymentKey::new(secret).expect("a key");
        let source = Coordinates { partition: 0, offset: 0, timestamp: Millis(1_795_357_920_200) };
        decode(value, source, &key, Currency::DEFAULT).expect("a transaction").transaction
    }

    /// Anybody can hash the 16 million networks of IPv4 and the known browsers, so such a hash is the network and the browser.
    #[test]
    fn network_and_agent_are_told_apart_in_a_user_s_state_by_the_deployment_s_key_only() {
        let read = transaction_v1::parse(TRANSACTION).expect("a transaction");
        let (ours, theirs) = (decoded(b"a key of ours 123", TRANSACTION), decoded(b"a key of theirs 1", TRANSACTION));
        for (hash, ours, theirs) in
            [(read.network, ours.network, theirs.network), (read.agent, ours.agent, theirs.agent)]
        {
            assert!(hash != ours && hash != theirs && ours != theirs, "{hash} {ours} {theirs}");
        }
        let neighbour = String::from_utf8_lossy(TRANSACTION).replace("192.0.2.7", "192.0.2.8");
        let again = decoded(b"a key of ours 123", neighbour.as_bytes());
        assert_eq!((again.network, again.agent), (ours.network, ours.agent), "another address of the same network");
    }
}
