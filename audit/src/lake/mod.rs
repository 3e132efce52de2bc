//! The lake of a running system: has its open hours compacted, and compares what it holds with what was on the topics.
//!
//! It reads as any reader does: the manifest of an hour, then the files that it names. It shares no code with what writes them.

mod hours;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use centinela_local::platform::{Cut, Platform};
use centinela_verdict::{Found, Places};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::errors::one_line;
use crate::reader::PlacesByTopic;
use crate::tracker::DeadPlaces;

pub use hours::hours;

/// Tries of a compaction that fails, such as under kills.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(500);
/// The columns that every table begins with, and by topic the one that names a record.
const NAMES: [(&str, &str); 5] = [
    ("transactions", "transaction_id"),
    ("user_actions", "action_id"),
    ("events", "event_id"),
    ("approved", "decision_id"),
    ("blocked", "decision_id"),
];

/// Hours that a compaction left undone, as it says.
pub fn left(answer: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Left {
        #[serde(default)]
        conflicts: u64,
        #[serde(default)]
        incomplete: u64,
        #[serde(default)]
        failed: u64,
        #[serde(default)]
        unfinished: u64,
    }
    serde_json::from_slice(answer)
        .map_or(0, |left: Left| left.conflicts + left.incomplete + left.failed + left.unfinished)
}

/// Where the lake is, and who makes it.
#[derive(Clone, Debug)]
pub struct Lake {
    /// Its bucket.
    pub bucket: String,
    /// The function that archives topics.
    pub archive: String,
    /// The function that compacts hours.
    pub compaction: String,
}

/// What of one topic is in the lake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LakeCheck {
    /// Records on the topic.
    pub records: u64,
    /// Of these, neither in the lake nor dead-lettered.
    pub missing: u64,
    /// Rows about records that the lake has already.
    pub twice: u64,
    /// Rows that are not what was on the topic.
    pub wrong: u64,
    /// Compacted files of the hours of the run.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of the largest of them.
    pub bytes_max: u64,
}

impl Lake {
    /// Has hours of topics compacted now, whether they are closed or not.
    ///
    /// # Errors
    /// When every try fails, in the function's words.
    pub async fn compact(&self, platform: &Platform, topics: &[&str], hours: &[String]) -> Result<(), String> {
        let event = Bytes::from(json!({ "topics": topics, "hours": hours }).to_string());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let why = match platform.invoke(&self.compaction, event.clone()).await {
                Ok(answer) => match left(&answer) {
                    0 => return Ok(()),
                    hours => format!("{hours} hours are not complete"),
                },
                Err(error) => one_line(&error),
            };
            if attempt == TRIES {
                return Err(format!("the lake could not be compacted: {why}"));
            }
            tracing::info!(why, "a compaction failed and is tried again");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Compacts the hours of the run and compares every topic that is archived with its rows.
    pub(crate) async fn check(
        &self,
        platform: &Platform,
        cuts: &[Cut],
        places: &PlacesByTopic,
        dead: &DeadPlaces,
    ) -> Result<BTreeMap<String, LakeCheck>, String> {
        let mut checked = BTreeMap::new();
        for cut in cuts.iter().filter(|cut| cut.function == self.archive) {
            let Some(seen) = places.get(&cut.topic) else { continue };
            let of_run = seen.times().map(|(first, last)| hours(first, last)).unwrap_or_default();
            if !of_run.is_empty() {
                self.compact(platform, &[&cut.topic], &of_run).await?;
            }
            // To the topic's first cut, as its reader has read.
            let ends =
                cuts.iter().find(|first| first.topic == cut.topic).map_or(&cut.ends, |first| &first.ends).clone();
            let bounds = rows::Bounds { starts: platform.starts(&cut.topic).to_vec(), ends };
            let mut rows = Places::default();
            let mut check = LakeCheck::default();
            for hour in &of_run {
                for key in self.files(platform, &cut.topic, hour).await? {
                    let file = self.file(platform, &key).await?;
                    check.files += 1;
                    check.bytes += file.len() as u64;
                    check.bytes_max = check.bytes_max.max(file.len() as u64);
                    let name = NAMES.iter().find(|(topic, _)| *topic == cut.topic).map(|(_, column)| *column);
                    rows::read(file, name, &bounds, &mut rows)
                        .map_err(|error| format!("file {key} of the lake: {error}"))?;
                }
            }
            let none = Vec::new();
            let Found { records, missing, twice, wrong } = seen.compare(&rows, dead.get(&cut.topic).unwrap_or(&none));
            checked.insert(cut.topic.clone(), LakeCheck { records, missing, twice, wrong, ..check });
        }
        Ok(checked)
    }

    /// The files that an hour consists of; none of an hour without a manifest.
    async fn files(&self, platform: &Platform, topic: &str, hour: &str) -> Result<Vec<String>, String> {
        let (date, number) = hour.split_once('T').unwrap_or((hour, ""));
        let key = format!("manifests/{topic}/dt={date}/hour={number}/symlink.txt");
        let manifest = platform.object(&self.bucket, &key).await.map_err(|error| one_line(&error))?;
        let Some(manifest) = manifest else { return Ok(Vec::new()) };
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        let prefix = format!("s3://{}/", self.bucket);
        let lines = manifest.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                let key = line.strip_prefix(&prefix).map(str::to_owned);
                key.ok_or_else(|| format!("a manifest of the lake names {line}, which is not in its bucket"))
            })
            .collect()
    }

    async fn file(&self, platform: &Platform, key: &str) -> Result<Bytes, String> {
        let file = platform.object(&self.bucket, key).await.map_err(|error| one_line(&error))?;
        file.ok_or_else(|| format!("file {key} of the lake is named by a manifest and is not there"))
    }
}
