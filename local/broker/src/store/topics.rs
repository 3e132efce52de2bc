//! The broker's topics: their settings, their partitions' logs, and what is done to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::batch::Batch;
use super::log::Log;
use super::settings::{Limits, Settings};
use crate::{BrokerConfig, Extent, random};

const NAME_CHARS_MAX: usize = 249;
/// Partitions that one topic may have: each keeps files open.
pub(crate) const PARTITIONS_MAX: usize = 10_000;

/// A topic and what it was given.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    pub(crate) settings: Settings,
    limits: Limits,
    /// Every batch is refused, as by a partition with too few replicas in sync.
    refusing: bool,
    /// It was said that the disk is full of what must not go.
    is_full_said: Arc<AtomicBool>,
    pub(crate) partitions: Vec<Arc<Mutex<Log>>>,
}

/// Where logs are kept, and how much of them.
#[derive(Debug)]
struct Disk {
    directory: Arc<Path>,
    bytes_per_topic: u64,
    kept_for: BTreeMap<String, Vec<String>>,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) offset: i64,
    /// The broker's time, where the topic has that.
    pub(crate) time_ms: Option<i64>,
    pub(crate) log_start: i64,
}

/// All topics. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    disk: Arc<Disk>,
    by_name: Arc<Mutex<BTreeMap<String, Topic>>>,
}

impl Topics {
    pub(crate) fn new(directory: Arc<Path>, config: &BrokerConfig) -> Self {
        let (bytes_per_topic, kept_for) = (config.disk_bytes_per_topic, config.kept_for.clone());
        let disk = Arc::new(Disk { directory, bytes_per_topic, kept_for });
        Self { disk, by_name: Arc::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a topic and returns its id; when `validate_only`, only sees whether it could be.
    ///
    /// # Errors
    /// When its name is not one, is taken, or differs from a topic's only in what metrics cannot tell apart; or when it would have no
    /// partitions or too many.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: usize,
        settings: Settings,
        validate_only: bool,
    ) -> Result<Uuid, ResponseError> {
        check_name(name)?;
        let mut topics = self.lock();
        if topics.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        let in_metrics = |name: &str| name.replace('.', "_");
        if topics.keys().any(|other| in_metrics(other) == in_metrics(name)) {
            return Err(ResponseError::InvalidTopicException);
        }
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(ResponseError::InvalidPartitions);
        }
        if validate_only {
            return Ok(Uuid::nil());
        }
        let id = random::id();
        let partitions = self.logs(partitions).collect();
        let limits = Limits::default();
        let mut topic = Topic { id, settings, limits, refusing: false, is_full_said: Arc::default(), partitions };
        self.apply_settings(&mut topic);
        topics.insert(name.to_owned(), topic);
        Ok(id)
    }

    /// Returns whether there was such a topic.
    pub(crate) fn delete(&self, name: &str) -> bool {
        let deleted = self.lock().remove(name);
        deleted.iter().flat_map(|topic| &topic.partitions).for_each(|log| locked(log).wake_fetches());
        deleted.is_some()
    }

