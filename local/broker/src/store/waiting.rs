//! Fetches that wait for records: each is woken once, when there is enough for it, and by nothing that comes to other partitions.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::log::Log;
use super::topics::locked;

/// A fetch that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Bytes that have to come yet, to any of its partitions.
    missing: AtomicI64,
    woken: Notify,
}

impl Waiting {
    /// So many bytes came to one of its partitions; says whether it waits on.
    pub(super) fn takes(&self, bytes: u64) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let waits = self.missing.fetch_sub(bytes, Ordering::Relaxed) > bytes;
        if !waits {
            self.woken.notify_one();
        }
        waits
    }

    /// It is to look again.
    pub(super) fn wake(&self) {
        self.woken.notify_one();
    }
}

/// A fetch in the queues of its partitions, until it is dropped.
pub(crate) struct Queued<'a> {
    fetch: Arc<Waiting>,
    logs: Vec<&'a Mutex<Log>>,
}

impl<'a> Queued<'a> {
    /// A fetch that waits for so many bytes.
    pub(crate) fn new(bytes: i32) -> Self {
        let fetch = Waiting { missing: AtomicI64::new(bytes.into()), woken: Notify::new() };
        Self { fetch: Arc::new(fetch), logs: Vec::new() }
    }

    /// Counts what a partition holds from an offset on, and waits for more of it where that is not enough. Says whether it waits: it does
    /// not where a fetch may not start at this offset.
    pub(crate) fn at(&mut self, log: &'a Mutex<Log>, offset: i64) -> bool {
        let mut held = locked(log);
        let enough = u64::try_from(self.fetch.missing.load(Ordering::Relaxed)).unwrap_or(0);
        let waits = held.has(offset) && self.fetch.takes(held.bytes_from(offset, enough));
        if waits {
            held.queue(Arc::clone(&self.fetch));
            self.logs.push(log);
        }
        waits
    }

    /// Waits until it is worth to look again.
    pub(crate) async fn woken(&self) {
        self.fetch.woken.notified().await;
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.logs.iter().for_each(|log| locked(log).leave_queue(&self.fetch));
    }
}
