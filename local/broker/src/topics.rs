//! The broker's topics and their logs.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tansu_sans_io::{ErrorCode, FetchRequest};
use tansu_storage::{Error, Result, Topition};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::config::{BrokerConfig, Extent};
use super::log::Log;
use super::retention::Retention;

const TIMESTAMP_TYPE: &str = "message.timestamp.type";

#[derive(Debug)]
struct Topic {
    id: Uuid,
    settings: HashMap<String, String>,
    append_time: bool,
    /// Every batch is refused, as by a partition with too few replicas in sync.
    refusing: bool,
    /// It was said that the disk is full of what must not go.
    is_full_said: bool,
    partitions: Vec<Arc<Mutex<Log>>>,
}

/// Where logs are kept, and how much of them.
#[derive(Debug)]
struct Disk {
    directory: Arc<Path>,
    bytes_per_topic: u64,
    kept_for: BTreeMap<String, String>,
}

impl Disk {
    fn retention(&self, settings: &HashMap<String, String>, partitions: usize) -> Retention {
        let share = self.bytes_per_topic / partitions.max(1) as u64;
        Retention::new(|name| settings.get(name).map(String::as_str), share)
    }
}

/// All topics by name.
#[derive(Debug)]
pub(super) struct Topics {
    disk: Disk,
    topics: Mutex<HashMap<String, Topic>>,
    /// Some topic has more partitions than the broker's own storage knows.
    grown: AtomicBool,
    /// Told whenever there is something new for a fetch that waits.
    changed: Notify,
}

impl Topics {
    pub(super) fn new(directory: Arc<Path>, config: &BrokerConfig) -> Self {
        let (bytes_per_topic, kept_for) = (config.disk_bytes_per_topic, config.kept_for.clone());
        Self {
            disk: Disk { directory, bytes_per_topic, kept_for },
            topics: Mutex::default(),
            grown: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// Takes a topic that was created, or created anew.
    pub(super) fn add(&self, name: String, id: Uuid, settings: HashMap<String, String>, partitions: usize) {
        let partitions = self.logs(partitions).collect();
        let mut topic = Topic { id, settings, append_time: false, refusing: false, is_full_said: false, partitions };
        self.bound(&mut topic);
        self.topics().insert(name, topic);
    }

    pub(super) fn remove(&self, name: &str) {
        self.topics().remove(name);
        self.tell();
    }

    pub(super) fn set_settings(&self, name: &str, settings: HashMap<String, String>) {
        if let Some(topic) = self.topics().get_mut(name) {
            topic.settings = settings;
            self.bound(topic);
        }
    }

    /// Whether some topic has more partitions than it was created with.
    pub(super) fn has_grown(&self) -> bool {
        self.grown.load(Ordering::Relaxed)
    }

    pub(super) fn partitions(&self, name: &str) -> Option<usize> {
        Some(self.topics().get(name)?.partitions.len())
    }

    /// Lets fetches that wait look again.
    pub(super) fn tell(&self) {
        self.changed.notify_waiters();
    }

    /// The group that a topic is kept for.
    pub(super) fn kept_for(&self, topic: &str) -> Option<&str> {
        self.disk.kept_for.get(topic).map(String::as_str)
    }

    /// Waits until a fetch has something to answer: `min_bytes` of records, an error, or that its time is over.
    pub(super) async fn wait_for(&self, fetch: &FetchRequest) {
        let until = Instant::now() + Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0));
        let wanted = u64::try_from(fetch.min_bytes).unwrap_or(0).max(1);
        loop {
            // Asked for first, so that what comes while it is looked is not missed.
            let changed = self.changed.notified();
            let is_answered = self.bytes_for(fetch, wanted).is_none_or(|bytes| bytes >= wanted);
            if is_answered || timeout_at(until, changed).await.is_err() {
                return;
            }
        }
    }

