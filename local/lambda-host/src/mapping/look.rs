//! When something is asked again.

use std::time::{Duration, Instant};

/// A question that is asked again and again, never twice at a time.
pub(super) struct Look {
    not_before: Instant,
    asked: bool,
}

impl Look {
    pub(super) fn due_in(pause: Duration) -> Look {
        Look { not_before: Instant::now() + pause, asked: false }
    }

    /// Whether it is to be asked now; then it counts as asked.
    pub(super) fn begin(&mut self) -> bool {
        let begins = !self.asked && self.not_before <= Instant::now();
        self.asked |= begins;
        begins
    }

    /// When it is due; none while an answer is awaited.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.asked).then_some(self.not_before)
    }
}
