//! What happened in a run, to see that the faults were there.

use centinela_scoring::BatchReport;

macro_rules! counts {
    ($($(#[$doc:meta])* $field:ident => $name:literal;)*) => {
        /// How often each thing happened.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct Happened { $($(#[$doc])* pub $field: usize,)* }

        impl Happened {
            /// Every count with its name.
            pub fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
                [$(($name, self.$field),)*].into_iter()
            }

            /// Adds another run's.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

counts! {
    /// Batches handled to their end.
    answered => "answered batches";
    /// New decisions, reported as published.
    decided => "decisions";
    /// Invocations dropped at an await.
    crashed => "crashes";
    /// Environments replaced by fresh ones.
    restarted => "restarts";
    /// Records reported as batch item failures.
    failed => "failed records";
    /// Records answered from the ring.
    replayed => "replays";
    /// Records below a floor.
    stale => "stale records";
    /// Lost races.
    conflicts => "lost races";
    /// Batches that started above a pending-failure marker of which nothing was known.
    tripped => "ordering violations";
    /// Pending-failure markers that were cleared by asking the user's ring.
    markers_cleared => "markers cleared by asking";
    /// Pending-failure markers of records that the mapping had given up.
    markers_retired => "markers retired";
    /// The same bytes published again.
    republished => "republications";
    /// Records that the mapping gave up.
    given_up => "records given up";
    /// Records driven again.
    redriven => "records redriven";
    /// Of these, verified: no decision was found.
    verified => "verified records";
    /// Records whose decision was found.
    found => "decisions that were found";
    /// Verified ones that their users' totals had counted before, without a decision that was ever published.
    recounted => "transactions counted again";
    /// Records dead-lettered because nobody could tell any more.
    undecidable => "undecidable records";
    /// Deliveries of a user whose item could not be read.
    unreadable => "unreadable items";
    /// Records under a used id.
    id_conflicts => "used ids";
    /// Events from the future.
    ahead => "events from the future";
    /// Decisions by the model's fallback.
    guarded => "guarded decisions";
    /// Rings that were full.
    full_rings => "full rings";
    /// Partitions that were recreated.
    recreated => "recreated partitions";
}

impl Happened {
    /// Counts what a batch's answer says.
    pub(super) fn count(&mut self, report: &BatchReport) {
        self.answered += 1;
        self.decided += report.decided;
        self.failed += report.failed;
        self.replayed += report.replayed;
        self.stale += report.stale;
        self.conflicts += report.conflicts;
        self.tripped += report.order_violations;
        self.markers_cleared += report.markers_complete;
        self.markers_retired += report.markers_retired;
        self.unreadable += report.state_unreadable;
        self.id_conflicts += report.id_conflicts;
        self.ahead += report.ahead;
        self.guarded += report.guarded;
        self.full_rings += report.full_rings;
    }
}
