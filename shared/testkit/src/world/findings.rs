//! What became of everything that a world made.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use centinela_contracts::dead_letter_v1::{DeadLetter, DeadLetterReason};
use centinela_contracts::decision_v1;
use centinela_domain::transaction::AHEAD_TOLERANCE_MS;
use centinela_domain::{DecisionId, DeviceId, Entry, FeatureVector, TransactionDigest, UserId};
use centinela_verdict::{Answer, Fate, Totals, compare};

use super::state::{AMOUNT_MINOR, RING, World};
use crate::fakes::{Entered, Shared};

/// What a run found. All lists are empty when the protocol holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Transactions without a decision on the topics or on the stream, that were not dead-lettered either.
    pub lost: Vec<(String, String)>,
    /// Transactions that an operator drove again, or that were given up, and that nobody ever decided.
    pub undecided: Vec<(String, String)>,
    /// Transactions with two different decisions.
    pub doubled: Vec<(String, String)>,
    /// Transactions under a used id that were answered, or neither answered nor dead-lettered.
    pub mistaken: Vec<(String, String)>,
    /// Users whose totals differ from a fold over their unique transactions.
    pub totals: Vec<String>,
    /// Decisions on transactions that nobody sent.
    pub invented: Vec<DecisionId>,
    /// Bad and forged records that were not dead-lettered.
    pub not_dead_lettered: usize,
    /// New decisions that were reported as published and were not.
    pub unpublished: usize,
    /// Published without being committed.
    pub uncommitted: usize,
    /// Writes that changed nothing.
    pub idle_writes: usize,
    /// Partitions in which a record still has a pending-failure marker that can no longer be delivered.
    pub held: Vec<usize>,
    /// Users whose ring keeps old decisions in full: nothing proves them published any more.
    pub frozen: Vec<String>,
    /// Users whose clock an event from the future has moved.
    pub blinded: Vec<String>,
    /// Devices with users that were never on them, and decisions that saw their own visit.
    pub devices: Vec<String>,
    /// The mapping could not come to an end.
    pub stuck: bool,
}

/// What the users should have.
#[derive(Default)]
struct Expected {
    users: BTreeMap<UserId, Totals>,
    /// Some of their transactions were for an amount that cannot be told any more.
    of_unknown_amount: BTreeSet<UserId>,
    /// Their producers sent something again after the promised window.
    excused: BTreeSet<UserId>,
    /// Transactions that were counted again.
    recounted: usize,
}

/// Every payload of a decision on the topics and on the stream.
type Payloads<'a> = HashMap<DecisionId, [HashSet<&'a [u8]>; 2]>;

impl World {
    pub(super) fn findings(&mut self) -> Findings {
        let fakes = self.fakes.clone();
        let shared = fakes.shared();
        let mut payloads: Payloads<'_> = HashMap::new();
        for (place, published) in [&shared.on_topics, &shared.on_stream].into_iter().enumerate() {
            for decision in published {
                if !payloads.entry(decision.decision_id).or_default()[place].insert(&decision.payload) {
                    self.happened.republished += usize::from(place == 0);
                }
            }
        }
        let mut findings =
            Findings { uncommitted: shared.uncommitted.len(), idle_writes: shared.idle_writes, ..Findings::default() };
        let in_full = |payload: &&&[u8]| decision_v1::parse(payload).is_ok_and(|decision| decision.evidence.is_some());
        let published: usize =
            payloads.values().map(|[topics, stream]| topics.intersection(stream).filter(in_full).count()).sum();
        findings.unpublished = self.happened.decided.saturating_sub(published);
        let left = self.left.clone();
        let dead_letters = shared.dead_letters.iter().filter_map(|letter| letter.value.as_deref());
        let dead_letters: HashSet<&[u8]> = dead_letters.chain(left.iter().map(Vec::as_slice)).collect();
        let is_undecidable = |parked: &&DeadLetter| parked.reason_code == DeadLetterReason::BadFirstCoordinates;
        self.happened.undecidable += shared.dead_letters.iter().filter(is_undecidable).count();
        findings.not_dead_lettered = self.bad.iter().filter(|value| !dead_letters.contains(value.as_slice())).count();
        let expected = self.judge_transactions(&shared, &payloads, &dead_letters, &mut findings);
        self.happened.recounted += expected.recounted;
        self.judge_users(&shared, &expected, &mut findings);
        findings.devices = self.devices_with_a_false_past(&shared);
        let is_held = |index: &usize| {
            shared.partitions.get(&(*index as u32)).is_some_and(|item| !item.item.pending_failures.is_empty())
        };
        findings.held = (0..self.partitions.len()).filter(is_held).collect();
        findings.stuck =
            !self.invocations.is_empty() || self.partitions.iter().any(|partition| !partition.is_at_rest());
        findings
    }

