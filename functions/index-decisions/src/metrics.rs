//! What the function counts.

use centinela_lookup::IndexReport;

centinela_telemetry::counts! {
    /// What is counted per batch.
    pub struct Counts {
        /// Records that were delivered.
        records: always "Records",
        /// Decisions that were written.
        indexed: always "Indexed",
        /// Decisions that were in the index already.
        unchanged: always "Unchanged",
        /// Messages without evidence.
        reduced: "Reduced",
        /// Decisions too old to be looked up.
        expired: "Expired",
        /// Records that are no decision, passed over.
        unreadable: "Unreadable",
        /// Items that mean nothing to this release.
        state_unreadable: "StateUnreadable",
        /// Items that were there already.
        lost_races: "Conflicts",
        /// Batches of which a part is to be delivered again.
        partial: "Partial",
    }
}

/// The figures of a batch.
pub fn of(report: &IndexReport, is_partial: bool) -> Counts {
    Counts {
        records: report.records as u64,
        indexed: report.indexed as u64,
        unchanged: report.unchanged as u64,
        reduced: report.reduced as u64,
        expired: report.expired as u64,
        unreadable: report.unreadable as u64,
        state_unreadable: report.state_unreadable as u64,
        lost_races: report.lost_races as u64,
        partial: u64::from(is_partial),
    }
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
        assert!(watched.contains("Unreadable"), "{watched:?}");
        assert!(
            watched.iter().all(|name| OF_THE_CHASSIS.contains(name) || Counts::NAMES.contains(name)),
            "{watched:?} are not all sent"
        );
    }
}
