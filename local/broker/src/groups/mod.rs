//! The group coordinator: groups, and the offsets that they have committed. All of it is in memory.

pub(crate) mod coordinator;
pub(crate) mod group;
pub(crate) mod member;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;

use self::group::{Group, State};
use self::member::{Answer, Joining, Peer, Syncing, Ticket};

/// What a group has committed of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// A topic and a partition's number.
pub(crate) type Partition = (String, i32);

#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) group: Group,
    pub(crate) offsets: BTreeMap<Partition, Committed>,
}

/// All groups by their id.
#[derive(Debug, Default)]
pub(crate) struct Groups(BTreeMap<String, Entry>);

impl Groups {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, group: &str) -> Option<&Entry> {
        self.0.get(group)
    }

    fn known(&mut self, group: &str) -> Result<&mut Group, ResponseError> {
        self.0.get_mut(group).map(|entry| &mut entry.group).ok_or(ResponseError::UnknownMemberId)
    }

    fn join(&mut self, now: Duration, ticket: Ticket, group: &str, request: Joining) {
        self.0.entry(group.to_owned()).or_default().group.join(now, ticket, request);
    }

    fn sync(&mut self, now: Duration, ticket: Ticket, group: &str, request: Syncing) {
        self.0.entry(group.to_owned()).or_default().group.sync(now, ticket, request);
    }

    fn heartbeat(&mut self, now: Duration, group: &str, peer: &Peer) -> Result<(), ResponseError> {
        self.known(group)?.heartbeat(now, peer)
    }

    fn leave(&mut self, now: Duration, group: &str, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        self.known(group)?.leave(now, id, instance)
    }

    fn commit(
        &mut self,
        now: Duration,
        group: &str,
        peer: &Peer,
        offsets: Vec<(Partition, Committed)>,
    ) -> Result<(), ResponseError> {
        if !self.0.contains_key(group) && peer.generation >= 0 {
            return Err(ResponseError::IllegalGeneration);
        }
        let entry = self.0.entry(group.to_owned()).or_default();
        entry.group.check_commit(now, peer)?;
        entry.offsets.extend(offsets);
        Ok(())
    }

    fn delete(&mut self, group: &str) -> Result<(), ResponseError> {
        let entry = self.0.get(group).ok_or(ResponseError::GroupIdNotFound)?;
        if entry.group.state != State::Empty {
            return Err(ResponseError::NonEmptyGroup);
        }
        self.0.remove(group);
        Ok(())
    }

    /// Forgets committed offsets, but not of topics that the group's members may be reading.
    fn delete_offsets(&mut self, group: &str, partitions: &BTreeSet<Partition>) -> Result<(), ResponseError> {
        let entry = self.0.get_mut(group).ok_or(ResponseError::GroupIdNotFound)?;
        if !entry.group.members.is_empty() {
            return Err(ResponseError::GroupSubscribedToTopic);
        }
        entry.offsets.retain(|partition, _| !partitions.contains(partition));
        Ok(())
    }

    /// A topic is gone, and with it what was committed of it.
    fn forget_topic(&mut self, topic: &str) {
        for entry in self.0.values_mut() {
            entry.offsets.retain(|(of, _), _| of != topic);
        }
    }

    fn reconnect(&mut self, now: Duration) {
        self.0.values_mut().for_each(|entry| entry.group.reconnect(now));
    }

    fn tick(&mut self, now: Duration) {
        self.0.values_mut().for_each(|entry| entry.group.tick(now));
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.0.values().filter_map(|entry| entry.group.next_deadline()).min()
    }

    /// The answers that became ready. Groups that nobody is in and that have committed nothing go.
    fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        let answers = self.0.values_mut().flat_map(|entry| entry.group.take_answers()).collect();
        self.0.retain(|_, entry| !entry.group.is_unused() || !entry.offsets.is_empty());
        answers
    }
}
