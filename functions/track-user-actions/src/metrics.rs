//! What the function counts.

use centinela_delivery::Outcome;
use centinela_profile::TrackReport;
use centinela_telemetry::emf::Metrics;

centinela_telemetry::counts! {
    /// What is counted per batch.
    pub struct Counts {
        /// Records that were delivered.
        records: always "Records",
        /// Actions that are in their users' profiles now.
        actions: always "Actions",
        /// Profiles that were written.
        written: always "Written",
        /// Profiles that knew everything already.
        unchanged: always "Unchanged",
        /// Lost races for a profile.
        lost_races: "Conflicts",
        /// Records whose user's profile cannot be read.
        state_unreadable: "StateUnreadable",
        /// Records that can never be handled, dead-lettered.
        dead_lettered: "DeadLettered",
        /// Records to be delivered again.
        failed: "Failed",
    }
}

/// The figures of a batch.
pub fn of(outcome: &Outcome<TrackReport>) -> Metrics<Counts> {
    let report = outcome.report;
    let counts = Counts {
        records: outcome.records as u64,
        actions: report.actions as u64,
        written: report.written as u64,
        unchanged: report.unchanged as u64,
        lost_races: report.lost_races as u64,
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
