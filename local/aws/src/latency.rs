//! Calls that take as long as in AWS, so that figures from one machine are not a fairy tale.
//!
//! A call's time is drawn from a log-normal distribution through two quantiles and holds for the whole call: what the emulator
//! itself needs is part of it. An answer is never early; it can be late, when the emulator is slower than the draw, and by the
//! timer's step of a millisecond.

use std::f64::consts::TAU;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The 99 % quantile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;
/// Longest time that is drawn: a client of AWS has given up long before.
const LONGEST: Duration = Duration::from_secs(30);

/// What is wrong with a pair of quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the p50 of {p50:?} must be shorter than the p99 of {p99:?}, and longer than 0")]
pub struct LatencyError {
    p50: Duration,
    p99: Duration,
}

/// A distribution of times, the same for the same seed.
#[derive(Debug)]
pub struct Latency {
    mu: f64,
    sigma: f64,
    seed: u64,
    drawn: AtomicU64,
}

impl Latency {
    /// The log-normal distribution with this median and this 99 % quantile.
    ///
    /// # Errors
    /// When the median is 0 or not shorter than the other.
    pub fn new(p50: Duration, p99: Duration, seed: u64) -> Result<Self, LatencyError> {
        if p50.is_zero() || p99 <= p50 {
            return Err(LatencyError { p50, p99 });
        }
        let mu = p50.as_secs_f64().ln();
        Ok(Self { mu, sigma: (p99.as_secs_f64().ln() - mu) / Z99, seed, drawn: AtomicU64::new(0) })
    }

    /// The time of the next call.
    pub fn draw(&self) -> Duration {
        let place = self.drawn.fetch_add(1, Ordering::Relaxed);
        let uniform = |index: u64| {
            // 53 bits, never 0.
            let bits = mixed(self.seed ^ mixed(index)) >> 11;
            #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
            let bits = bits as f64;
            (bits + 0.5) / (1_u64 << 53) as f64
        };
        // Box and Muller, https://doi.org/10.1214/aoms/1177706645
        let normal = (-2.0 * uniform(2 * place).ln()).sqrt() * (TAU * uniform(2 * place + 1)).cos();
        Duration::from_secs_f64((self.mu + self.sigma * normal).exp().min(LONGEST.as_secs_f64()))
    }
}

/// The finaliser of SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Does the work, and answers not before its time is over.
pub(crate) async fn taking<T>(latency: Option<&Latency>, work: impl Future<Output = T>) -> T {
    let Some(latency) = latency else { return work.await };
    let due = tokio::time::Instant::now() + latency.draw();
    let outcome = work.await;
    tokio::time::sleep_until(due).await;
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    const P50: Duration = Duration::from_millis(5);
    const P99: Duration = Duration::from_millis(12);

    fn draws(seed: u64) -> Vec<Duration> {
        let latency = Latency::new(P50, P99, seed).expect("5 is less than 12");
        (0..100_000).map(|_| latency.draw()).collect()
    }

    #[test]
    fn the_quantiles_are_those_that_were_asked_for() {
        let mut times = draws(1);
        times.sort_unstable();
        for (quantile, wanted, tolerance) in [(50_000, P50, 0.02), (99_000, P99, 0.03)] {
            let ratio = times[quantile].as_secs_f64() / wanted.as_secs_f64();
            assert!((ratio - 1.0).abs() < tolerance, "{:?} instead of {wanted:?}", times[quantile]);
        }
        // A distribution, not a constant: a tenth is faster than 3.2 ms, and some are slower than 15.
        assert!(times[10_000] < Duration::from_micros(3_200), "{:?}", times[10_000]);
        assert!(times[99_990] > Duration::from_millis(15), "{:?}", times[99_990]);
    }

    #[test]
    fn the_seed_decides_the_times() {
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn quantiles_in_the_wrong_order_are_refused() {
        for (p50, p99) in [(P99, P50), (P50, P50), (Duration::ZERO, P50)] {
            assert_eq!(Latency::new(p50, p99, 1).map(|_| ()), Err(LatencyError { p50, p99 }));
        }
    }
}
