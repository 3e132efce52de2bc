//! What the function counts.

use centinela_rollup::FoldReport;

centinela_telemetry::counts! {
    /// What is counted per invocation.
    pub struct Counts {
        /// Records that were delivered.
        records: always "Records",
        /// Decisions that were counted.
        counted: always "Counted",
        /// Messages that repeat a decision of their window.
        repeated: "Repeated",
        /// Messages without evidence.
        reduced: "Reduced",
        /// Records that are no decision, passed over.
        unreadable: "Unreadable",
        /// Roll-ups that were kept.
        windows: "Windows",
        /// Windows that ended before their time.
        early: "EarlyWindows",
    }
}

/// The figures of a batch.
pub fn of(report: &FoldReport) -> Counts {
    Counts {
        records: report.records as u64,
        counted: report.counted as u64,
        repeated: report.repeated as u64,
        reduced: report.reduced as u64,
        unreadable: report.unreadable as u64,
        ..Counts::default()
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
