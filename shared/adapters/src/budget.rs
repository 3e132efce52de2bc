//! Time that is left, and pauses that stay inside it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_domain::Millis;

/// The first pause between attempts is a random part of this; it doubles with each attempt.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
/// No pause is longer than this.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Milliseconds since 1970.
pub(crate) fn wall_clock() -> Millis {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// A random part of `at_most`.
pub(crate) fn random_part(at_most: Duration) -> Duration {
    // Every `RandomState` has other keys, so the hash of nothing is a fresh random number.
    let random = RandomState::new().build_hasher().finish() >> 11;
    at_most.mul_f64(random as f64 / (1u64 << 53) as f64)
}

/// Time until a deadline, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    ends: Instant,
}

impl Budget {
    /// Until a wall-clock deadline.
    pub(crate) fn until(deadline: Millis) -> Self {
        let left_ms = deadline.since(wall_clock()).max(0).unsigned_abs();
        Self::of(Duration::from_millis(left_ms))
    }

    /// This long from now.
    pub(crate) fn of(duration: Duration) -> Self {
        let now = Instant::now();
        Self { ends: now.checked_add(duration).unwrap_or_else(|| now + Duration::from_secs(86_400)) }
    }

    /// The earlier of both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { ends: self.ends.min(other.ends) }
    }

    /// What is left, none when nothing is.
    pub(crate) fn left(self) -> Option<Duration> {
        Some(self.ends.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Waits before attempt `attempt + 1`, counted from 1. Returns whether there is time for that attempt.
    pub(crate) async fn pause_after(self, attempt: u32) -> bool {
        let at_most = PAUSE_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(8)).min(PAUSE_MAX);
        let pause = random_part(at_most);
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

    #[test]
    fn a_random_part_is_below_the_whole_and_not_always_the_same() {
        let whole = Duration::from_secs(1);
        let parts: Vec<Duration> = (0..32).map(|_| random_part(whole)).collect();
        assert!(parts.iter().all(|part| *part < whole));
        assert!(parts.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[tokio::test]
    async fn there_is_no_further_attempt_when_no_time_is_left() {
        assert!(!Budget::until(Millis(0)).pause_after(1).await);
        assert!(Budget::of(Duration::from_secs(60)).pause_after(1).await);
    }
}