    /// Judges every transaction; returns what the users should have.
    fn judge_transactions(
        &self,
        shared: &Shared,
        payloads: &Payloads<'_>,
        dead_letters: &HashSet<&[u8]>,
        findings: &mut Findings,
    ) -> Expected {
        let mut expected = Expected::default();
        let sent: HashSet<DecisionId> = self.made.iter().map(|made| made.ids().1).collect();
        findings.invented.extend(payloads.keys().filter(|id| !sent.contains(id)));
        for made in &self.made {
            let (user, id) = made.ids();
            let entered = shared.entered.get(&user).map_or(&[][..], Vec::as_slice);
            if (made.repeated || made.values.len() > 1) && outside_the_window(entered, id.digest()) {
                expected.excused.insert(user);
                continue;
            }
            let pair = || (made.user.clone(), made.transaction.clone());
            let none = Default::default();
            let places = payloads.get(&id).unwrap_or(&none);
            let is_dead = |value: &&Vec<u8>| dead_letters.contains(value.as_slice());
            let fate = |places: &[HashSet<&[u8]>]| {
                let mut fate = Fate::default();
                fate.sent();
                if made.values.iter().any(|value| is_dead(&value)) {
                    fate.dead_lettered();
                }
                places.iter().flatten().filter_map(|payload| answer(payload)).for_each(|answer| {
                    fate.answered(answer);
                });
                fate
            };
            if places.chunks(1).any(|place| fate(place).is_lost()) {
                findings.lost.push(pair());
            }
            if fate(places).is_doubled() {
                findings.doubled.push(pair());
            }
            if made.values.len() == 1 && !fate(places).is_decided() {
                findings.undecided.push(pair());
            }
            let unanswered = made.values.iter().filter(|value| !is_dead(value)).count();
            if made.values.len() > 1 && unanswered > 1 {
                findings.mistaken.push(pair());
            }
            let times = entered.iter().filter(|entered| entered.digest == id.digest()).count();
            if times > 0 {
                let amounts = places.iter().flatten().filter_map(|payload| decision_v1::parse(payload).ok()?.evidence);
                let answered = amounts.map(|evidence| evidence.amount.minor()).next();
                // Of one that was published from what remains only, it is not known which of two amounts it was for.
                let amount = answered.or((made.values.len() == 1).then_some(AMOUNT_MINOR));
                // Committed, never published, given up, and out of its ring: nobody can tell that it was counted.
                let counted = if self.verified.contains(&id) { times } else { 1 };
                expected.recounted += counted - 1;
                for _ in 0..counted {
                    expected.users.entry(user.clone()).or_default().add(amount.unwrap_or(0));
                }
                if amount.is_none() {
                    expected.of_unknown_amount.insert(user);
                }
            }
        }
        expected
    }

