//! Groups in time: answers find the requests that wait for them, and members that are silent too long are told to the groups.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::member::{Answer, Joined, Joining, Peer, Synced, Syncing, Ticket};
use super::{Committed, Groups, Partition};

#[derive(Debug)]
pub(crate) struct Coordinator {
    /// Times are told to groups from here on.
    since: Instant,
    inner: Mutex<Inner>,
    /// Told when a deadline may have come nearer.
    nearer: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    groups: Groups,
    waiting: HashMap<Ticket, oneshot::Sender<Answer>>,
    last_ticket: Ticket,
}

impl Inner {
    fn ticket(&mut self) -> (Ticket, oneshot::Receiver<Answer>) {
        self.last_ticket += 1;
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(self.last_ticket, sender);
        (self.last_ticket, receiver)
    }

    fn deliver(&mut self) {
        for (ticket, answer) in self.groups.take_answers() {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // Nobody is there when the connection has ended.
                drop(waiting.send(answer));
            }
        }
        self.waiting.retain(|_, waiting| !waiting.is_closed());
    }
}

impl Default for Coordinator {
    fn default() -> Self {
        Self { since: Instant::now(), inner: Mutex::default(), nearer: Notify::new() }
    }
}

impl Coordinator {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks or changes something about groups, and delivers what becomes ready by it.
    fn with<R>(&self, work: impl FnOnce(&mut Groups, Duration) -> R) -> R {
        let mut inner = self.lock();
        let result = work(&mut inner.groups, self.since.elapsed());
        inner.deliver();
        self.nearer.notify_one();
        result
    }

    /// Looks at the groups.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Groups) -> R) -> R {
        look(&self.lock().groups)
    }

    /// Waits until the round of joining is complete. None when the broker has closed all connections meanwhile.
    pub(crate) async fn join(&self, group: &str, request: Joining) -> Option<Result<Joined, (ResponseError, String)>> {
        let answer = {
            let mut inner = self.lock();
            let (ticket, answer) = inner.ticket();
            inner.groups.join(self.since.elapsed(), ticket, group, request);
            inner.deliver();
            answer
        };
        self.nearer.notify_one();
        match answer.await {
            Ok(Answer::Join(joined)) => Some(joined),
            Ok(Answer::Sync(_)) | Err(_) => None,
        }
    }

    /// Waits until the leader has assigned. None when the broker has closed all connections meanwhile.
    pub(crate) async fn sync(&self, group: &str, request: Syncing) -> Option<Result<Synced, ResponseError>> {
        let answer = {
            let mut inner = self.lock();
            let (ticket, answer) = inner.ticket();
            inner.groups.sync(self.since.elapsed(), ticket, group, request);
            inner.deliver();
            answer
        };
        self.nearer.notify_one();
        match answer.await {
            Ok(Answer::Sync(synced)) => Some(synced),
            Ok(Answer::Join(_)) | Err(_) => None,
        }
    }

    pub(crate) fn heartbeat(&self, group: &str, peer: &Peer) -> Result<(), ResponseError> {
        self.with(|groups, now| groups.heartbeat(now, group, peer))
    }

    pub(crate) fn leave(&self, group: &str, id: &str, instance: Option<&str>) -> Result<(), ResponseError> {
        self.with(|groups, now| groups.leave(now, group, id, instance))
    }

    pub(crate) fn commit(
        &self,
        group: &str,
        peer: &Peer,
        offsets: Vec<(Partition, Committed)>,
    ) -> Result<(), ResponseError> {
        self.with(|groups, now| groups.commit(now, group, peer, offsets))
    }

    pub(crate) fn delete(&self, group: &str) -> Result<(), ResponseError> {
        self.with(|groups, _| groups.delete(group))
    }

    pub(crate) fn delete_offsets(&self, group: &str, partitions: &BTreeSet<Partition>) -> Result<(), ResponseError> {
        self.with(|groups, _| groups.delete_offsets(group, partitions))
    }

    pub(crate) fn forget_topic(&self, topic: &str) {
        self.with(|groups, _| groups.forget_topic(topic));
    }

    /// The offset that a group has committed; -1 when there is none.
    pub(crate) fn committed(&self, group: &str, topic: &str, partition: i32) -> i64 {
        let key = (topic.to_owned(), partition);
        self.look(|groups| {
            groups.get(group).and_then(|entry| entry.offsets.get(&key)).map_or(-1, |committed| committed.offset)
        })
    }

    /// The broker serves again after all connections were closed.
    pub(crate) fn reconnect(&self) {
        self.with(|groups, now| groups.reconnect(now));
    }

    /// Tells the groups the time whenever one of them has to know it. Never ends.
    pub(crate) async fn run(&self) {
        loop {
            let deadline = self.look(Groups::next_deadline).map(|deadline| self.since + deadline);
            let nearer = self.nearer.notified();
            match deadline {
                None => nearer.await,
                Some(deadline) => tokio::select! {
                    () = nearer => {}
                    () = tokio::time::sleep_until(deadline) => self.with(|groups, now| groups.tick(now)),
                },
            }
        }
    }
}
