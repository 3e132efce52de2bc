//! In-memory ports that share one state. Items are kept encoded, as a table keeps them.

mod publishers;
mod store;

pub use publishers::{Stream, Topics};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use centinela_contracts::dead_letter_v1::DeadLetter;
use centinela_contracts::stored_partition::StoredPartition;
use centinela_contracts::stored_user::{self, StoredUser};
use centinela_delivery::{Clock, Rounds};
use centinela_domain::ledger::RingSize;
use centinela_domain::{
    Band, Currency, DecisionId, DeviceId, DeviceState, FEATURES, FeatureVector, Millis, ModelStamp, Policy,
    TransactionDigest, UserId,
};
use centinela_scoring::ports::{Background, Outgoing, ScoreError, Scored, Scorer, Versioned};
use centinela_scoring::{Engine, Limits, Settings};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::builders;
use crate::schedule::yield_once;

/// How often a call goes wrong, each as a probability.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A user is not read.
    pub user_unread: f64,
    /// A device is not read.
    pub device_unread: f64,
    /// A read returns an earlier version.
    pub stale_read: f64,
    /// A partition's item is not read.
    pub marks_unread: f64,
    /// A write is refused before it has an effect.
    pub write_refused: f64,
    /// A partition's write is refused.
    pub marks_refused: f64,
    /// A write has its effect but its reply is lost.
    pub reply_lost: f64,
    /// A lost race comes back without the item.
    pub loser_blind: f64,
    /// A decision is not acknowledged by the topics.
    pub topic_failed: f64,
    /// A decision is not acknowledged by the stream.
    pub stream_failed: f64,
    /// A record is not dead-lettered.
    pub dead_letter_failed: f64,
    /// A call about users is refused at once and for good, as without a grant.
    pub refused: f64,
}

/// A call of the store, with its number of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserCall {
    /// A batch's read.
    Read(usize),
    /// Writes.
    Commit(usize),
}

/// A stored user, with its encoded bytes.
type History = Vec<(u64, Vec<u8>)>;

/// A transaction that entered a user's item.
#[derive(Clone, Debug)]
pub struct Entered {
    /// Which.
    pub digest: TransactionDigest,
    /// The partitions of its records, and how many had entered when it got a record there: a repetition may add some.
    pub partitions: Vec<(u32, usize)>,
    /// When.
    pub at: Millis,
}

/// Everything the fakes share.
#[derive(Debug)]
pub struct Shared {
    /// What goes wrong now.
    pub faults: Faults,
    /// Nothing can be published at all.
    pub outage: bool,
    /// The clock.
    pub now: Millis,
    /// All versions of every user's item.
    pub users: HashMap<UserId, History>,
    /// Devices.
    pub devices: HashMap<DeviceId, Versioned<DeviceState>>,
    /// What other owners say about users and devices; every read answers with all of it.
    pub background: Background,
    /// Committed marks and pending-failure markers, by partition.
    pub partitions: HashMap<u32, Versioned<StoredPartition>>,
    /// What the topics received, in order.
    pub on_topics: Vec<Outgoing>,
    /// What the stream received, in order.
    pub on_stream: Vec<Outgoing>,
    /// What was dead-lettered, in order.
    pub dead_letters: Vec<DeadLetter>,
    /// Transactions in the order in which they entered a user's item; decided again included.
    pub entered: BTreeMap<UserId, Vec<Entered>>,
    /// Writes of users that were applied.
    pub user_writes: usize,
    /// Writes of any kind that were asked for.
    pub writes_asked: usize,
    /// Calls about users, in order.
    pub user_calls: Vec<UserCall>,
    /// What was published without being committed. Must stay empty.
    pub uncommitted: Vec<DecisionId>,
    /// Writes of users that changed nothing. Must stay 0: each is billed.
    pub idle_writes: usize,
    /// Users whose item means nothing to this release.
    pub unreadable: HashSet<UserId>,
    /// Pauses that were asked for, at most.
    pub pauses: Vec<Duration>,
    /// Whether time passes while somebody pauses.
    pub pauses_take_time: bool,
    /// How much the models of environments that start from now on may block.
    pub band: Option<Band>,
    /// The monotonic clock: every look moves it.
    ticks: u64,
    rng: ChaCha8Rng,
}

