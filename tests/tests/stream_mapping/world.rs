//! A stream whose arrival times a test decides, and a host, for one mapping.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use centinela_e2e::fixture::Fixture;
use centinela_local::mapping::stream::{
    Page, Place, ShardInfo, StreamMapping, StreamMappingSpec, StreamRecord, StreamSource, StreamUnreadable,
};
use tokio::sync::watch;

pub const PATIENCE: Duration = Duration::from_secs(60);
/// Years ago: every window is over.
pub const LONG_AGO_MS: u64 = 1_600_000_000_000;

#[derive(Default)]
struct Shard {
    records: Vec<StreamRecord>,
    parents: Vec<String>,
    is_closed: bool,
}

#[derive(Default)]
struct Shards {
    shards: BTreeMap<String, Shard>,
    sequence: u64,
    handled: BTreeMap<String, String>,
}

/// A stream in a test's hands.
pub struct Scripted {
    shards: Mutex<Shards>,
    written: watch::Sender<u64>,
}

impl Scripted {
    pub fn new(shards: &[&str]) -> Arc<Self> {
        let shards = shards.iter().map(|id| ((*id).to_owned(), Shard::default())).collect();
        let shards = Shards { shards, ..Shards::default() };
        Arc::new(Self { shards: Mutex::new(shards), written: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Shards> {
        self.shards.lock().expect("nobody panics with it")
    }

    pub fn put_at(&self, shard: &str, arrived_ms: u64, values: &[&str]) {
        let mut shards = self.lock();
        for value in values {
            shards.sequence += 1;
            let record = StreamRecord {
                sequence_number: format!("{:056}", shards.sequence),
                partition_key: "a key".to_owned(),
                data_base64: base64_simd::STANDARD.encode_to_string(value),
                arrived_ms,
            };
            shards.shards.get_mut(shard).expect("the shard is there").records.push(record);
        }
        drop(shards);
        self.written.send_modify(|version| *version += 1);
    }

    pub fn put(&self, shard: &str, values: &[&str]) {
        self.put_at(shard, LONG_AGO_MS, values);
    }

    /// Closes a shard and opens others in its place.
    pub fn reshape(&self, closed: &[&str], opened: &[&str]) {
        let mut shards = self.lock();
        for id in closed {
            shards.shards.get_mut(*id).expect("the shard is there").is_closed = true;
        }
        let parents: Vec<String> = closed.iter().map(|id| (*id).to_owned()).collect();
        for id in opened {
            shards.shards.insert((*id).to_owned(), Shard { parents: parents.clone(), ..Shard::default() });
        }
        drop(shards);
        self.written.send_modify(|version| *version += 1);
    }

    /// The number of the newest record that was handled.
    pub fn handled(&self, shard: &str) -> Option<u64> {
        self.lock().handled.get(shard).and_then(|number| number.parse().ok())
    }
}

fn is_behind(record: &StreamRecord, place: &Place) -> bool {
    match place {
        Place::Oldest => true,
        Place::After(number) => record.sequence_number > *number,
    }
}

impl StreamSource for Scripted {
    fn shards(&self) -> Result<Vec<ShardInfo>, StreamUnreadable> {
        let shards = self.lock();
        let info = |(id, shard): (&String, &Shard)| ShardInfo {
            id: id.clone(),
            parents: shard.parents.clone(),
            newest: shard.records.last().map(|record| record.sequence_number.clone()),
        };
        Ok(shards.shards.iter().map(info).collect())
    }

    fn read(&self, shard: &str, from: &Place, limit: usize) -> Result<Page, StreamUnreadable> {
        let shards = self.lock();
        let shard = shards.shards.get(shard).ok_or_else(|| StreamUnreadable("no such shard".to_owned()))?;
        let left: Vec<_> = shard.records.iter().filter(|record| is_behind(record, from)).collect();
        let is_last = shard.is_closed && left.len() <= limit;
        Ok(Page { records: left.into_iter().take(limit).cloned().collect(), is_last, lost: 0 })
    }

    fn behind(&self, shard: &str, from: &Place) -> u64 {
        let shards = self.lock();
        let shard = shards.shards.get(shard);
        shard.map_or(0, |shard| shard.records.iter().filter(|record| is_behind(record, from)).count() as u64)
    }

    fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    fn handled(&self, shard: &str, sequence_number: &str) {
        self.lock().handled.insert(shard.to_owned(), sequence_number.to_owned());
    }
}

pub fn spec() -> StreamMappingSpec {
    StreamMappingSpec {
        report_batch_item_failures: true,
        bisect_batch_on_function_error: true,
        ..StreamMappingSpec::new("fixture", "decisions")
    }
}

pub fn windowed() -> StreamMappingSpec {
    StreamMappingSpec { tumbling_window: Some(Duration::from_secs(10)), ..spec() }
}

pub struct World {
    pub stream: Arc<Scripted>,
    pub fixture: Fixture,
    pub mapping: Arc<StreamMapping>,
}

impl World {
    pub async fn start(stream: Arc<Scripted>, spec: StreamMappingSpec) -> Self {
        Self::start_with(stream, spec, &[]).await
    }

    pub async fn start_with(stream: Arc<Scripted>, spec: StreamMappingSpec, variables: &[(&str, &str)]) -> Self {
        let fixture = Fixture::start_with(Duration::from_secs(30), 4, variables).await;
        let source: Arc<dyn StreamSource> = Arc::clone(&stream) as _;
        let mapping = StreamMapping::start(spec, source, Arc::clone(&fixture.host)).expect("the mapping starts");
        Self { stream, fixture, mapping }
    }

    /// Everything is handled, and no window is open.
    pub async fn drain(&self) {
        let cut = self.mapping.cut().expect("the stream is there");
        self.mapping.drain_to(&cut, PATIENCE).await.expect("it is handled");
    }

    /// The values that were handled, in order, of a shard.
    pub fn handled(&self, shard: &str) -> Vec<String> {
        self.fixture.handled().into_iter().filter(|entry| entry.0 == shard).map(|entry| entry.2).collect()
    }

    pub async fn finish(self) {
        self.mapping.stop().await;
        self.fixture.host.stop(Duration::from_secs(5)).await;
        assert!(self.fixture.host.environments().is_empty());
    }
}
