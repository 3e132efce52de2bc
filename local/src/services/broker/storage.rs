//! The broker's storage: records in our own logs, everything else in the broker's.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tansu_sans_io::create_topics_request::CreatableTopic;
use tansu_sans_io::delete_groups_response::DeletableGroupResult;
use tansu_sans_io::delete_records_request::DeleteRecordsTopic;
use tansu_sans_io::delete_records_response::DeleteRecordsTopicResult;
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
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use url::Url;
use uuid::Uuid;

use super::groups::Groups;
use super::log::Log;

const TIMESTAMP_TYPE: &str = "message.timestamp.type";

#[derive(Clone, Debug)]
struct Topic {
    id: Uuid,
    append_time: bool,
    /// Every batch is refused, as by a partition with too few replicas in sync.
    refusing: bool,
    partitions: Vec<Arc<Mutex<Log>>>,
}

/// Records in our logs; topics, groups, committed offsets and producer ids in the broker's own memory storage.
///
/// That storage is not used for records because it raises a partition's high watermark before the batch is there (a fetch in
/// between skips records for good), drops the rest of a batch when a fetch starts inside it, ignores `LogAppendTime`, and lists
/// every batch of a partition on each fetch.
#[derive(Clone, Debug)]
pub(super) struct Records {
    rest: StorageContainer,
    topics: Arc<Mutex<HashMap<String, Topic>>>,
    groups: Groups,
    /// Some topic has more partitions than the broker's own storage knows.
    grown: Arc<AtomicBool>,
    /// Told whenever there is something new for a fetch that waits.
    changed: Arc<Notify>,
}

impl Records {
    pub(super) fn over(rest: StorageContainer) -> Self {
        Self { rest, topics: Arc::default(), groups: Groups::default(), grown: Arc::default(), changed: Arc::default() }
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

    /// How much there is to read for a fetch, `enough` or more when it is as much; none when it names something unknown.
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
            if bytes < enough {
                bytes += log.lock().unwrap_or_else(PoisonError::into_inner).bytes_from(offset, enough);
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
        let further = partitions.saturating_sub(topic.partitions.len());
        topic.partitions.extend((0..further).map(|_| Arc::default()));
        self.grown.store(true, Ordering::Relaxed);
        true
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
        work(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Storage for Records {
    async fn create_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        let configured = topic.configs.iter().flatten().find(|config| config.name == TIMESTAMP_TYPE);
        let append_time = configured.and_then(|config| config.value.as_deref()) == Some("LogAppendTime");
        let (name, count) = (topic.name.clone(), topic.num_partitions.max(1));
        let id = self.rest.create_topic(topic, validate_only).await?;
        if !validate_only {
            let partitions = (0..count).map(|_| Arc::default()).collect();
            self.topics().insert(name, Topic { id, append_time, refusing: false, partitions });
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

    async fn delete_records(&self, _topics: &[DeleteRecordsTopic]) -> Result<Vec<DeleteRecordsTopicResult>> {
        Err(Error::Api(ErrorCode::UnsupportedVersion))
    }

    async fn produce(&self, _transaction_id: Option<&str>, topition: &Topition, batch: deflated::Batch) -> Result<i64> {
        let (log, append_time, refusing) = self.log(topition)?;
        if refusing {
            return Err(Error::Api(ErrorCode::NotEnoughReplicas));
        }
        let offset = log.lock().unwrap_or_else(PoisonError::into_inner).append(batch, append_time)?;
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
        let high_watermark = self.with_log(topition, |log| Ok(log.high_watermark()))?;
        // The type has no constructor, only a serialised form.
        let stage =
            serde_json::json!({ "last_stable": high_watermark, "high_watermark": high_watermark, "log_start": 0 });
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
                        ListOffset::Earliest => (Some(0), None),
                        ListOffset::Latest => (Some(log.high_watermark()), None),
                        ListOffset::Timestamp(time) => match log.at_or_after(*time)? {
                            Some((offset, time)) => (Some(offset), Some(time)),
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
        self.rest.incremental_alter_resource(resource).await
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
        self.rest.init_producer(transaction_id, transaction_timeout_ms, producer_id, producer_epoch).await
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
