//! Decisions in the lake, for what their topics do not keep any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_domain::{DecisionId, Millis};
use centinela_lake::decided::{self, Hours};
use centinela_lake::hour::Hour;
use centinela_object_store::S3Lake;
use centinela_redrive::{Found, PortError};

use crate::found::{self, CLOCKS_DIFFER_MS};

/// How long a question to the lake may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The lake's bucket.
#[derive(Clone)]
pub struct Lake {
    /// The bucket.
    pub store: S3Lake,
    /// Its name, which stands in the manifests.
    pub bucket: String,
}

impl Lake {
    /// Which of these decisions are in the hours from one time to another. A question takes some minutes at most, and ends before
    /// `deadline`.
    pub(crate) async fn search(
        &self,
        wanted: &BTreeSet<DecisionId>,
        (from, to): (Millis, Millis),
        deadline: Option<Millis>,
    ) -> Result<BTreeMap<DecisionId, Found>, PortError> {
        let names: BTreeSet<String> = wanted.iter().map(DecisionId::to_string).collect();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + PATIENCE;
        let patience = Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let deadline = deadline.map_or(patience, |deadline| deadline.min(patience));
        let found = decided::find(&self.store, &self.bucket, &names, hours(from, to), deadline).await;
        let found = found.map_err(|error| PortError::new("looking for decisions in the lake", error))?;
        let found = found.into_iter().filter_map(|(name, amount)| Some((found::parse(&name)?, Found { amount })));
        Ok(found.collect())
    }
}

/// A decision stands in the hour of its broker's time, and that clock may be behind the one that wrote the record.
fn hours(from: Millis, to: Millis) -> Hours {
    let beside = |time: Millis, by: i64| Hour::of(Millis(time.0.saturating_add(by)));
    Hours { from: beside(from, -CLOCKS_DIFFER_MS), to: beside(to, CLOCKS_DIFFER_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_of_a_broker_whose_clock_is_behind_is_looked_for_in_the_hour_before() {
        const HOUR_MS: i64 = 3_600_000;
        let of_record = Millis(498_710 * HOUR_MS + 5_000);
        let decided = Millis(of_record.0 - 20_000);
        let asked = hours(of_record, Millis(of_record.0 + HOUR_MS));
        assert_eq!((asked.from, asked.to), (Hour::of(decided), Hour::of(Millis(of_record.0 + HOUR_MS))));
        assert_eq!(hours(decided, decided).to, Hour::of(of_record));
    }
}
