//! How a reader is told that its topics change.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use centinela_local::platform::Cut;
use tokio::sync::oneshot;

/// A change to the topics while they are read.
pub(super) enum Change {
    /// The topic is about to be deleted: everything that is there now is to be read, and nothing more.
    Leave { topic: String, done: oneshot::Sender<()> },
    /// The topic was recreated.
    Restart { topic: String, partitions: usize },
    /// The topic has further partitions.
    Grow { topic: String, partitions: usize },
    /// Nothing more is to be read until it is to finish.
    Rest { done: oneshot::Sender<()> },
    /// The rest is to be read, up to the cuts where there are some, and nothing behind it.
    Finish { cuts: Vec<Cut>, limit: Duration },
}

/// Tells a reader how its topics change. The reader heeds changes in their order.
#[derive(Clone)]
pub struct ReadControl(Sender<Change>);

impl ReadControl {
    /// A control, and where its reader learns of changes.
    pub(super) fn new() -> (Self, Receiver<Change>) {
        let (tell, changes) = channel();
        (Self(tell), changes)
    }

    /// The topic is about to be deleted: waits until everything was read that is there now and it is left alone.
    ///
    /// # Errors
    /// When the reader has ended.
    pub async fn leave(&self, topic: &str) -> Result<(), oneshot::error::RecvError> {
        let (done, wait) = oneshot::channel();
        self.tell(Change::Leave { topic: topic.to_owned(), done });
        wait.await
    }

    /// The topic was recreated: it is read from its beginning.
    pub fn restart(&self, topic: &str, partitions: usize) {
        self.tell(Change::Restart { topic: topic.to_owned(), partitions });
    }

    /// The topic has this many partitions now.
    pub fn grow(&self, topic: &str, partitions: usize) {
        self.tell(Change::Grow { topic: topic.to_owned(), partitions });
    }

    /// Waits until nothing more is read before [`Reader::finish`](super::Reader::finish).
    ///
    /// # Errors
    /// When the reader has ended.
    pub async fn rest(&self) -> Result<(), oneshot::error::RecvError> {
        let (done, wait) = oneshot::channel();
        self.tell(Change::Rest { done });
        wait.await
    }

    pub(super) fn tell(&self, change: Change) {
        if self.0.send(change).is_err() {
            tracing::debug!("the reader has ended before a change of its topics");
        }
    }
}