    /// How much there is to read for a fetch, `enough` or more when it is as much; none when it gets an error.
    fn bytes_for(&self, fetch: &FetchRequest, enough: u64) -> Option<u64> {
        let mut wanted = Vec::new();
        {
            let topics = self.topics();
            for asked in fetch.topics.iter().flatten() {
                let topic = match &asked.topic {
                    Some(name) if !name.is_empty() => topics.get(name),
                    _ => topics.values().find(|topic| asked.topic_id.is_some_and(|id| topic.id.as_bytes() == &id)),
                };
                for partition in asked.partitions.iter().flatten() {
                    let log = topic?.partitions.get(usize::try_from(partition.partition).ok()?)?;
                    wanted.push((Arc::clone(log), partition.fetch_offset));
                }
            }
        }
        let mut bytes = 0;
        for (log, offset) in wanted {
            let log = locked(&log);
            if !log.has(offset) {
                return None;
            }
            if bytes < enough {
                bytes += log.bytes_from(offset, enough - bytes);
            }
        }
        Some(bytes)
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<String, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses every batch for a topic from now on, or takes them again. Returns whether there is such a topic.
    pub(super) fn set_refusing(&self, topic: &str, refusing: bool) -> bool {
        self.topics().get_mut(topic).map(|topic| topic.refusing = refusing).is_some()
    }

    /// Adds partitions until the topic has `partitions`. Returns whether there is such a topic.
    pub(super) fn grow(&self, topic: &str, partitions: usize) -> bool {
        let mut topics = self.topics();
        let Some(topic) = topics.get_mut(topic) else { return false };
        topic.partitions.extend(self.logs(partitions.saturating_sub(topic.partitions.len())));
        self.bound(topic);
        self.grown.store(true, Ordering::Relaxed);
        true
    }

    fn logs(&self, count: usize) -> impl Iterator<Item = Arc<Mutex<Log>>> {
        let unbounded = self.disk.retention(&HashMap::new(), 1);
        (0..count).map(move |_| Arc::new(Mutex::new(Log::new(Arc::clone(&self.disk.directory), unbounded))))
    }

    /// Tells a topic's logs what its settings say.
    fn bound(&self, topic: &mut Topic) {
        topic.append_time = topic.settings.get(TIMESTAMP_TYPE).is_some_and(|kind| kind == "LogAppendTime");
        let retention = self.disk.retention(&topic.settings, topic.partitions.len());
        topic.partitions.iter().for_each(|log| locked(log).set_retention(retention));
    }

    /// Gives up everywhere what is older than the topics' settings say.
    pub(super) fn retain(&self) {
        let logs: Vec<_> = self.topics().values().flat_map(|topic| topic.partitions.clone()).collect();
        let now_ms = now_ms();
        logs.iter().for_each(|log| locked(log).retain(now_ms));
    }

    /// How far a topic's partitions reach.
    pub(super) fn extents(&self, topic: &str) -> Vec<Extent> {
        let logs = self.topics().get(topic).map(|topic| topic.partitions.clone()).unwrap_or_default();
        let extent = |log: &Arc<Mutex<Log>>| {
            let log = locked(log);
            Extent { first: log.start(), next: log.high_watermark(), bytes: log.bytes() }
        };
        logs.iter().map(extent).collect()
    }

    /// Makes room on disk for a batch from what is below `committed`; says once for each topic when there is none.
    pub(super) fn make_room(&self, topition: &Topition, log: &Mutex<Log>, size: u64, committed: i64) -> Result<()> {
        let bytes = {
            let mut log = locked(log);
            log.make_room(size, committed);
            if !log.is_full_for(size) {
                return Ok(());
            }
            log.bytes()
        };
        let (topic, partition) = (topition.topic(), topition.partition());
        let said = self.topics().get_mut(topic).is_none_or(|topic| std::mem::replace(&mut topic.is_full_said, true));
        if !said {
            let group = self.kept_for(topic).unwrap_or_default();
            tracing::warn!(
                topic,
                partition,
                bytes,
                group,
                "the embedded kafka refuses records: the partition's share of the disk (--kafka-disk) is full of what the group has \
                 not committed"
            );
        }
        Err(Error::Api(ErrorCode::KafkaStorageError))
    }

    pub(super) fn log(&self, topition: &Topition) -> Result<(Arc<Mutex<Log>>, bool, bool)> {
        let topics = self.topics();
        let unknown = Error::Api(ErrorCode::UnknownTopicOrPartition);
        let Some(topic) = topics.get(topition.topic()) else { return Err(unknown) };
        let log = usize::try_from(topition.partition()).ok().and_then(|index| topic.partitions.get(index));
        log.map(|log| (Arc::clone(log), topic.append_time, topic.refusing)).ok_or(unknown)
    }

    pub(super) fn with_log<R>(&self, topition: &Topition, work: impl FnOnce(&mut Log) -> Result<R>) -> Result<R> {
        let (log, _, _) = self.log(topition)?;
        work(&mut locked(&log))
    }
}

pub(super) fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn now_ms() -> i64 {
    milliseconds(SystemTime::now())
}

pub(super) fn milliseconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}
