//! What the function counts.

use centinela_api::{Handled, Operation};
use centinela_telemetry::emf::Metrics;

centinela_telemetry::counts! {
    /// What is counted per request.
    pub struct Counts {
        /// Requests.
        requests: always "Requests",
        /// Of these, answered with a problem of the caller's.
        refused: "Refused",
        /// Of these, answered with a problem of ours.
        failed: always "Failed",
        /// Decisions that callers waited for, answered in time.
        decided: "DecidedInTime",
        /// Decisions that callers waited for, not answered in time.
        pending: "DecisionsPending",
        /// Ids that came again with another content.
        reused: "IdConflicts",
        /// Records that Kafka has confirmed.
        accepted: "AcceptedRecords",
    }
}

/// The figures of a request. Only what a caller waits for a decision counts as processing.
pub fn of(handled: &Handled, elapsed_us: u64) -> Metrics<Counts> {
    let status = handled.response.status;
    let counts = Counts {
        requests: 1,
        refused: u64::from((400..500).contains(&status)),
        failed: u64::from(status >= 500),
        decided: handled.done.decided as u64,
        pending: handled.done.pending as u64,
        reused: u64::from(status == 409),
        accepted: handled.done.accepted as u64,
    };
    let waited = handled.operation == Some(Operation::Decide) && status < 300;
    let processing_ms = waited.then(|| u32::try_from(elapsed_us / 1000).unwrap_or(u32::MAX)).into_iter().collect();
    Metrics { counts, processing_ms, ..Metrics::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_infra::Infrastructure;
    use centinela_telemetry::emf::{Counts as _, OF_THE_CHASSIS};

    #[test]
    fn every_alarm_on_this_function_watches_a_metric_that_it_sends() {
        let stacks = Infrastructure::bundled("prod").unwrap();
        let watched = stacks.watched_metrics(env!("CARGO_PKG_NAME"));
        assert!(watched.contains("Failed"), "{watched:?}");
        assert!(
            watched.iter().all(|name| OF_THE_CHASSIS.contains(name) || Counts::NAMES.contains(name)),
            "{watched:?} are not all sent"
        );
    }
}
