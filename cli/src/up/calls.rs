//! Which function called what, for the roles of the stacks: in the words of `infra/calls/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use centinela_infra::Infrastructure;
use centinela_local::Calls;

use super::endpoints;
use crate::failure::Failure;

/// What is noted of a run, and where it goes.
pub(super) struct Recording {
    /// Handed to the platform.
    pub(super) calls: Calls,
    file: Option<PathBuf>,
    functions: BTreeSet<String>,
    /// Logical ids by name: a bucket has another name in each environment.
    buckets: BTreeMap<String, String>,
}

impl Recording {
    pub(super) fn new(file: Option<&PathBuf>, infrastructure: &Infrastructure) -> Self {
        let functions = infrastructure.functions.iter().map(|function| function.name.clone()).collect();
        let buckets = infrastructure.buckets.iter().map(|bucket| (bucket.name.clone(), bucket.logical_id.clone()));
        let calls = if file.is_some() { Calls::noted() } else { Calls::default() };
        Self { calls, file: file.cloned(), functions, buckets: buckets.collect() }
    }

    /// Writes the file, where one is asked for.
    pub(super) fn write(&self) -> Result<(), Failure> {
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |error| Failure::Failed(format!("the calls cannot be written to {}: {error}", file.display()));
        endpoints::write_json(file, &self.by_function()).map_err(failed)
    }

    /// Other callers, such as those who look at what the run does, are left out.
    fn by_function(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut found: BTreeMap<&str, BTreeSet<String>> =
            self.functions.iter().map(|function| (function.as_str(), BTreeSet::new())).collect();
        for called in self.calls.all() {
            if let Some(calls) = found.get_mut(called.caller.as_str()) {
                calls.insert(format!("{} {}", called.action, self.by_logical_id(&called.on)));
            }
        }
        found
    }

    fn by_logical_id(&self, on: &str) -> String {
        let Some(rest) = on.strip_prefix("bucket/") else { return on.to_owned() };
        let (bucket, behind) =
            rest.split_once('/').map_or((rest, String::new()), |(name, key)| (name, format!("/{key}")));
        let id = self.buckets.get(bucket).map_or(bucket, String::as_str);
        format!("bucket/{id}{behind}")
    }
}
