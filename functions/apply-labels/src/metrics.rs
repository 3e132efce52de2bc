//! What the function counts.

use centinela_delivery::Outcome;
use centinela_labels::LabelReport;
use centinela_telemetry::emf::Metrics;

centinela_telemetry::counts! {
    /// What is counted per batch.
    pub struct Counts {
        /// Records that were delivered.
        records: always "Records",
        /// Labels that were written.
        applied: always "Applied",
        /// Of these, in the place of an earlier one.
        corrected: "Corrected",
        /// Labels that changed nothing: redelivered ones, and those that a later one stands above.
        unchanged: always "Unchanged",
        /// Events that are no labels.
        others: "OtherEvents",
        /// Labels that were planned again because somebody else wrote first.
        lost_races: "Conflicts",
        /// Labels without a user or a device, dead-lettered.
        incomplete: "IncompleteLabels",
        /// Labels of which a stored item cannot be read.
        state_unreadable: "StateUnreadable",
        /// Records that can never be handled, dead-lettered.
        dead_lettered: "DeadLettered",
        /// Records to be delivered again.
        failed: "Failed",
    }
}

/// The figures of a batch.
pub fn of(outcome: &Outcome<LabelReport>) -> Metrics<Counts> {
    let report = outcome.report;
    let counts = Counts {
        records: outcome.records as u64,
        applied: report.applied as u64,
        corrected: report.corrected as u64,
        unchanged: report.unchanged as u64,
        others: report.others as u64,
        lost_races: report.lost_races as u64,
        incomplete: report.incomplete as u64,
        state_unreadable: report.unreadable as u64,
        dead_lettered: outcome.dead_lettered as u64,
        failed: outcome.response.failures.len() as u64,
    };
    Metrics { counts, ..Metrics::default() }
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
        assert!(watched.contains("StateUnreadable"), "{watched:?}");
        assert!(
            watched.iter().all(|name| OF_THE_CHASSIS.contains(name) || Counts::NAMES.contains(name)),
            "{watched:?} are not all sent"
        );
    }
}
