//! What the function counts.

use centinela_scoring::BatchReport;
use centinela_telemetry::emf::Metrics;

centinela_telemetry::counts! {
    /// What is counted per batch.
    pub struct Counts {
        /// New decisions, published.
        decided: always "Decided",
        /// Of these, approved.
        approved: always "Approved",
        /// Of these, blocked.
        blocked: always "Blocked",
        /// Of these, for review.
        review: "Review",
        /// Records that can never be decided, dead-lettered.
        dead_lettered: "Parked",
        /// Records answered from the user's remembered decisions.
        replayed: "Replayed",
        /// Of these, transactions that their producer sent again, at another offset.
        duplicates: "Duplicates",
        /// Records decided, published and committed long ago, skipped.
        stale: "Stale",
        /// Decisions on events far behind the user's newest one.
        late: "Late",
        /// Decisions made without an optional input.
        degraded: "Degraded",
        /// Records to be delivered again.
        failed: "Unsettled",
        /// Lost races for a user's item.
        lost_races: "Conflicts",
        /// Partitions that were delivered out of order.
        order_violations: "OrderTripwire",
        /// Notes about devices that were not written.
        device_notes_dropped: "DeviceNotesDropped",
        /// Decisions on events ahead of the broker's time.
        ahead: "Ahead",
        /// Decisions that follow the model's fallback, because it would have blocked more than its band allows.
        guarded: "Guarded",
        /// Transactions whose id their user has used before with other content, dead-lettered.
        reused_ids: "IdConflicts",
        /// Records whose user's item cannot be read.
        state_unreadable: "StateUnreadable",
        /// Pending-failure markers of records that turned out to be complete, taken off.
        markers_complete: "MarkersSettled",
        /// Pending-failure markers of records that the mapping has given up by their age, taken off.
        markers_retired: "MarkersRetired",
        /// Users refused because their ring is full of decisions that may be unpublished.
        full_rings: "FullRings",
        /// Committed marks that were not written; the next batch writes them.
        marks_dropped: "MarksDropped",
        /// Records in the batch.
        batch_records: always "BatchRecords",
    }
}

/// The figures of a batch.
pub fn of(report: BatchReport, decode_us: u64) -> Metrics<Counts> {
    let stages = report.stages;
    Metrics {
        counts: counts(&report),
        processing_ms: report.latencies_ms,
        stages: vec![
            ("decode_us", decode_us),
            ("read_us", stages.read_us),
            ("decide_us", stages.decide_us),
            ("commit_us", stages.commit_us),
            ("publish_us", stages.publish_us),
        ],
    }
}

fn counts(report: &BatchReport) -> Counts {
    Counts {
        decided: report.decided as u64,
        approved: report.approved as u64,
        blocked: report.blocked as u64,
        review: report.review as u64,
        dead_lettered: report.dead_lettered as u64,
        replayed: report.replayed as u64,
        duplicates: report.duplicates as u64,
        stale: report.stale as u64,
        late: report.late as u64,
        ahead: report.ahead as u64,
        guarded: report.guarded as u64,
        degraded: report.degraded as u64,
        failed: report.failed as u64,
        lost_races: report.conflicts as u64,
        order_violations: report.order_violations as u64,
        reused_ids: report.id_conflicts as u64,
        state_unreadable: report.state_unreadable as u64,
        markers_complete: report.markers_complete as u64,
        markers_retired: report.markers_retired as u64,
        full_rings: report.full_rings as u64,
        marks_dropped: report.marks_dropped as u64,
        device_notes_dropped: report.device_notes_dropped as u64,
        batch_records: report.records as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_infra::Infrastructure;
    use centinela_telemetry::emf::{Counts as _, Invocation, OF_THE_CHASSIS, line};

    #[test]
    fn every_alarm_on_this_function_watches_a_metric_that_it_sends() {
        let stacks = Infrastructure::bundled("prod").unwrap();
        let watched = stacks.watched_metrics(env!("CARGO_PKG_NAME"));
        assert!(watched.contains("Decided"), "{watched:?}");
        let is_sent = |name: &&str| OF_THE_CHASSIS.contains(name) || Counts::NAMES.contains(name);
        let unsent: Vec<_> = watched.iter().filter(|name| !is_sent(name)).collect();
        assert!(unsent.is_empty(), "{unsent:?} are watched and never sent");
    }

    #[test]
    fn the_line_of_a_batch_is_what_its_readers_know() {
        let mut report = BatchReport { records: 3, decided: 2, approved: 1, blocked: 1, ..BatchReport::default() };
        (report.conflicts, report.latencies_ms) = (4, vec![5, 9]);
        let invocation = Invocation {
            function: "score-transactions",
            request_id: "r",
            at_ms: 7,
            total_us: 9,
            init_us: Some(8),
            oldest_record_ms: Some(1_009),
        };
        assert_eq!(
            line(&invocation, &of(report, 1)),
            r#"{"_aws":{"Timestamp":7,"CloudWatchMetrics":[{"Namespace":"Centinela","Dimensions":[["Function"]],"Metrics":[{"Name":"Decided","Unit":"Count"},{"Name":"Approved","Unit":"Count"},{"Name":"Blocked","Unit":"Count"},{"Name":"Conflicts","Unit":"Count"},{"Name":"BatchRecords","Unit":"Count"},{"Name":"ProcessingMilliseconds","Unit":"Milliseconds"},{"Name":"OldestRecordMilliseconds","Unit":"Milliseconds"}]}]},"Function":"score-transactions","Decided":2,"Approved":1,"Blocked":1,"Conflicts":4,"BatchRecords":3,"ProcessingMilliseconds":[5, 9],"OldestRecordMilliseconds":1009,"request_id":"r","cold":true,"init_us":8,"decode_us":1,"read_us":0,"decide_us":0,"commit_us":0,"publish_us":0,"total_us":9}"#
        );
    }
}
