//! What functions make of the stream of decisions: the index of decisions by transaction, and the roll-ups of windows.
//!
//! The stream is read beside the mappings, as another consumer; what is expected of a window is the fold of its decisions, each counted
//! once. What is expected of all windows together is the fold of the topics, and once more of what came again in another window.

mod checks;
mod fold;

use std::collections::BTreeMap;
use std::time::Duration;

use centinela_local::aws::StreamReader;
use centinela_local::platform::Platform;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use checks::{IndexSum, Indexed, RolledUp, StreamChecks, check};
pub use fold::StreamFold;

/// Records that are read at a time.
const PAGE_RECORDS: usize = 1_000;
/// Between two looks: what was written meanwhile is read together.
const PACE: Duration = Duration::from_millis(200);
/// What the reader is called.
const NAME: &str = "the audit";

/// The stream that functions read, and the tables that they make of it.
#[derive(Clone, Debug)]
pub struct StreamNames {
    /// The stream.
    pub stream: String,
    /// The table of decisions by transaction, where a function fills it.
    pub decisions: Option<String>,
    /// The table of roll-ups and the length of a window, where a function fills it.
    pub metrics: Option<(String, Duration)>,
}

/// Reads a stream until it is told to finish.
pub struct StreamWatch {
    finish: CancellationToken,
    task: JoinHandle<StreamFold>,
}

impl StreamWatch {
    /// Begins at the first record of this run. None where the stream is external, or there is nothing to compare it with.
    pub fn start(platform: &Platform, names: &StreamNames) -> Option<Self> {
        let reader = platform.stream_reader(&names.stream, NAME)?;
        let window = names.metrics.as_ref().map_or(Duration::from_secs(10), |(_, window)| *window);
        let finish = CancellationToken::new();
        let before = platform.stream_start(&names.stream).into_iter().flatten();
        let before = before.filter_map(|(shard, newest)| Some((shard.clone(), newest.clone()?))).collect();
        let task = tokio::spawn(read(reader, before, StreamFold::new(window), finish.clone()));
        Some(Self { finish, task })
    }

    /// Reads what is there still, and returns what everything came to.
    ///
    /// # Errors
    /// When the task ended by a panic.
    pub async fn finish(self) -> Result<StreamFold, String> {
        self.finish.cancel();
        self.task.await.map_err(|error| format!("the reader of the stream ended: {error}"))
    }
}

/// `places` has by shard the newest record that was read already.
async fn read(
    reader: StreamReader,
    mut places: BTreeMap<String, String>,
    mut fold: StreamFold,
    finish: CancellationToken,
) -> StreamFold {
    loop {
        let is_last_look = finish.is_cancelled();
        for shard in reader.shards().unwrap_or_default() {
            while read_page(&reader, &shard.id, &mut places, &mut fold) {
                tokio::task::yield_now().await;
            }
        }
        if is_last_look {
            return fold;
        }
        tokio::select! {
            () = finish.cancelled() => {}
            () = tokio::time::sleep(PACE) => {}
        }
    }
}

/// Whether there may be more.
fn read_page(reader: &StreamReader, shard: &str, places: &mut BTreeMap<String, String>, fold: &mut StreamFold) -> bool {
    let place = places.get(shard).map(String::as_str);
    let Some(page) = reader.read(shard, place, PAGE_RECORDS) else { return false };
    if page.is_gap && place.is_some() {
        fold.missed();
    }
    let count = page.records.len();
    for record in &page.records {
        fold.take(shard, record);
    }
    if let Some(last) = page.records.last() {
        reader.handled(shard, &last.sequence_number);
        places.insert(shard.to_owned(), last.sequence_number.clone());
    }
    count == PAGE_RECORDS
}
