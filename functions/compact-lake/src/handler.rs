//! One invocation: from the event to the answer.

use std::time::{SystemTime, UNIX_EPOCH};

use centinela_domain::Millis;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_lake::compact::{Report, Request, Settings, compact};
use centinela_object_store::S3Lake;
use centinela_telemetry::emf::Metrics;
use sha2::{Digest, Sha256};
use tracing::info;

use crate::config;
use crate::metrics::Counts;

/// The function between two runs.
pub struct CompactLake {
    store: S3Lake,
    settings: Settings,
}

impl Function for CompactLake {
    type Config = Settings;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Settings> {
        config::read(environment)
    }

    async fn connect(settings: Settings) -> Result<Self, Error> {
        let store = S3Lake::from_environment(&settings.bucket).await?;
        Ok(Self { store, settings })
    }

    /// EventBridge delivers at least once, and a person may ask at the same time: of two runs one wins, hour by hour.
    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let request = Request::parse(invocation.payload())
            .map_err(|error| Failure::new("Centinela.RequestInvalid", "nothing was compacted", &error))?;
        let run = run_name(invocation.request_id());
        let deadline = invocation.deadline().work;
        let report = compact(&self.store, &self.settings, &request, &run, &now, deadline)
            .await
            .map_err(|error| Failure::new("Centinela.LakeUnavailable", "the hours cannot be listed", &error))?;
        info!(?report, "a run");
        Answer::of(&report, Metrics { counts: counts(&report), ..Metrics::default() })
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// No two runs have the same: a retried invocation has its first one's id.
fn run_name(request_id: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(request_id.as_bytes());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    hasher.update(since.as_nanos().to_be_bytes());
    hasher.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn counts(report: &Report) -> Counts {
    Counts {
        hours: report.hours,
        published: report.published,
        rows: report.rows,
        files: report.files,
        bytes: report.bytes,
        raw_objects: report.raw_objects,
        repeated: report.repeated_rows,
        erased: report.erased_rows,
        deleted: report.deleted,
        unreadable: report.unreadable,
        conflicts: report.conflicts,
        incomplete: report.incomplete,
        failed: report.failed,
        unfinished: report.unfinished,
    }
}
