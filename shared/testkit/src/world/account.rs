//! What became of everything that a world made.

use std::collections::{BTreeMap, HashMap, HashSet};

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_contracts::decision_v1::{self, DecisionV1};
use centinela_domain::transaction::AHEAD_TOLERANCE_MS;
use centinela_domain::{DecisionId, DeviceId, Entry, FeatureVector, TransactionDigest, TransactionId, UserId};

use super::{Made, RING, World};
use crate::fakes::{Entered, Shared};

/// What a run found. All lists are empty when the protocol holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Transactions without a decision on the topics or on the stream, that were not parked either.
    pub lost: Vec<(String, String)>,
    /// Transactions with two different decisions.
    pub doubled: Vec<(String, String)>,
    /// Transactions under a used id that were answered, or neither answered nor parked.
    pub mistaken: Vec<(String, String)>,
    /// Users whose totals differ from a fold over their unique transactions.
    pub totals: Vec<String>,
    /// Bad and forged records that were not parked.
    pub unparked: usize,
    /// New decisions that were reported as published and were not.
    pub unpublished: usize,
    /// Published without being committed.
    pub uncommitted: usize,
    /// Writes that changed nothing.
    pub idle_writes: usize,
    /// Partitions in which a record is still noted as unsettled that can no longer be delivered.
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

/// Every payload of a decision on the topics and on the stream.
type Payloads<'a> = HashMap<DecisionId, [HashSet<&'a [u8]>; 2]>;

impl World {
    pub(super) fn account(&mut self) -> Account {
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
        let mut account =
            Account { uncommitted: shared.uncommitted.len(), idle_writes: shared.idle_writes, ..Account::default() };
        let in_full = |payload: &&&[u8]| decision_v1::parse(payload).is_ok_and(|decision| decision.evidence.is_some());
        let published: usize =
            payloads.values().map(|[topics, stream]| topics.intersection(stream).filter(in_full).count()).sum();
        account.unpublished = self.happened.decided.saturating_sub(published);
        let parked: HashSet<&[u8]> = shared.dead_letters.iter().filter_map(|parked| parked.value.as_deref()).collect();
        let undecidable = |code: DeadLetterReason| {
            shared.dead_letters.iter().filter(move |parked| parked.reason_code == code).count()
        };
        self.happened.undecidable += undecidable(DeadLetterReason::BadFirstCoordinates);
        account.unparked = self.bad.iter().filter(|value| !parked.contains(value.as_slice())).count();
        let mut expected: BTreeMap<UserId, (u64, Option<u64>)> = BTreeMap::new();
        let mut excused: HashSet<UserId> = HashSet::new();
        for made in &self.made {
            let (user, id) = made.ids();
            let entered = shared.entered.get(&user).map_or(&[][..], Vec::as_slice);
            if (made.repeated || made.values.len() > 1) && outside_the_window(entered, id.digest()) {
                excused.insert(user);
                continue;
            }
            let pair = || (made.user.clone(), made.transaction.clone());
            let none = Default::default();
            let places = payloads.get(&id).unwrap_or(&none);
            let all: Vec<DecisionV1> =
                places.iter().flatten().filter_map(|payload| decision_v1::parse(payload).ok()).collect();
            let full: HashSet<&[u8]> = places
                .iter()
                .flatten()
                .copied()
                .filter(|payload| decision_v1::parse(payload).is_ok_and(|decision| decision.evidence.is_some()))
                .collect();
            let is_parked = made.values.iter().any(|value| parked.contains(value.as_slice()));
            if places.iter().any(HashSet::is_empty) && !is_parked {
                account.lost.push(pair());
            }
            if full.len() > 1 || all.iter().any(|decision| decision.outcome != all[0].outcome) {
                account.doubled.push(pair());
            }
            let answered = all.iter().find_map(|decision| Some(decision.evidence.as_ref()?.amount.minor()));
            let unanswered = made.values.iter().filter(|value| !parked.contains(value.as_slice())).count();
            if made.values.len() > 1 && unanswered > 1 {
                account.mistaken.push(pair());
            }
            if entered.iter().any(|entered| entered.digest == id.digest()) {
                let (count, sum) = expected.entry(user).or_insert((0, Some(0)));
                *count += 1;
                // Of one that was published from what remains only, it is not known which of two amounts it was for.
                *sum = sum.zip(answered.or((made.values.len() == 1).then_some(1234))).map(|(sum, amount)| sum + amount);
            }
        }
        for (user, (count, sum)) in &expected {
            let stored = shared.user(user);
            let state = stored.as_ref().map(|stored| &stored.item.state);
            let found = state.map_or((0, 0), |state| (state.transactions, state.amount_total_minor));
            if !excused.contains(user) && found != (*count, sum.unwrap_or(found.1)) {
                account.totals.push(format!("{}: {found:?} instead of {:?}", user.as_str(), (count, sum)));
            }
            if state.is_some_and(|state| state.newest_at.since(self.latest) > AHEAD_TOLERANCE_MS) {
                account.blinded.push(user.as_str().to_owned());
            }
            let entries = stored.iter().flat_map(|stored| &stored.item.ledger.entries);
            let frozen = entries.filter(|entry| self.is_frozen(entry)).map(|entry| &entry.coordinates);
            account.frozen.extend(frozen.map(|coordinates| format!("{}: {coordinates:?}", user.as_str())));
        }
        account.devices = self.devices_with_a_false_past(&shared);
        let is_held = |index: &usize| {
            shared.partitions.get(&(*index as u32)).is_some_and(|item| !item.item.pending_failures.is_empty())
        };
        account.held = (0..self.partitions.len()).filter(is_held).collect();
        account.stuck = !self.invocations.is_empty() || self.partitions.iter().any(|partition| !partition.is_at_rest());
        account
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

impl Made {
    fn ids(&self) -> (UserId, DecisionId) {
        match (UserId::new(self.user.as_str()), TransactionId::new(self.transaction.as_str())) {
            (Ok(user), Ok(transaction)) => {
                let id = DecisionId::derive(&user, &transaction);
                (user, id)
            }
            _ => panic!("the world makes valid identifiers"),
        }
    }
}

/// Whether a repetition was seen only after so many newer decisions, of the user and of the user in its partition, that the promised
/// window had passed, or, for the latter, after so long.
fn outside_the_window(entered: &[Entered], digest: TransactionDigest) -> bool {
    let mine = entered.iter().enumerate().filter(|(_, entered)| entered.digest == digest);
    let places: Vec<usize> = mine.map(|(place, _)| place).collect();
    places.windows(2).any(|pair| {
        let (first, again) = (&entered[pair[0]], &entered[pair[1]]);
        let between = &entered[pair[0] + 1..pair[1]];
        let is_beside = |entered: &&Entered| entered.partitions.iter().any(|one| first.partitions.contains(one));
        let beside = between.iter().filter(is_beside).count();
        let is_recent = again.at.since(first.at) <= RING.recent_ms;
        between.len() >= RING.newest && (beside >= RING.newest_in_partition || !is_recent)
    })
}