    fn judge_users(&self, shared: &Shared, expected: &Expected, findings: &mut Findings) {
        let stored = |user: &UserId| {
            let state = &shared.user(user)?.item.state;
            Some(Totals { transactions: state.transactions, amount_minor: state.amount_total_minor })
        };
        let stored: BTreeMap<UserId, _> = shared.users.keys().map(|user| (user.clone(), stored(user))).collect();
        let mut added = expected.users.clone();
        for user in &expected.of_unknown_amount {
            let (Some(added), Some(Some(stored))) = (added.get_mut(user), stored.get(user)) else { continue };
            added.amount_minor = stored.amount_minor;
        }
        for (user, wanted, found) in compare(&added, &stored, &BTreeMap::new()).users {
            if !expected.excused.contains(&user) {
                findings.totals.push(format!("{}: {found:?} instead of {wanted:?}", user.as_str()));
            }
        }
        for user in expected.users.keys() {
            let Some(stored) = shared.user(user) else { continue };
            if stored.item.state.newest_at.since(self.latest) > AHEAD_TOLERANCE_MS {
                findings.blinded.push(user.as_str().to_owned());
            }
            let frozen = stored.item.ledger.entries.iter().filter(|entry| self.is_frozen(entry));
            findings.frozen.extend(frozen.map(|entry| format!("{}: {:?}", user.as_str(), entry.coordinates)));
        }
    }

    /// Decided long ago and not proved published.
    fn is_frozen(&self, entry: &Entry) -> bool {
        entry.decision.is_some() && entry.coordinates.iter().all(|at| at.timestamp < self.proved_before)
    }

    /// Against a fold over everything that was ever decided.
    fn devices_with_a_false_past(&self, shared: &Shared) -> Vec<String> {
        let mut visitors: HashMap<&str, HashSet<u32>> = HashMap::new();
        for made in &self.made {
            visitors.entry(&made.device).or_default().insert(made.ids().0.hash32());
        }
        let mut problems = Vec::new();
        for (device, visitors) in &visitors {
            let stored = DeviceId::new(*device).ok().and_then(|device| shared.devices.get(&device));
            let users: Vec<u32> = stored.iter().flat_map(|stored| &stored.item.users).map(|user| user.user).collect();
            let unique: HashSet<u32> = users.iter().copied().collect();
            if unique.len() != users.len() || !unique.is_subset(visitors) {
                problems.push(format!("{device}: {users:?}"));
            }
        }
        let column = |name| FeatureVector::NAMES.iter().position(|known| *known == name);
        let (Some(new), Some(users)) = (column("user_new_device"), column("device_users")) else { return problems };
        let device_of: HashMap<&str, &str> =
            self.made.iter().map(|made| (made.transaction.as_str(), made.device.as_str())).collect();
        for decision in &shared.on_topics {
            let Ok(parsed) = decision_v1::parse(&decision.payload) else { continue };
            let Some(evidence) = parsed.evidence else { continue };
            let (first_visit, seen) = (evidence.features.values[new], evidence.features.values[users]);
            let others = device_of.get(decision.transaction_id.as_str()).map_or(0, |device| visitors[device].len() - 1);
            // A user's first transaction of all has no list of devices to be missing from.
            if (first_visit.is_nan() || first_visit > 0.5) && seen > others as f32 {
                problems.push(format!("{:?} saw {seen} users", decision.decision_id));
            }
        }
        problems
    }
}

/// What a payload says.
fn answer(payload: &[u8]) -> Option<Answer> {
    let decision = decision_v1::parse(payload).ok()?;
    Some(Answer::new(decision.outcome, decision.evidence.is_some(), payload))
}

/// Whether a repetition was seen only after so many newer decisions, of the user and of the user in its partition, that the promised
/// window had passed, or, for the latter, after so long.
fn outside_the_window(entered: &[Entered], digest: TransactionDigest) -> bool {
    let mine = entered.iter().enumerate().filter(|(_, entered)| entered.digest == digest);
    let places: Vec<usize> = mine.map(|(place, _)| place).collect();
    places.windows(2).any(|pair| {
        let (first, again) = (&entered[pair[0]], &entered[pair[1]]);
        let between = &entered[pair[0] + 1..pair[1]];
        let had = |entered: &Entered, partition| {
            entered.partitions.iter().any(|(one, before)| *one == partition && *before <= pair[1])
        };
        let is_beside =
            |entered: &&Entered| first.partitions.iter().any(|(one, _)| had(first, *one) && had(entered, *one));
        let beside = between.iter().filter(is_beside).count();
        let is_recent = again.at.since(first.at) <= RING.recent_ms;
        between.len() >= RING.newest && (beside >= RING.newest_in_partition || !is_recent)
    })
}
