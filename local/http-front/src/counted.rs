//! What was asked of each API, as API Gateway counts it.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

/// Latencies that are kept for whoever takes them; later ones are only added up.
const LATENCIES_KEPT_MAX: usize = 16 * 1024;

/// What was asked of an API since somebody looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiCounts {
    /// Requests.
    pub requests: u64,
    /// Those answered with 400 to 499.
    pub errors_4xx: u64,
    /// Those answered with 500 and more.
    pub errors_5xx: u64,
    /// How long each took, in milliseconds; of very many, those of the first.
    pub latencies_ms: Vec<f64>,
}

/// Counts by API.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<BTreeMap<String, ApiCounts>>);

impl Counted {
    /// A request was answered.
    pub(crate) fn answered(&self, api: &str, status: StatusCode, took: Duration) {
        let mut all = self.lock();
        if !all.contains_key(api) {
            all.insert(api.to_owned(), ApiCounts::default());
        }
        let Some(counts) = all.get_mut(api) else { return };
        counts.requests += 1;
        counts.errors_4xx += u64::from(status.is_client_error());
        counts.errors_5xx += u64::from(status.is_server_error());
        if counts.latencies_ms.len() < LATENCIES_KEPT_MAX {
            counts.latencies_ms.push(took.as_secs_f64() * 1_000.0);
        }
    }

    /// What was counted since the last call, by API.
    pub(crate) fn take(&self) -> BTreeMap<String, ApiCounts> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ApiCounts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_api_and_class_until_somebody_takes_the_counts() {
        let counted = Counted::default();
        for (api, status) in [("a", 200), ("a", 404), ("a", 429), ("a", 503), ("b", 500)] {
            counted.answered(api, StatusCode::from_u16(status).unwrap(), Duration::from_millis(7));
        }
        let taken = counted.take();
        let counts = |api: &str| (taken[api].requests, taken[api].errors_4xx, taken[api].errors_5xx);
        assert_eq!((counts("a"), counts("b")), ((4, 2, 1), (1, 0, 1)));
        assert_eq!(taken["a"].latencies_ms.len(), 4);
        assert!(counted.take().is_empty());
    }
}
