//! Compaction: the raw objects of a topic's hour become few sorted files with every record once, and the manifest says so.
//!
//! The unit of work is a slice of an hour's partitions. A run makes new files under names of its own, then puts the hour's state on the
//! condition that it is the one it started from, then the manifest. So whatever is cut short leaves files that nobody refers to, which
//! a later run deletes, and of two runs at once one wins. What is superseded stays for a grace time: a reader may hold the old manifest.

mod erased;
mod hour;
mod merge;
mod request;
mod search;

use std::time::Duration;

use centinela_domain::Millis;
use serde::Serialize;
use tracing::{error, warn};

pub use erased::Erased;
pub use hour::{HourError, Outcome};
pub use merge::MergeError;
pub use request::{InvalidRequest, Request, SHARES_MAX};
use search::Search;

use crate::hour::Hour;
use crate::keys::{manifest_prefix, raw_prefix};
use crate::store::{ObjectStore, StoreError};
use crate::table::Table;

/// The time that is left when no further hour is begun, as a part of what there was: one hour may take a while.
const RESERVE: u32 = 4;

/// How to compact.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bucket's name, as manifests spell it.
    pub bucket: String,
    /// Into how many slices an hour that is new is divided. More slices let more invocations share an hour.
    pub slices: u32,
    /// How many runs of a schedule share the hours, by the minute at which each is due; 1 to [`SHARES_MAX`].
    pub shares: u32,
    /// How long after its end an hour is taken up: what arrives later makes it be done again.
    pub close_after: Duration,
    /// How long what is superseded stays. Longer than any query and any run.
    pub grace: Duration,
    /// A file that is larger is closed.
    pub file_bytes_max: usize,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Hours that were looked at.
    pub hours: u64,
    /// Of these, those whose manifest is new.
    pub published: u64,
    /// Slices that were made.
    pub slices: u64,
    /// Rows in their files.
    pub rows: u64,
    /// Their files.
    pub files: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Raw objects whose rows went into them.
    pub raw_objects: u64,
    /// Rows that were there more than once.
    pub repeated_rows: u64,
    /// Rows of erased users that were left out.
    pub erased_rows: u64,
    /// Objects that nobody needs any more and that were deleted.
    pub deleted: u64,
    /// Raw objects that cannot be read and whose rows no other object has.
    pub unreadable: u64,
    /// Hours that another run had changed meanwhile; that run, or the next one, completes them.
    pub conflicts: u64,
    /// Hours that are not complete: a slice is missing, or an object is waited for.
    pub incomplete: u64,
    /// Hours that failed; the log says why, and the next run tries again.
    pub failed: u64,
    /// Hours for which there was no time.
    pub unfinished: u64,
}

/// A time source: a lake has no clock of its own.
pub trait Now: Fn() -> Millis + Sync {}
impl<F: Fn() -> Millis + Sync> Now for F {}

/// Compacts what a request names.
///
/// # Errors
/// When not even the hours can be listed. What happens to one hour is counted and logged, and never stops another.
pub async fn compact(
    store: &impl ObjectStore,
    settings: &Settings,
    request: &Request,
    run: &str,
    now: &impl Now,
    deadline: Millis,
) -> Result<Report, StoreError> {
    let started = now();
    let reserve = deadline.since(started).max(0) / i64::from(RESERVE);
    let erased = Erased::listed(store, deadline).await?;
    let mut report = Report::default();
    for table in request.tables() {
        let run = Run { store, settings, request, table, erased: &erased, run, deadline, stop_at: reserve };
        run.table(now, &mut report).await?;
    }
    if report.unfinished > 0 {
        warn!(hours = report.unfinished, "there was no time for some hours; the next run goes on");
    }
    Ok(report)
}

/// A run over one topic.
struct Run<'a, S> {
    store: &'a S,
    settings: &'a Settings,
    request: &'a Request,
    table: Table,
    erased: &'a Erased,
    run: &'a str,
    deadline: Millis,
    /// With less time left, in milliseconds, no hour is begun.
    stop_at: i64,
}

impl<S: ObjectStore> Run<'_, S> {
    async fn table(&self, now: &impl Now, report: &mut Report) -> Result<(), StoreError> {
        let searches = self.request.looks_for_erased() && !self.erased.is_empty();
        let search = match searches {
            true => Some(Search::load(self.store, self.table, self.erased, self.deadline).await?),
            false => None,
        };
        let search = search.filter(|search| !search.is_complete());
        let hours = self.hours(search.as_ref(), now()).await?;
        let (mut done, mut complete) = (None, true);
        for hour in hours {
            let is_done = self.hour(hour, now, report).await;
            complete &= is_done;
            done = if complete { Some(hour) } else { done };
        }
        match search {
            Some(search) => search.note(self.store, self.table, done, complete, self.deadline).await,
            None => Ok(()),
        }
    }

    /// Compacts an hour; says whether nothing is left to do.
    async fn hour(&self, hour: Hour, now: &impl Now, report: &mut Report) -> bool {
        if self.deadline.since(now()) < self.stop_at {
            report.unfinished += 1;
            return false;
        }
        report.hours += 1;
        let Self { store, settings, request, table, erased, run, deadline, .. } = *self;
        let one = hour::OneHour { store, settings, table, hour, request, erased, run, deadline };
        match Box::pin(one.compact(now)).await {
            Ok(outcome) => {
                report.add(&outcome);
                !outcome.conflict && !outcome.incomplete
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                error!(error, topic = table.topic(), %hour, "an hour was not compacted");
                report.failed += 1;
                false
            }
        }
    }

    /// The hours to look at, the oldest first.
    async fn hours(&self, search: Option<&Search>, now: Millis) -> Result<Vec<Hour>, StoreError> {
        if let Some(hours) = self.request.hours() {
            return Ok(hours.to_vec());
        }
        let mut hours = self.under(&raw_prefix(self.table)).await?;
        if let Some(search) = search {
            let all = self.under(&manifest_prefix(self.table)).await?;
            hours.extend(all.into_iter().filter(|hour| !search.is_behind(*hour)));
        }
        let grace_ms = i64::try_from(self.settings.close_after.as_millis()).unwrap_or(i64::MAX);
        hours.retain(|hour| self.request.takes_open_hours() || now.since(hour.end()) >= grace_ms);
        hours.sort_unstable();
        hours.dedup();
        Ok(hours)
    }

    /// The hours that have objects below a prefix.
    async fn under(&self, prefix: &str) -> Result<Vec<Hour>, StoreError> {
        let mut hours = Vec::new();
        for day in self.store.folders(prefix, self.deadline).await? {
            let found = self.store.folders(&day, self.deadline).await?;
            hours.extend(found.iter().filter_map(|folder| Hour::of_folder(folder.strip_prefix(prefix)?)));
        }
        Ok(hours)
    }
}

impl Report {
    fn add(&mut self, outcome: &Outcome) {
        let Outcome { published, slices, rows, files, bytes, raw_objects, repeated_rows, .. } = outcome;
        let Outcome { erased_rows, deleted, unreadable, conflict, incomplete, .. } = outcome;
        self.published += u64::from(*published);
        self.slices += slices;
        self.rows += rows;
        self.files += files;
        self.bytes += bytes;
        self.raw_objects += raw_objects;
        self.repeated_rows += repeated_rows;
        self.erased_rows += erased_rows;
        self.deleted += deleted;
        self.unreadable += unreadable;
        self.conflicts += u64::from(*conflict);
        self.incomplete += u64::from(*incomplete);
    }
}
