//! Attempts until a deadline.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_domain::Millis;

/// The first pause between attempts is a random part of this; it doubles with each attempt. S3 asks for longer ones than DynamoDB: a
/// prefix that is too hot is split in minutes.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// No pause is longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Time until a deadline, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    ends: Instant,
}

impl Patience {
    /// Until a wall-clock deadline.
    pub fn until(deadline: Millis) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX));
        let left = Duration::from_millis(deadline.since(now).max(0).unsigned_abs());
        let start = Instant::now();
        Self { ends: start.checked_add(left).unwrap_or_else(|| start + Duration::from_secs(86_400)) }
    }

    /// The same, and no longer than `limit` from now.
    #[must_use]
    pub fn at_most(self, limit: Duration) -> Self {
        Self { ends: Instant::now().checked_add(limit).map_or(self.ends, |ends| ends.min(self.ends)) }
    }

    /// What is left, none when nothing is.
    pub fn left(self) -> Option<Duration> {
        Some(self.ends.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Waits before attempt `attempt + 1`, counted from 1. Returns whether there is time for that attempt.
    pub async fn pause_after(self, attempt: u32) -> bool {
        let at_most = PAUSE_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(8)).min(PAUSE_MAX);
        // Every `RandomState` has other keys, so the hash of nothing is a fresh random number.
        let random = RandomState::new().build_hasher().finish() >> 11;
        let pause = at_most.mul_f64(random as f64 / (1u64 << 53) as f64);
        match self.left() {
            Some(left) if pause < left => tokio::time::sleep(pause).await,
            _ => return false,
        }
        self.left().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_is_no_further_attempt_when_no_time_is_left() {
        assert!(!Patience::until(Millis(0)).pause_after(1).await);
        assert!(Patience::until(Millis(i64::MAX)).pause_after(1).await);
        assert!(!Patience::until(Millis(i64::MAX)).at_most(Duration::ZERO).pause_after(1).await);
        assert!(!Patience::until(Millis(0)).at_most(Duration::from_secs(9)).pause_after(1).await);
    }
}
