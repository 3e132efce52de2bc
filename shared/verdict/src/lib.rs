//! The one judge of a run: what of it was lost, doubled or invented, and whose totals differ.
//!
//! The simulation, the bad-input tests and `centinela up` watch runs in different ways and judge them by these rules. It reads nothing
//! and keeps nothing; whoever watches keeps a [`Fate`] per transaction and [`Totals`] per user.

mod answer;
mod fate;
mod places;
mod profiles;
mod risks;
mod totals;

pub use answer::{Answer, Seal};
pub use fate::{Fate, Heard};
pub use places::{Found, Places, Spans, name_of};
pub use profiles::{ProfileFold, differing_profiles};
pub use risks::{LabelFold, Parties, Standing, differing_risks};
pub use totals::{Differences, Totals, compare};

/// What a run is judged by. It is clean when all of them are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Transactions that were neither decided nor dead-lettered.
    pub lost: u64,
    /// Records that the broker's retention deleted before they were delivered.
    pub lost_by_retention: u64,
    /// Transactions with two different decisions, or counted twice in their user's totals.
    pub doubled: u64,
    /// Decisions on transactions that nobody sent.
    pub invented: u64,
    /// Users whose stored totals differ from the sum over their transactions.
    pub users_differing: u64,
    /// Users whose stored profile differs from what their actions come to.
    pub profiles_differing: u64,
    /// Users and devices whose stored risk differs from the labels that stand.
    pub risks_differing: u64,
    /// Records that are neither in the lake nor dead-lettered.
    pub unarchived: u64,
    /// Rows of the lake about records that it has already.
    pub archived_twice: u64,
    /// Rows of the lake that are not what was on the topic.
    pub misarchived: u64,
    /// Decisions that are not in the index.
    pub unindexed: u64,
    /// Entries of the index that are not what was decided.
    pub misindexed: u64,
    /// Windows whose roll-up is missing or is not the fold of their decisions, and all of them together where they are not that of the
    /// topics.
    pub windows_differing: u64,
}

impl Verdict {
    /// What is wrong, in words; none of a clean run.
    pub fn fault(&self) -> Option<String> {
        let faults = [
            (self.lost, "lost"),
            (self.lost_by_retention, "lost by retention: deleted before they were delivered"),
            (self.doubled, "doubled"),
            (self.invented, "invented"),
            (self.users_differing, "users whose totals differ from their transactions"),
            (self.profiles_differing, "users whose profile differs from their actions"),
            (self.risks_differing, "users and devices whose risk differs from the labels"),
            (self.unarchived, "neither in the lake nor dead-lettered"),
            (self.archived_twice, "more than once in the lake"),
            (self.misarchived, "in the lake and not as on the topic"),
            (self.unindexed, "decided and not in the index"),
            (self.misindexed, "in the index and not as decided"),
            (self.windows_differing, "roll-ups that differ from the decisions of their windows"),
        ];
        let named: Vec<String> =
            faults.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
        if named.is_empty() { None } else { Some(named.join(", ")) }
    }
}
