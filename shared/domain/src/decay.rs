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

/// A counter kept at the newest time seen. A late event is added as what would remain of it, so the value does not depend on
/// the order of arrival (beyond rounding).
pub(crate) fn add(counter: f32, newest_at: Millis, at: Millis, half_life_ms: i64, amount: f32) -> f32 {
    let elapsed_ms = at.since(newest_at);
    if elapsed_ms >= 0 {
        counter * remaining(elapsed_ms, half_life_ms) + amount
    } else {
        counter + amount * remaining(-elapsed_ms, half_life_ms)
    }
}

/// The counter as seen at `at`, never later than it was written.
pub(crate) fn read(counter: f32, newest_at: Millis, at: Millis, half_life_ms: i64) -> f32 {
    counter * remaining(at.since(newest_at), half_life_ms)
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
