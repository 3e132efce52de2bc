//! A throttle: so many requests a second, and so many at once.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Tokens that come back with time.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    pub(crate) fn new(rate: f64, burst: f64, now: Instant) -> Self {
        let burst = burst.max(1.0);
        Self { rate: rate.max(0.0), burst, state: Mutex::new((burst, now)) }
    }

    /// Whether there is room for one request more.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = *state;
        let tokens = (tokens + now.saturating_duration_since(since).as_secs_f64() * self.rate).min(self.burst);
        let has_room = tokens >= 1.0;
        *state = (if has_room { tokens - 1.0 } else { tokens }, now.max(since));
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_served_and_then_the_rate() {
        let begin = Instant::now();
        let bucket = Bucket::new(10.0, 3.0, begin);
        let served = (0..5).filter(|_| bucket.take(begin)).count();
        assert_eq!(served, 3);
        assert!(!bucket.take(begin + Duration::from_millis(90)));
        assert!(bucket.take(begin + Duration::from_millis(110)));
        let later = begin + Duration::from_secs(60);
        assert_eq!((0..5).filter(|_| bucket.take(later)).count(), 3);
    }
}
