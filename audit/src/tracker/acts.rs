//! What the topics of user actions and events say: what profiles and risks should be, and which records must be among the dead letters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use centinela_contracts::{event_v1, user_action_v1};
use centinela_domain::risk::Label;
use centinela_domain::{DecisionId, Millis};
use centinela_verdict::{LabelFold, Parties, ProfileFold, Spans, name_of};

/// A topic whose records only change state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Beside {
    /// User actions.
    Actions,
    /// Events, labels among them.
    Events,
}

/// Topic, incarnation, partition, offset.
type Place = (Beside, u32, u32, u64);

/// Counters of these topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenBeside {
    /// User actions.
    pub actions: u64,
    /// Events of any kind.
    pub events: u64,
    /// Of these, labels.
    pub labels: u64,
    /// Dead-lettered records of the topic of actions, and of events.
    pub dead_lettered: [u64; 2],
    /// Offsets that were deleted before they were read, by topic.
    pub missed: [u64; 2],
}

/// What a label says, and about what.
#[derive(Clone, Debug)]
struct Said {
    decision: DecisionId,
    label: Label,
    user: String,
    device: Option<String>,
}

/// What was read of these topics.
#[derive(Debug, Default)]
pub(super) struct Acts {
    profiles: HashMap<String, ProfileFold>,
    labels: HashMap<Place, Said>,
    /// Records that can never be handled and are not dead-lettered yet.
    open: HashSet<Place>,
    /// Dead-lettered records.
    dead: HashSet<Place>,
    incarnations: [u32; 2],
    seen: SeenBeside,
}

/// What these topics come to.
#[derive(Clone, Debug, Default)]
pub struct Besides {
    /// Counters.
    pub seen: SeenBeside,
    /// Records that are neither handled nor dead-lettered, because nobody can.
    pub lost: u64,
    /// What each user's actions say.
    pub profiles: BTreeMap<String, ProfileFold>,
    /// What stands about transactions.
    pub labels: LabelFold<DecisionId>,
    /// Devices of transactions whose labels name several devices, and in one label none: nobody can tell which of them it counts for.
    pub disputed_devices: BTreeSet<String>,
}

impl Acts {
    pub(super) fn saw_action(&mut self, partition: u32, offset: u64, value: Option<&[u8]>, time_ms: i64) -> u64 {
        self.seen.actions += 1;
        let Some(Ok(action)) = value.map(user_action_v1::parse) else {
            self.unreadable(Beside::Actions, partition, offset);
            return 0;
        };
        let fact = action.fact(Millis(time_ms));
        let user = action.user_id.as_str();
        match self.profiles.get_mut(user) {
            Some(fold) => fold.take(fact),
            None => self.profiles.entry(user.to_owned()).or_default().take(fact),
        }
        name_of(action.action_id.as_str())
    }

    pub(super) fn saw_event(&mut self, partition: u32, offset: u64, value: Option<&[u8]>, time_ms: i64) -> u64 {
        self.seen.events += 1;
        let Some(Ok(event)) = value.map(event_v1::parse) else {
            self.unreadable(Beside::Events, partition, offset);
            return 0;
        };
        let name = name_of(event.event_id.as_str());
        let (Some(label), Some(transaction)) = (event.label(Millis(time_ms)), &event.transaction_id) else {
            return name;
        };
        self.seen.labels += 1;
        // Decisions are known by their user.
        let Some(user) = event.user_id else {
            self.unreadable(Beside::Events, partition, offset);
            return name;
        };
        let decision = DecisionId::derive(&user, transaction);
        let device = event.device_id.map(|device| device.as_str().to_owned());
        let said = Said { decision, label, user: user.as_str().to_owned(), device };
        self.labels.insert(self.place(Beside::Events, partition, offset), said);
        name
    }

    fn place(&self, topic: Beside, partition: u32, offset: u64) -> Place {
        (topic, self.incarnations[topic as usize], partition, offset)
    }

    fn unreadable(&mut self, topic: Beside, partition: u32, offset: u64) {
        let at = self.place(topic, partition, offset);
        if !self.dead.contains(&at) {
            self.open.insert(at);
        }
    }

    /// False when it was dead-lettered before.
    pub(super) fn dead_lettered(&mut self, topic: Beside, partition: u32, offset: u64) -> bool {
        let at = self.place(topic, partition, offset);
        self.open.remove(&at);
        let is_new = self.dead.insert(at);
        self.seen.dead_lettered[topic as usize] += u64::from(is_new);
        is_new
    }

    pub(super) fn missed(&mut self, topic: Beside, offsets: u64) {
        self.seen.missed[topic as usize] += offsets;
    }

    pub(super) fn recreated(&mut self, topic: Beside) {
        self.incarnations[topic as usize] += 1;
    }

    pub(super) fn seen(&self) -> SeenBeside {
        self.seen
    }

