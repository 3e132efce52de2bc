//! What the function counts.

centinela_telemetry::counts! {
    /// What is counted per batch.
    pub struct Counts {
        /// Records that were delivered.
        records: always "Records",
        /// Rows that were put into the lake.
        rows: always "Rows",
        /// Objects that hold them.
        objects: always "Objects",
        /// Bytes of the objects.
        bytes: "Bytes",
        /// Rows that have a problem instead of columns.
        unreadable: "Unreadable",
        /// Records without an offset, which have no place in a table.
        unplaced: "Unplaced",
        /// Records to be delivered again.
        failed: "Failed",
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
        assert!(
            watched.iter().all(|name| OF_THE_CHASSIS.contains(name) || Counts::NAMES.contains(name)),
            "{watched:?} are not all sent"
        );
    }
}