    /// Changes a topic's settings; none of them when one is wrong.
    ///
    /// # Errors
    /// With what `change` says, or with an unknown topic.
    pub(crate) fn change_settings(
        &self,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&mut Settings) -> Result<(), String>,
    ) -> Result<(), (ResponseError, Option<String>)> {
        let mut topics = self.lock();
        let topic = topics.get_mut(name).ok_or((ResponseError::UnknownTopicOrPartition, None))?;
        let mut settings = topic.settings.clone();
        change(&mut settings).map_err(|problem| (ResponseError::InvalidConfig, Some(problem)))?;
        if !validate_only {
            topic.settings = settings;
            self.apply_settings(topic);
        }
        Ok(())
    }

    /// Refuses every batch for a topic from now on, or takes them again. Returns whether there is such a topic.
    pub(crate) fn set_refusing(&self, topic: &str, refusing: bool) -> bool {
        self.lock().get_mut(topic).map(|topic| topic.refusing = refusing).is_some()
    }

    /// Adds partitions until the topic has `partitions`. Returns whether there is such a topic.
    pub(crate) fn grow(&self, topic: &str, partitions: usize) -> bool {
        let mut topics = self.lock();
        let Some(topic) = topics.get_mut(topic) else { return false };
        topic.partitions.extend(self.logs(partitions.min(PARTITIONS_MAX).saturating_sub(topic.partitions.len())));
        self.apply_settings(topic);
        true
    }

    fn logs(&self, count: usize) -> impl Iterator<Item = Arc<Mutex<Log>>> {
        let unbounded = Settings::default().retention(self.disk.bytes_per_topic);
        (0..count).map(move |_| Arc::new(Mutex::new(Log::new(Arc::clone(&self.disk.directory), unbounded))))
    }

    /// Tells a topic and its logs what its settings say.
    fn apply_settings(&self, topic: &mut Topic) {
        topic.limits = topic.settings.limits();
        let share = self.disk.bytes_per_topic / topic.partitions.len().max(1) as u64;
        let retention = topic.settings.retention(share);
        topic.partitions.iter().for_each(|log| locked(log).set_retention(retention));
    }

    /// Gives up everywhere what is older than the topics' settings say.
    pub(crate) fn retain(&self) {
        let logs: Vec<_> = self.lock().values().flat_map(|topic| topic.partitions.clone()).collect();
        let now_ms = now_ms();
        logs.iter().for_each(|log| locked(log).retain(now_ms));
    }

    /// How far a topic's partitions reach.
    pub(crate) fn extents(&self, topic: &str) -> Vec<Extent> {
        let logs = self.lock().get(topic).map(|topic| topic.partitions.clone()).unwrap_or_default();
        let extent = |log: &Arc<Mutex<Log>>| {
            let log = locked(log);
            Extent { first: log.start(), next: log.high_watermark(), bytes: log.bytes() }
        };
        logs.iter().map(extent).collect()
    }

    pub(crate) fn log(&self, topic: &str, partition: i32) -> Result<Arc<Mutex<Log>>, ResponseError> {
        let topics = self.lock();
        let log = topics.get(topic).and_then(|topic| topic.log(partition));
        log.ok_or(ResponseError::UnknownTopicOrPartition)
    }

    /// Partitions that there are, of those asked for.
    pub(crate) fn known(&self, asked: impl Iterator<Item = (String, i32)>) -> BTreeSet<(String, i32)> {
        let topics = self.lock();
        let is_known =
            |(topic, partition): &(String, i32)| topics.get(topic).is_some_and(|topic| topic.log(*partition).is_some());
        asked.filter(is_known).collect()
    }

    /// Stores what a producer sent for a partition. Where the topic is kept for groups, `committed` says how far each one is.
    ///
    /// # Errors
    /// With Kafka's own answer to what cannot be taken.
    pub(crate) fn append(
        &self,
        name: &str,
        partition: i32,
        batch: Batch,
        committed: impl Fn(&str) -> i64,
    ) -> Result<Appended, ResponseError> {
        let (log, limits, refusing, is_full_said) = {
            let topics = self.lock();
            let topic = topics.get(name).ok_or(ResponseError::UnknownTopicOrPartition)?;
            let log = topic.log(partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
            (log, topic.limits, topic.refusing, Arc::clone(&topic.is_full_said))
        };
        if refusing {
            return Err(ResponseError::NotEnoughReplicas);
        }
        if batch.size() > limits.batch_bytes {
            return Err(ResponseError::MessageTooLarge);
        }
        let (header, append_time) = (batch.header, limits.append_time);
        let mut log = locked(&log);
        // Under the lock, so that a partition's times do not go back.
        let now_ms = now_ms();
        if !limits.takes_times(header.base_timestamp, header.max_timestamp, now_ms) {
            return Err(ResponseError::InvalidTimestamp);
        }
        let offset = match log.repeated(&header, now_ms)? {
            Some(offset) => offset,
            None => {
                if log.is_full_for(batch.size()) {
                    self.make_room((name, partition), &is_full_said, &mut log, batch.size(), committed)?;
                }
                log.append(batch, append_time, now_ms)?
            }
        };
        Ok(Appended { offset, time_ms: append_time.then_some(now_ms), log_start: log.start() })
    }

    /// Makes room on disk for a batch, from what its groups have all committed where the topic is kept for some; says once for each topic
    /// when there is none.
    fn make_room(
        &self,
        (name, partition): (&str, i32),
        is_full_said: &AtomicBool,
        log: &mut Log,
        size: u64,
        committed: impl Fn(&str) -> i64,
    ) -> Result<(), ResponseError> {
        let groups = self.disk.kept_for.get(name).map_or(&[][..], Vec::as_slice);
        log.make_room(size, groups.iter().map(|group| committed(group)).min().unwrap_or(i64::MAX));
        if !log.is_full_for(size) {
            return Ok(());
        }
        if !is_full_said.swap(true, Ordering::Relaxed) {
            let bytes = log.bytes();
            tracing::warn!(
                topic = name,
                partition,
                bytes,
                ?groups,
                "the embedded kafka refuses records: the partition's share of the disk (--kafka-disk) is full of what a group has \
                 not committed"
            );
        }
        Err(ResponseError::KafkaStorageError)
    }
}

impl Topic {
    pub(crate) fn log(&self, partition: i32) -> Option<Arc<Mutex<Log>>> {
        self.partitions.get(usize::try_from(partition).ok()?).map(Arc::clone)
    }
}

/// # Errors
/// When it is no name of a topic.
pub(crate) fn check_name(name: &str) -> Result<(), ResponseError> {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name =
        (1..=NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_sound) && name != "." && name != "..";
    if is_name { Ok(()) } else { Err(ResponseError::InvalidTopicException) }
}

pub(crate) fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
