//! Exponential decay of counters. `exp2` comes from `libm` in Rust, because a platform's own differs in the last bit.

use crate::transaction::Millis;

pub(crate) const HOUR_MS: i64 = 3_600_000;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// What remains of 1 after `elapsed_ms` at the given half-life; 1 when no time has passed or time went backwards.
pub(crate) fn remaining(elapsed_ms: i64, half_life_ms: i64) -> f32 {
    if elapsed_ms <= 0 {
        return 1.0;
    }
    libm::exp2(-(elapsed_ms as f64) / half_life_ms as f64) as f32
}

/// The way between the newest time seen, as of which counters are kept, and the time of an event. Counters of one half-life share what
/// remains over it.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    elapsed_ms: i64,
}

impl Way {
    pub(crate) fn new(newest_at: Millis, at: Millis) -> Self {
        Self { elapsed_ms: at.since(newest_at) }
    }

    /// What a counter is to be multiplied with to be read at the event's time, never later than it was written.
    pub(crate) fn until_event(self, half_life_ms: i64) -> f32 {
        remaining(self.elapsed_ms, half_life_ms)
    }

    /// What remains of 1 from the earlier of the two times to the later.
    pub(crate) fn between(self, half_life_ms: i64) -> f32 {
        remaining(self.elapsed_ms.abs(), half_life_ms)
    }

    /// Adds the event's amount, where so much remains [`Way::between`]. A late event is added as what would remain of it, so the value
    /// does not depend on the order of arrival (beyond rounding).
    pub(crate) fn add(self, counter: &mut f32, remains: f32, amount: f32) {
        *counter = if self.elapsed_ms >= 0 { *counter * remains + amount } else { *counter + amount * remains };
    }
}

/// Inserts at the front or moves there; keeps at most `limit`. Returns whether the value was new.
pub(crate) fn remember(list: &mut Vec<u32>, value: u32, limit: usize) -> bool {
    let known = list.iter().position(|&entry| entry == value);
    if let Some(index) = known {
        list[..=index].rotate_right(1);
        return false;
    }
    list.insert(0, value);
    list.truncate(limit);
    true
}
