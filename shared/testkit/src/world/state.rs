//! The state of a world: its topic, its invocations, and what its producers made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use centinela_contracts::kafka_event::Record;
use centinela_delivery::BatchError;
use centinela_domain::guard::Fallback;
use centinela_domain::ledger::RingSize;
use centinela_domain::{Band, Coordinates, DecisionId, Millis, TransactionId, UserId};
use centinela_scoring::{BatchReport, ScoringError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::happened::Happened;
use crate::builders::EPOCH_MS;
use crate::fakes::{FakeEngine, Fakes, Faults};

/// Steps for coming to rest before the mapping gives up what is left.
pub(super) const STEPS_TO_REST: usize = 1_000;
/// Small, so that a short run fills rings and leaves windows behind.
pub(super) const RING: RingSize = RingSize {
    newest: 3,
    newest_in_partition: 2,
    hot_within_ms: 600_000,
    recent_ms: 600_000,
    most: 24,
    ..RingSize::DEFAULT
};
/// What everything was bought for, and what it costs under an id that is used already.
pub(super) const AMOUNT: &str = "12.34";
pub(super) const AMOUNT_MINOR: u64 = 1_234;
pub(super) const OTHER_AMOUNT: &str = "99.99";
/// 2099: a time that nobody has reached.
pub(super) const FUTURE_MS: i64 = 4_070_908_800_000;

/// How the mapping reads a partial failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It resumes the partition at the first reported record.
    Resume,
    /// It delivers only the reported records again, before anything newer.
    ListedFirst,
    /// It delivers only the reported records again, whenever it likes.
    ListedAnyTime,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    /// A record's place here never restarts; its offset does when the topic is recreated.
    pub(super) log: Vec<Record>,
    /// Place of offset 0.
    pub(super) base: usize,
    /// First place that is not acknowledged.
    pub(super) committed: usize,
    /// The invocation that holds it.
    pub(super) in_flight: Option<usize>,
    /// Reported records that wait to be delivered again.
    pub(super) again: Vec<usize>,
    /// Records that take every invocation down, until they are given up.
    pub(super) poison: HashSet<usize>,
}

impl Partition {
    pub(super) fn is_at_rest(&self) -> bool {
        self.in_flight.is_none() && self.again.is_empty() && self.committed == self.log.len()
    }
}

pub(super) type Running = Pin<Box<dyn Future<Output = Result<BatchReport, BatchError<ScoringError>>>>>;

pub(super) struct Invocation {
    pub(super) id: usize,
    pub(super) future: Running,
    pub(super) delivered: BTreeMap<usize, Vec<usize>>,
    /// Its batch has been, or may be, delivered elsewhere: its answer counts for nothing.
    pub(super) zombie: bool,
}

/// A transaction, as the world knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    pub(super) user: String,
    pub(super) transaction: String,
    pub(super) device: String,
    /// What was sent under its id: one content, or more.
    pub(super) values: Vec<Vec<u8>>,
    /// The producer sent one of them twice.
    pub(super) repeated: bool,
}

impl Made {
    /// Its user and the id of its decision.
    pub(super) fn ids(&self) -> (UserId, DecisionId) {
        match (UserId::new(self.user.as_str()), TransactionId::new(self.transaction.as_str())) {
            (Ok(user), Ok(transaction)) => {
                let id = DecisionId::derive(&user, &transaction);
                (user, id)
            }
            _ => panic!("the world makes valid identifiers"),
        }
    }
}

/// A record whose decision an operator is about to look for.
pub(super) struct Looking {
    pub(super) record: Record,
    /// The committed mark of its partition, read before.
    pub(super) from: Coordinates,
    /// What ran when the mark was read: the look-up waits for their end, as it does in production by the function's timeout.
    pub(super) running: HashSet<usize>,
}

