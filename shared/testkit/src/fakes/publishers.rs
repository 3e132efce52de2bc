//! Topics, stream and dead letters in memory.

use centinela_contracts::dead_letter_v1::DeadLetter;
use centinela_delivery::{DeadLetters, PublishError};
use centinela_domain::Millis;
use centinela_scoring::ports::{DecisionPublisher, Outgoing};

use super::{Fakes, failure};
use crate::schedule::yield_once;

impl Fakes {
    async fn publish(&self, decisions: &[Outgoing], to_topics: bool) -> Vec<Result<(), PublishError>> {
        yield_once().await;
        let mut results = Vec::new();
        for decision in decisions {
            yield_once().await;
            let mut shared = self.shared();
            let faults = shared.faults;
            let probability = if to_topics { faults.topic_failed } else { faults.stream_failed };
            if shared.outage || shared.chance(probability) {
                results.push(Err(PublishError::Unacknowledged(failure())));
                continue;
            }
            let digest = decision.decision_id.digest();
            if !shared.entered.values().any(|entered| entered.iter().any(|entered| entered.digest == digest)) {
                shared.uncommitted.push(decision.decision_id);
            }
            if to_topics {
                shared.on_topics.push(decision.clone());
            } else {
                shared.on_stream.push(decision.clone());
            }
            results.push(Ok(()));
        }
        yield_once().await;
        results
    }
}

/// The decision topics.
#[derive(Clone, Debug)]
pub struct Topics(pub(super) Fakes);

/// The decision stream.
#[derive(Clone, Debug)]
pub struct Stream(pub(super) Fakes);

impl DecisionPublisher for Topics {
    async fn publish(&self, decisions: &[Outgoing], _deadline: Millis) -> Vec<Result<(), PublishError>> {
        self.0.publish(decisions, true).await
    }
}

impl DecisionPublisher for Stream {
    async fn publish(&self, decisions: &[Outgoing], _deadline: Millis) -> Vec<Result<(), PublishError>> {
        self.0.publish(decisions, false).await
    }
}

impl DeadLetters for Fakes {
    async fn send(&self, records: &[DeadLetter], _deadline: Millis) -> Vec<Result<(), PublishError>> {
        let mut results = Vec::new();
        for record in records {
            yield_once().await;
            let mut shared = self.shared();
            let faults = shared.faults;
            results.push(if shared.chance(faults.dead_letter_failed) {
                Err(PublishError::Unacknowledged(failure()))
            } else {
                shared.dead_letters.push(record.clone());
                Ok(())
            });
        }
        results
    }
}
