//! Decisions in the lake, for what their topics do not keep any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_domain::{DecisionId, Millis};
use centinela_lake::decided::{self, Hours};
use centinela_lake::hour::Hour;
use centinela_object_store::S3Lake;
use centinela_redrive::{Found, PortError};

use crate::found;

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
    /// Which of these decisions are in the hours from one time to another.
    pub(crate) async fn search(
        &self,
        wanted: &BTreeSet<DecisionId>,
        from: Millis,
        to: Millis,
    ) -> Result<BTreeMap<DecisionId, Found>, PortError> {
        let names: BTreeSet<String> = wanted.iter().map(DecisionId::to_string).collect();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + PATIENCE;
        let deadline = Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let hours = Hours { from: Hour::of(from), to: Hour::of(to) };
        let found = decided::find(&self.store, &self.bucket, &names, hours, deadline).await;
        let found = found.map_err(|error| PortError::new("looking for decisions in the lake", error))?;
        let found = found.into_iter().filter_map(|(name, amount)| Some((found::parse(&name)?, Found { amount })));
        Ok(found.collect())
    }
}