/// Everything that a run is made of, and where it stands.
pub struct World {
    pub(super) fakes: Fakes,
    pub(super) environments: Vec<Arc<FakeEngine>>,
    pub(super) partitions: Vec<Partition>,
    pub(super) invocations: Vec<Invocation>,
    pub(super) next_id: usize,
    pub(super) reading: Reading,
    pub(super) keyed_by_user: bool,
    pub(super) users: usize,
    pub(super) made: Vec<Made>,
    /// Values that can never be decided.
    pub(super) bad: Vec<Vec<u8>>,
    /// Per user the transaction to repeat, and its partition.
    pub(super) newest: HashMap<String, (usize, usize)>,
    /// What the mapping gave up, and an operator will drive again.
    pub(super) given_up: Vec<Record>,
    /// What an operator is about to look for.
    pub(super) looking: Option<Looking>,
    /// Decisions that were looked for and not found.
    pub(super) verified: HashSet<DecisionId>,
    /// Values that an operator has left among the dead letters: their id was decided for something else.
    pub(super) left: HashSet<Vec<u8>>,
    /// How much of the dead letters an operator has looked through.
    pub(super) looked_through: usize,
    /// Old batches that a paused poller may still deliver.
    pub(super) paused: Vec<BTreeMap<usize, Vec<usize>>>,
    /// The mapping gives records up now and then.
    pub(super) gives_up: bool,
    /// The latest time that any clock has shown.
    pub(super) latest: Millis,
    /// What was decided before this has had time to be proved published.
    pub(super) proved_before: Millis,
    pub(super) happened: Happened,
    pub(super) rng: ChaCha8Rng,
}

impl World {
    /// A world from a seed.
    pub fn seeded(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let fakes = Fakes::new(seed ^ 0x5eed, Millis(EPOCH_MS));
        fakes.shared().faults = Faults {
            user_unread: 0.03,
            device_unread: 0.1,
            stale_read: 0.3,
            marks_unread: 0.05,
            write_refused: 0.03,
            marks_refused: 0.05,
            reply_lost: 0.05,
            loser_blind: 0.3,
            topic_failed: 0.03,
            stream_failed: 0.03,
            dead_letter_failed: 0.2,
            refused: 0.01,
        };
        // So narrow that the few users of a world leave it now and then.
        let fallback = Fallback::ALL[rng.random_range(0..Fallback::ALL.len())];
        fakes.shared().band = Band::new(600_000, 2, 0.5, fallback).ok();
        let environments = (0..3).map(|_| Arc::new(fakes.engine_with(RING))).collect();
        let partitions = (0..rng.random_range(1..=3)).map(|_| Partition::default()).collect();
        let reading = [Reading::Resume, Reading::ListedFirst, Reading::ListedAnyTime][rng.random_range(0..3)];
        Self {
            fakes,
            environments,
            partitions,
            invocations: Vec::new(),
            next_id: 0,
            reading,
            keyed_by_user: rng.random_bool(0.3),
            users: [1, 2, 4][rng.random_range(0..3)],
            made: Vec::new(),
            bad: Vec::new(),
            newest: HashMap::new(),
            given_up: Vec::new(),
            looking: None,
            verified: HashSet::new(),
            left: HashSet::new(),
            looked_through: 0,
            paused: Vec::new(),
            gives_up: true,
            latest: Millis(EPOCH_MS),
            proved_before: Millis(EPOCH_MS),
            happened: Happened::default(),
            rng,
        }
    }

    /// Time passes; a broker's clock may be a little behind.
    pub(super) fn pass(&mut self, milliseconds: i64) -> Millis {
        let skew_ms = if self.rng.random_bool(0.1) { self.rng.random_range(0..3_000) } else { 0 };
        let mut shared = self.fakes.shared();
        shared.now = Millis(shared.now.0 + milliseconds);
        self.latest = self.latest.max(shared.now);
        Millis(shared.now.0 - skew_ms)
    }

    /// All clocks step back a little.
    pub(super) fn step_back(&mut self) {
        let mut shared = self.fakes.shared();
        shared.now = Millis(shared.now.0.min(self.latest.0 - 2_000));
    }
}