impl Shared {
    fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.rng.random_bool(probability)
    }

    /// The newest item of a user.
    pub fn user(&self, user: &UserId) -> Option<Versioned<StoredUser>> {
        let (version, bytes) = self.users.get(user)?.last()?;
        Some(Versioned { version: *version, item: decoded(bytes, user) })
    }

    fn version_of(&self, user: &UserId) -> Option<u64> {
        self.users.get(user).and_then(|history| history.last()).map(|(version, _)| *version)
    }
}

fn decoded(bytes: &[u8], user: &UserId) -> StoredUser {
    match stored_user::decode(bytes, user) {
        Ok(stored) => stored,
        Err(problem) => panic!("what was stored cannot be read back: {problem}"),
    }
}

fn failure() -> Box<io::Error> {
    Box::new(io::Error::other("fault"))
}

/// The fakes of one world; clones share everything.
#[derive(Clone, Debug)]
pub struct Fakes(Arc<Mutex<Shared>>);

/// An engine on fakes.
pub type FakeEngine = Engine<(Fakes, Topics, Stream, RandomScorer, Fakes), Fakes>;

impl Fakes {
    /// Fakes without faults.
    pub fn new(seed: u64, now: Millis) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            faults: Faults::default(),
            outage: false,
            now,
            users: HashMap::new(),
            devices: HashMap::new(),
            background: Background::default(),
            partitions: HashMap::new(),
            on_topics: Vec::new(),
            on_stream: Vec::new(),
            dead_letters: Vec::new(),
            entered: BTreeMap::new(),
            user_writes: 0,
            writes_asked: 0,
            user_calls: Vec::new(),
            uncommitted: Vec::new(),
            idle_writes: 0,
            unreadable: HashSet::new(),
            pauses: Vec::new(),
            pauses_take_time: false,
            band: None,
            ticks: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        })))
    }

    /// Looks at, or changes, what the fakes hold.
    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One environment: an engine of its own over the shared state. Its rounds are short, so that small batches have several.
    pub fn engine(&self) -> FakeEngine {
        self.engine_with(RingSize::DEFAULT)
    }

    /// The same with rings of another size.
    pub fn engine_with(&self, ring: RingSize) -> FakeEngine {
        let limits = Limits {
            ring,
            rounds: Rounds { keys_at_once: 3, keys_in_a_round: const { NonZeroUsize::new(2).unwrap() } },
            ..Limits::default()
        };
        Engine::new(
            self.clone(),
            Topics(self.clone()),
            Stream(self.clone()),
            self.clone(),
            RandomScorer::new(self.clone()),
            self.clone(),
            // The few users of a test leave a band by chance now and then.
            Settings { key: builders::key(), default_currency: Currency::DEFAULT, block_rate_guard: Some(3), limits },
        )
    }
}

impl Clock for Fakes {
    fn now(&self) -> Millis {
        self.shared().now
    }

    fn monotonic_us(&self) -> u64 {
        let mut shared = self.shared();
        shared.ticks += 1;
        shared.ticks
    }

    async fn pause(&self, at_most: Duration) {
        {
            let mut shared = self.shared();
            shared.pauses.push(at_most);
            if shared.pauses_take_time {
                shared.now = Millis(shared.now.0 + at_most.as_millis() as i64);
            }
        }
        yield_once().await;
    }
}

/// A model that never gives the same answer twice: a decision that is scored again is another decision.
#[derive(Clone, Debug)]
pub struct RandomScorer {
    fakes: Fakes,
    stamp: ModelStamp,
}

impl RandomScorer {
    fn new(fakes: Fakes) -> Self {
        Self { fakes, stamp: ModelStamp { version: "random".to_owned(), digest: [7; 8] } }
    }
}

impl Scorer for RandomScorer {
    fn score(&self, rows: &[FeatureVector]) -> Result<Vec<Scored>, ScoreError> {
        let mut shared = self.fakes.shared();
        let answers = rows.iter().map(|_| {
            let contributions = std::array::from_fn::<f32, FEATURES, _>(|_| shared.rng.random_range(-1.0f32..1.0));
            Scored { score: shared.rng.random(), contributions }
        });
        Ok(answers.collect())
    }

    fn stamp(&self) -> &ModelStamp {
        &self.stamp
    }

    fn policy(&self) -> Policy {
        match Policy::new(0.8, None) {
            Ok(policy) => policy,
            Err(problem) => panic!("{problem}"),
        }
    }

    fn band(&self) -> Option<Band> {
        self.fakes.shared().band
    }
}
