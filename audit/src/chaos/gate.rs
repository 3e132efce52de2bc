//! Where a producer waits while nothing may be sent.

use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by a producer and whoever holds it up.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
    waiting: AtomicBool,
    done: AtomicBool,
}

impl Gate {
    /// Lets nothing through, or everything again.
    pub fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
    }

    /// Whether the producer has to wait, with everything acknowledged, and to connect anew afterwards.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The producer has begun to wait, with everything acknowledged, or has ceased to.
    pub fn wait(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
    }

    /// The producer sends nothing more.
    pub fn end(&self) {
        self.done.store(true, Ordering::SeqCst);
    }

    /// Whether nothing is being sent.
    pub fn is_quiet(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) || self.done.load(Ordering::SeqCst)
    }
}
