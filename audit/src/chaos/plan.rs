//! When the faults happen that take a while: a plan from a seed.
//!
//! Each has its own part of the run, so that their effects can be told apart, at a moment that the seed chooses.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::kinds::{Kind, Kinds};

/// Partitions that are added.
pub const PARTITIONS_ADDED: usize = 2;
/// Kafka is frozen for this long at most; its clients have given their requests up by then and ask again.
const FROZEN_MAX: Duration = Duration::from_secs(20);
/// Beyond twice the function's timeout.
const OUTAGE_EXTRA: Duration = Duration::from_secs(1);

/// Something to do to the platform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    /// Kill one process that is busy, or all.
    Kill {
        /// All of them.
        all: bool,
    },
    /// Freeze a busy process; for good, or for a while.
    Freeze {
        /// For how long; none is until the timeout.
        lasts: Option<Duration>,
    },
    /// Leave a partition alone.
    Pause {
        /// Chooses the partition.
        pick: u64,
        /// For how long.
        lasts: Duration,
    },
    /// One decision topic refuses.
    Publisher {
        /// Whether it is the topic of blocked ones.
        blocked: bool,
        /// For how long.
        lasts: Duration,
    },
    /// Both refuse.
    Outage {
        /// For how long.
        lasts: Duration,
    },
    /// Kafka is away.
    BrokerRestart {
        /// For how long.
        down: Duration,
    },
    /// Kafka answers nothing.
    FreezeBroker {
        /// For how long.
        lasts: Duration,
    },
    /// The topic of the transactions is recreated.
    Recreate,
    /// It gets further partitions.
    AddPartitions,
    /// A shard of the stream is split, or two are merged.
    Reshard {
        /// Whether it is a split.
        split: bool,
    },
}

impl Action {
    /// The kind of fault that it is.
    pub fn kind(self) -> Kind {
        match self {
            Self::Kill { .. } => Kind::Kill,
            Self::Freeze { lasts: None } => Kind::Timeout,
            Self::Freeze { lasts: Some(_) } => Kind::Freeze,
            Self::Pause { .. } => Kind::Pause,
            Self::Publisher { .. } => Kind::Publisher,
            Self::Outage { .. } => Kind::Outage,
            Self::BrokerRestart { .. } => Kind::BrokerRestart,
            Self::FreezeBroker { .. } => Kind::BrokerFrozen,
            Self::Recreate => Kind::Recreated,
            Self::AddPartitions => Kind::PartitionsAdded,
            Self::Reshard { .. } => Kind::Resharded,
        }
    }
}

/// The least length of a run in which an outage has room.
pub fn outage_needs(timeout: Duration) -> Duration {
    (2 * timeout + OUTAGE_EXTRA) * 5 / 2
}

/// The actions of a run of this length, by time.
pub fn plan(seed: u64, kinds: &Kinds, length: Duration, timeout: Duration) -> Vec<(Duration, Action)> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x91a7);
    let mut actions = Vec::new();
    let mut within =
        |from: f64, to: f64, action: Action| actions.push((length.mul_f64(rng.random_range(from..to)), action));
    let outage = 2 * timeout + OUTAGE_EXTRA;
    within(0.06, 0.08, Action::Recreate);
    within(0.20, 0.24, Action::AddPartitions);
    within(0.24, 0.28, Action::Freeze { lasts: None });
    if outage_needs(timeout) <= length {
        within(0.36, 0.42, Action::Outage { lasts: outage });
    }
    within(0.56, 0.60, Action::FreezeBroker { lasts: length.mul_f64(0.07).min(FROZEN_MAX) });
    within(0.72, 0.76, Action::BrokerRestart { down: Duration::from_millis(500) });
    within(0.78, 0.82, Action::Freeze { lasts: None });
    within(0.86, 0.90, Action::BrokerRestart { down: Duration::from_millis(800) });
    for from in [0.22, 0.70, 0.84] {
        let (pick, lasts) = (rng.random(), length.mul_f64(rng.random_range(0.04..0.07)));
        actions.push((length.mul_f64(rng.random_range(from..from + 0.04)), Action::Pause { pick, lasts }));
    }
    let mut repeat = |mean: f64, action: &mut dyn FnMut(&mut ChaCha8Rng) -> Action| {
        let mut at = 0.0;
        loop {
            at += mean * rng.random_range(0.4..1.6);
            if length.as_secs_f64() * 0.95 <= at {
                break;
            }
            let action = action(&mut rng);
            actions.push((Duration::from_secs_f64(at), action));
        }
    };
    repeat(5.0, &mut |rng| Action::Kill { all: rng.random_bool(0.3) });
    repeat(8.0, &mut |rng| Action::Freeze { lasts: Some(Duration::from_millis(rng.random_range(100..2_000))) });
    repeat(15.0, &mut |rng| Action::Publisher {
        blocked: rng.random_bool(0.3),
        lasts: Duration::from_millis(rng.random_range(100..600)),
    });
    // Drawn apart, so that the others are where they always were for their seed.
    let mut apart = ChaCha8Rng::seed_from_u64(seed ^ 0x5a4d);
    for (from, split) in [(0.10, true), (0.30, true), (0.48, false), (0.64, true), (0.80, false)] {
        actions.push((length.mul_f64(apart.random_range(from..from + 0.08)), Action::Reshard { split }));
    }
    // Killed processes report nothing; most of an outage belongs to those that see it through.
    let outage_at = actions.iter().find_map(|(at, action)| matches!(action, Action::Outage { .. }).then_some(*at));
    let sees_it_through = |at: Duration| outage_at.is_some_and(|from| from <= at && at < from + timeout * 3 / 2);
    actions.retain(|(at, action)| !matches!(action, Action::Kill { .. }) || !sees_it_through(*at));
    actions.retain(|(_, action)| kinds.has(action.kind()));
    actions.sort_by_key(|(at, _)| *at);
    actions
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(6);

    #[test]
    fn the_seed_decides_and_every_kind_has_its_place() {
        let all: Kinds = "all".parse().unwrap();
        let two_minutes = Duration::from_secs(120);
        for seed in 0..50 {
            let planned = plan(seed, &all, two_minutes, TIMEOUT);
            assert_eq!(planned, plan(seed, &all, two_minutes, TIMEOUT));
            assert!(planned.is_sorted_by_key(|(at, _)| *at));
            for kind in [
                Kind::Kill,
                Kind::Timeout,
                Kind::Freeze,
                Kind::Pause,
                Kind::Publisher,
                Kind::Outage,
                Kind::BrokerRestart,
                Kind::BrokerFrozen,
                Kind::Recreated,
                Kind::PartitionsAdded,
                Kind::Resharded,
            ] {
                assert!(planned.iter().any(|(_, action)| action.kind() == kind), "seed {seed} lacks {}", kind.name());
            }
            let outage = planned.iter().find_map(|(at, action)| match action {
                Action::Outage { lasts } => Some((*at, *lasts)),
                _ => None,
            });
            let (at, lasts) = outage.unwrap();
            assert!(lasts > 2 * TIMEOUT && at + lasts < two_minutes.mul_f64(0.75), "seed {seed}");
        }
        assert_ne!(plan(1, &all, two_minutes, TIMEOUT), plan(2, &all, two_minutes, TIMEOUT));
    }

    #[test]
    fn only_what_is_asked_for_is_planned() {
        let planned = plan(3, &"kill".parse().unwrap(), Duration::from_secs(60), TIMEOUT);
        assert!(!planned.is_empty() && planned.iter().all(|(_, action)| action.kind() == Kind::Kill));
    }
}
