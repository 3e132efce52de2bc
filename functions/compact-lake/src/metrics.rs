//! What the function counts.

centinela_telemetry::counts! {
    /// What is counted per run.
    pub struct Counts {
        /// Hours that were looked at.
        hours: always "Hours",
        /// Hours whose manifest is new.
        published: always "Published",
        /// Rows in new files.
        rows: always "Rows",
        /// New files.
        files: "Files",
        /// Their bytes.
        bytes: "Bytes",
        /// Raw objects that went into them.
        raw_objects: "RawObjects",
        /// Rows that were there more than once.
        repeated: "RepeatedRows",
        /// Rows of erased users.
        erased: "ErasedRows",
        /// Objects that nobody needed any more.
        deleted: "Deleted",
        /// Raw objects that cannot be read.
        unreadable: "UnreadableObjects",
        /// Hours that another run had changed.
        conflicts: "Conflicts",
        /// Hours that wait for something.
        incomplete: "IncompleteHours",
        /// Hours that failed.
        failed: "FailedHours",
        /// Hours for which there was no time.
        unfinished: "UnfinishedHours",
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
