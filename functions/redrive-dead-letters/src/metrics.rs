//! What the function counts.

centinela_telemetry::counts! {
    /// What is counted per request.
    pub struct Counts {
        /// Letters that were meant.
        letters: always "Letters",
        /// Records sent back.
        sent: always "Redriven",
        /// Of these, verified.
        verified: "Verified",
        /// Records whose decision was found.
        found: "Found",
        /// Letters dropped.
        dropped: "Dropped",
        /// Letters that were left alone.
        left: "Left",
        /// Records that were not acknowledged.
        failed: "NotAcknowledged",
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