    pub(super) fn reconcile(&self) -> Besides {
        let standing = || self.labels.iter().filter(|(place, _)| !self.dead.contains(*place)).map(|(_, said)| said);
        let mut devices = HashMap::<DecisionId, BTreeSet<&String>>::new();
        for said in standing() {
            devices.entry(said.decision).or_default().extend(said.device.as_ref());
        }
        let (mut labels, mut disputed_devices) = (LabelFold::new(), BTreeSet::new());
        for said in standing() {
            let named = &devices[&said.decision];
            // A label without a device is about that of another label of its transaction: which one, if they name several, is a matter
            // of their order.
            if said.device.is_none() && named.len() > 1 {
                disputed_devices.extend(named.iter().map(|&device| device.clone()));
            }
            let device = said.device.as_ref().or_else(|| named.first().copied()).cloned();
            labels.take(said.decision, said.label.clone(), Parties { user: said.user.clone(), device });
        }
        Besides {
            seen: self.seen,
            lost: self.open.len() as u64,
            profiles: self.profiles.iter().map(|(user, fold)| (user.clone(), fold.clone())).collect(),
            labels,
            disputed_devices,
        }
    }
}

/// Dead-lettered records by the topic that they came from.
pub type DeadPlaces = BTreeMap<String, Vec<Spans>>;

/// Notes a dead-lettered record.
pub(super) fn note_dead(places: &mut DeadPlaces, topic: &str, partition: u32, offset: u64) {
    let partitions = match places.get_mut(topic) {
        Some(partitions) => partitions,
        None => places.entry(topic.to_owned()).or_default(),
    };
    let partition = partition as usize;
    if partitions.len() <= partition {
        partitions.resize(partition + 1, Spans::default());
    }
    partitions[partition].add(i64::try_from(offset).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use centinela_verdict::differing_risks;

    use super::*;

    const TIME_MS: i64 = 1_767_571_200_000;

    fn label(event_id: &str, kind: &str, user: Option<&str>, device: Option<&str>, time_ms: i64) -> Vec<u8> {
        let field =
            |name: &str, value: Option<&str>| value.map_or_else(String::new, |value| format!(r#","{name}":"{value}""#));
        format!(
            r#"{{"version":1,"event_id":"{event_id}","timestamp":{time_ms},"transaction_id":"t","event":"{kind}"{}{}}}"#,
            field("user_id", user),
            field("device_id", device),
        )
        .into_bytes()
    }

    #[test]
    fn what_nobody_can_handle_is_lost_until_it_is_dead_lettered() {
        let mut acts = Acts::default();
        assert_eq!(acts.saw_action(1, 7, Some(b"{}"), TIME_MS), 0);
        acts.saw_event(2, 8, Some(&label("e", "chargeback", None, Some("d"), TIME_MS)), TIME_MS);
        acts.saw_event(2, 9, Some(&label("f", "a note", None, None, TIME_MS)), TIME_MS);
        assert_eq!(acts.reconcile().lost, 2);
        assert!(acts.dead_lettered(Beside::Actions, 1, 7) && acts.dead_lettered(Beside::Events, 2, 8));
        assert!(!acts.dead_lettered(Beside::Events, 2, 8), "it came again");
        let besides = acts.reconcile();
        assert_eq!((besides.lost, besides.seen.dead_lettered, besides.seen.events), (0, [1, 1], 2));
        // Whichever of the two is read first.
        acts.dead_lettered(Beside::Actions, 1, 9);
        acts.saw_action(1, 9, None, TIME_MS);
        assert_eq!(acts.reconcile().lost, 0);
    }

    #[test]
    fn a_label_without_a_device_is_about_that_of_another_and_a_dead_lettered_one_does_not_count() {
        let mut acts = Acts::default();
        acts.saw_event(0, 0, Some(&label("a", "chargeback", Some("u"), Some("d"), TIME_MS)), TIME_MS);
        acts.saw_event(0, 1, Some(&label("b", "confirmed_good", Some("u"), None, TIME_MS + 1)), TIME_MS);
        let standing = |acts: &Acts| {
            let (users, devices) = acts.reconcile().labels.counts();
            [users, devices]
                .map(|standing| differing_risks(&standing, &Default::default(), &BTreeMap::new(), &BTreeMap::new()))
        };
        assert_eq!(standing(&acts), [["u"], ["d"]]);
        acts.dead_lettered(Beside::Events, 0, 0);
        acts.dead_lettered(Beside::Events, 0, 1);
        assert!(standing(&acts).iter().all(Vec::is_empty), "nothing stands");
    }

    #[test]
    fn devices_between_which_nobody_can_tell_are_named() {
        let mut acts = Acts::default();
        acts.saw_event(0, 0, Some(&label("a", "chargeback", Some("u"), Some("d"), TIME_MS)), TIME_MS);
        acts.saw_event(0, 1, Some(&label("b", "chargeback", Some("u"), Some("e"), TIME_MS + 1)), TIME_MS);
        assert!(acts.reconcile().disputed_devices.is_empty(), "the later label says which");
        acts.saw_event(0, 2, Some(&label("c", "confirmed_good", Some("u"), None, TIME_MS + 2)), TIME_MS);
        assert_eq!(acts.reconcile().disputed_devices, ["d", "e"].map(str::to_owned).into());
    }
}
