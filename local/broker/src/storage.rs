//! The broker's storage: records in our own logs, everything else in the broker's.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tansu_sans_io::create_topics_request::CreatableTopic;
use tansu_sans_io::delete_groups_response::DeletableGroupResult;
use tansu_sans_io::delete_records_request::DeleteRecordsTopic;
use tansu_sans_io::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use tansu_sans_io::describe_cluster_response::DescribeClusterBroker;
use tansu_sans_io::describe_configs_response::DescribeConfigsResult;
use tansu_sans_io::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use tansu_sans_io::incremental_alter_configs_request::AlterConfigsResource;
use tansu_sans_io::incremental_alter_configs_response::AlterConfigsResourceResponse;
use tansu_sans_io::list_groups_response::ListedGroup;
use tansu_sans_io::record::deflated;
use tansu_sans_io::txn_offset_commit_response::TxnOffsetCommitResponseTopic;
use tansu_sans_io::{ConfigResource, ErrorCode, FetchRequest, IsolationLevel, ListOffset, ScramMechanism};
use tansu_storage::{
    BrokerRegistrationRequest, Error, GroupDetail, ListOffsetResponse, MetadataResponse, NamedGroupDetail,
    OffsetCommitRequest, OffsetStage, ProducerIdResponse, Result, ScramCredential, Storage, StorageContainer, TopicId,
    Topition, TxnAddPartitionsRequest, TxnAddPartitionsResponse, TxnOffsetCommitRequest, UpdateError, Version,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use url::Url;
use uuid::Uuid;

use super::groups::Groups;
use super::log::Log;
use super::retention::Retention;
use super::{BrokerConfig, Extent, batch};

const TIMESTAMP_TYPE: &str = "message.timestamp.type";

#[derive(Clone, Debug)]
struct Topic {
    id: Uuid,
    settings: HashMap<String, String>,
    append_time: bool,
    /// Every batch is refused, as by a partition with too few replicas in sync.
    refusing: bool,
    /// It was said that the disk is full of what must not go.
    is_full_said: Arc<AtomicBool>,
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

/// Records in our logs; topics, groups, committed offsets and producer ids in the broker's own memory storage.
///
/// That storage is not used for records because it raises a partition's high watermark before the batch is there (a fetch in
/// between skips records for good), drops the rest of a batch when a fetch starts inside it, ignores `LogAppendTime`, lists
/// every batch of a partition on each fetch, and keeps everything in memory.
#[derive(Clone, Debug)]
pub(super) struct Records {
    rest: StorageContainer,
    disk: Arc<Disk>,
    topics: Arc<Mutex<HashMap<String, Topic>>>,
    groups: Groups,
    /// Some topic has more partitions than the broker's own storage knows.
    grown: Arc<AtomicBool>,
    /// Told whenever there is something new for a fetch that waits.
    changed: Arc<Notify>,
    /// Whether no request is served.
    frozen: watch::Sender<bool>,
}

impl Records {
    pub(super) fn over(rest: StorageContainer, directory: Arc<Path>, config: &BrokerConfig) -> Self {
        let (bytes_per_topic, kept_for) = (config.disk_bytes_per_topic, config.kept_for.clone());
        let disk = Arc::new(Disk { directory, bytes_per_topic, kept_for });
        Self {
            rest,
            disk,
            topics: Arc::default(),
            groups: Groups::default(),
            grown: Arc::default(),
            changed: Arc::default(),
            frozen: watch::Sender::new(false),
        }
    }

    /// Serves no request, or goes on.
    pub(super) fn set_frozen(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Waits while nothing is served.
    pub(super) async fn thawed(&self) {
        if !*self.frozen.borrow() {
            return;
        }
        let mut frozen = self.frozen.subscribe();
        // The sender is as old as these records, so this ends with a thaw.
        let _thawed = frozen.wait_for(|frozen| !frozen).await;
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

    /// Makes room on disk for a batch, from what its group has settled where the topic is kept for one; says once for each topic when
    /// there is none.
    async fn make_room(&self, topition: &Topition, log: &Mutex<Log>, size: u64) -> Result<()> {
        let group = self.disk.kept_for.get(topition.topic());
        let settled = match group {
            None => i64::MAX,
            Some(group) => {
                let committed = self.rest.offset_fetch(Some(group), std::slice::from_ref(topition), None).await?;
                committed.get(topition).copied().unwrap_or(-1)
            }
        };
        let bytes = {
            let mut log = locked(log);
            log.make_room(size, settled);
            if !log.is_full_for(size) {
                return Ok(());
            }
            log.bytes()
        };
        let said = self.topics().get(topition.topic()).map(|topic| Arc::clone(&topic.is_full_said));
        if said.is_some_and(|said| !said.swap(true, Ordering::Relaxed)) {
            let (topic, partition, group) = (topition.topic(), topition.partition(), group.map_or("", String::as_str));
            tracing::warn!(
                topic,
                partition,
                bytes,
                group,
                "the embedded kafka refuses records: the partition's share of the disk (--kafka-disk) is full of what the group has \
                 not settled"
            );
        }
        Err(Error::Api(ErrorCode::KafkaStorageError))
    }

    fn log(&self, topition: &Topition) -> Result<(Arc<Mutex<Log>>, bool, bool)> {
        let topics = self.topics();
        let unknown = Error::Api(ErrorCode::UnknownTopicOrPartition);
        let Some(topic) = topics.get(topition.topic()) else { return Err(unknown) };
        let log = usize::try_from(topition.partition()).ok().and_then(|index| topic.partitions.get(index));
        log.map(|log| (Arc::clone(log), topic.append_time, topic.refusing)).ok_or(unknown)
    }

    fn with_log<R>(&self, topition: &Topition, work: impl FnOnce(&mut Log) -> Result<R>) -> Result<R> {
        let (log, _, _) = self.log(topition)?;
        work(&mut locked(&log))
    }
}

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now_ms() -> i64 {
    milliseconds(SystemTime::now())
}

fn milliseconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

#[async_trait]
impl Storage for Records {
    async fn create_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        let settings = topic.configs.iter().flatten();
        let settings = settings.filter_map(|config| Some((config.name.clone(), config.value.clone()?))).collect();
        let (name, count) = (topic.name.clone(), usize::try_from(topic.num_partitions).unwrap_or(0).max(1));
        let id = self.rest.create_topic(topic, validate_only).await?;
        if !validate_only {
            let partitions = self.logs(count).collect();
            let is_full_said = Arc::default();
            let mut topic = Topic { id, settings, append_time: false, refusing: false, is_full_said, partitions };
            self.bound(&mut topic);
            self.topics().insert(name, topic);
        }
        Ok(id)
    }

    async fn delete_topic(&self, topic: &TopicId) -> Result<ErrorCode> {
        if let TopicId::Name(name) = topic {
            self.topics().remove(name);
            self.changed.notify_waiters();
        }
        self.rest.delete_topic(topic).await
    }

    async fn delete_records(&self, topics: &[DeleteRecordsTopic]) -> Result<Vec<DeleteRecordsTopicResult>> {
        let of_topic = |topic: &DeleteRecordsTopic| {
            let partitions = topic.partitions.iter().flatten().map(|asked| {
                let topition = Topition::new(topic.name.clone(), asked.partition_index);
                let deleted = self.with_log(&topition, |log| log.delete_before(asked.offset));
                let (low_watermark, error) = match deleted {
                    Ok(start) => (start, ErrorCode::None),
                    Err(Error::Api(error)) => (-1, error),
                    Err(_) => (-1, ErrorCode::UnknownServerError),
                };
                DeleteRecordsPartitionResult::default()
                    .partition_index(asked.partition_index)
                    .low_watermark(low_watermark)
                    .error_code(error.into())
            });
            DeleteRecordsTopicResult::default().name(topic.name.clone()).partitions(Some(partitions.collect()))
        };
        let deleted = topics.iter().map(of_topic).collect();
        // A fetch may wait below what is left now.
        self.changed.notify_waiters();
        Ok(deleted)
    }

    async fn produce(&self, _transaction_id: Option<&str>, topition: &Topition, batch: deflated::Batch) -> Result<i64> {
        let (log, append_time, refusing) = self.log(topition)?;
        if refusing {
            return Err(Error::Api(ErrorCode::NotEnoughReplicas));
        }
        let size = batch::size(&batch);
        let is_full = locked(&log).is_full_for(size);
        if is_full {
            self.make_room(topition, &log, size).await?;
        }
        let offset = locked(&log).append(batch, append_time, now_ms())?;
        self.changed.notify_waiters();
        Ok(offset)
    }

    async fn fetch(
        &self,
        topition: &'_ Topition,
        offset: i64,
        _min_bytes: u32,
        max_bytes: u32,
        _isolation: IsolationLevel,
    ) -> Result<Vec<deflated::Batch>> {
        self.with_log(topition, |log| log.read(offset, max_bytes))
    }

    async fn offset_stage(&self, topition: &Topition) -> Result<OffsetStage> {
        let (log_start, end) = self.with_log(topition, |log| Ok((log.start(), log.high_watermark())))?;
        // The type has no constructor, only a serialised form.
        let stage = serde_json::json!({ "last_stable": end, "high_watermark": end, "log_start": log_start });
        serde_json::from_value(stage).map_err(Error::from)
    }

    async fn list_offsets(
        &self,
        _isolation_level: IsolationLevel,
        offsets: &[(Topition, ListOffset)],
    ) -> Result<Vec<(Topition, ListOffsetResponse)>> {
        offsets
            .iter()
            .map(|(topition, wanted)| {
                let (offset, timestamp) = self.with_log(topition, |log| {
                    Ok(match wanted {
                        ListOffset::Earliest => (Some(log.start()), None),
                        ListOffset::Latest => (Some(log.high_watermark()), None),
                        ListOffset::Timestamp(time) => match log.at_or_after(milliseconds(*time))? {
                            Some((offset, time_ms)) => {
                                (Some(offset), Some(UNIX_EPOCH + Duration::from_millis(time_ms.unsigned_abs())))
                            }
                            // Clients take this for the end.
                            None => (Some(-1), None),
                        },
                    })
                })?;
                Ok((topition.clone(), ListOffsetResponse { error_code: ErrorCode::None, timestamp, offset }))
            })
            .collect()
    }

    async fn register_broker(&self, broker_registration: BrokerRegistrationRequest) -> Result<()> {
        self.rest.register_broker(broker_registration).await
    }

    async fn incremental_alter_resource(&self, resource: AlterConfigsResource) -> Result<AlterConfigsResourceResponse> {
        let name = resource.resource_name.clone();
        let altered = self.rest.incremental_alter_resource(resource).await?;
        let described = self.rest.describe_config(&name, ConfigResource::Topic, None).await?;
        if let Some(topic) = self.topics().get_mut(&name) {
            let settings = described.configs.into_iter().flatten();
            topic.settings = settings.filter_map(|setting| Some((setting.name, setting.value?))).collect();
            self.bound(topic);
        }
        Ok(altered)
    }

    async fn brokers(&self) -> Result<Vec<DescribeClusterBroker>> {
        self.rest.brokers().await
    }

    async fn offset_commit(
        &self,
        group_id: &str,
        retention_time_ms: Option<Duration>,
        offsets: &[(Topition, OffsetCommitRequest)],
    ) -> Result<Vec<(Topition, ErrorCode)>> {
        self.rest.offset_commit(group_id, retention_time_ms, offsets).await
    }

    async fn offset_fetch(
        &self,
        group_id: Option<&str>,
        topics: &[Topition],
        require_stable: Option<bool>,
    ) -> Result<BTreeMap<Topition, i64>> {
        self.rest.offset_fetch(group_id, topics, require_stable).await
    }

    async fn committed_offset_topitions(&self, group_id: &str) -> Result<BTreeMap<Topition, i64>> {
        self.rest.committed_offset_topitions(group_id).await
    }

    async fn metadata(&self, topics: Option<&[TopicId]>) -> Result<MetadataResponse> {
        let metadata = self.rest.metadata(topics).await?;
        if !self.grown.load(Ordering::Relaxed) {
            return Ok(metadata);
        }
        // The type's fields are private; its serialised form is not.
        let mut value = serde_json::to_value(&metadata)?;
        for topic in value["topics"].as_array_mut().into_iter().flatten() {
            let wanted = topic["name"].as_str().and_then(|name| Some(self.topics().get(name)?.partitions.len()));
            let Some(known) = topic["partitions"].as_array_mut() else { continue };
            // All partitions are led by the one broker, so a further one differs only in its number.
            while let (true, Some(mut further)) = (Some(known.len()) < wanted, known.last().cloned()) {
                further["partition_index"] = known.len().into();
                known.push(further);
            }
        }
        Ok(serde_json::from_value(value)?)
    }

    async fn upsert_user_scram_credential(
        &self,
        user: &str,
        mechanism: ScramMechanism,
        credential: ScramCredential,
    ) -> Result<()> {
        self.rest.upsert_user_scram_credential(user, mechanism, credential).await
    }

    async fn delete_user_scram_credential(&self, user: &str, mechanism: ScramMechanism) -> Result<()> {
        self.rest.delete_user_scram_credential(user, mechanism).await
    }

    async fn user_scram_credential(&self, user: &str, mechanism: ScramMechanism) -> Result<Option<ScramCredential>> {
        self.rest.user_scram_credential(user, mechanism).await
    }

    async fn describe_config(
        &self,
        name: &str,
        resource: ConfigResource,
        keys: Option<&[String]>,
    ) -> Result<DescribeConfigsResult> {
        self.rest.describe_config(name, resource, keys).await
    }

    async fn list_groups(&self, states_filter: Option<&[String]>) -> Result<Vec<ListedGroup>> {
        let mut listed = self.rest.list_groups(states_filter).await?;
        listed.extend(self.groups.beside(&listed));
        Ok(listed)
    }

    async fn delete_groups(&self, group_ids: Option<&[String]>) -> Result<Vec<DeletableGroupResult>> {
        group_ids.unwrap_or_default().iter().for_each(|group| self.groups.deleted(group));
        self.rest.delete_groups(group_ids).await
    }

    async fn describe_groups(
        &self,
        group_ids: Option<&[String]>,
        include_authorized_operations: bool,
    ) -> Result<Vec<NamedGroupDetail>> {
        let mut described = Vec::new();
        for group in group_ids.unwrap_or_default() {
            match self.groups.described(group) {
                Some(group) => described.push(group),
                None => {
                    let one = std::slice::from_ref(group);
                    described.extend(self.rest.describe_groups(Some(one), include_authorized_operations).await?);
                }
            }
        }
        Ok(described)
    }

    async fn describe_topic_partitions(
        &self,
        topics: Option<&[TopicId]>,
        partition_limit: i32,
        cursor: Option<Topition>,
    ) -> Result<Vec<DescribeTopicPartitionsResponseTopic>> {
        self.rest.describe_topic_partitions(topics, partition_limit, cursor).await
    }

    async fn update_group(
        &self,
        group_id: &str,
        detail: GroupDetail,
        version: Option<Version>,
    ) -> Result<Version, UpdateError<GroupDetail>> {
        let updated = self.rest.update_group(group_id, detail.clone(), version).await?;
        self.groups.changed(group_id, detail);
        Ok(updated)
    }

    async fn init_producer(
        &self,
        transaction_id: Option<&str>,
        transaction_timeout_ms: i32,
        producer_id: Option<i64>,
        producer_epoch: Option<i16>,
    ) -> Result<ProducerIdResponse> {
        // Apache Kafka gives whoever has no transactions a new id, whatever id it had; and versions below 3 name none.
        let named = producer_id.zip(producer_epoch).filter(|_| transaction_id.is_some());
        let (id, epoch) = named.unwrap_or((-1, -1));
        self.rest.init_producer(transaction_id, transaction_timeout_ms, Some(id), Some(epoch)).await
    }

    async fn txn_add_offsets(
        &self,
        transaction_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        group_id: &str,
    ) -> Result<ErrorCode> {
        self.rest.txn_add_offsets(transaction_id, producer_id, producer_epoch, group_id).await
    }

    async fn txn_add_partitions(&self, partitions: TxnAddPartitionsRequest) -> Result<TxnAddPartitionsResponse> {
        self.rest.txn_add_partitions(partitions).await
    }

    async fn txn_offset_commit(&self, offsets: TxnOffsetCommitRequest) -> Result<Vec<TxnOffsetCommitResponseTopic>> {
        self.rest.txn_offset_commit(offsets).await
    }

    async fn txn_end(
        &self,
        transaction_id: &str,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
    ) -> Result<ErrorCode> {
        self.rest.txn_end(transaction_id, producer_id, producer_epoch, committed).await
    }

    async fn cluster_id(&self) -> Result<String> {
        self.rest.cluster_id().await
    }

    async fn node(&self) -> Result<i32> {
        self.rest.node().await
    }

    async fn advertised_listener(&self) -> Result<Url> {
        self.rest.advertised_listener().await
    }

    async fn ping(&self) -> Result<()> {
        self.rest.ping().await
    }
}
