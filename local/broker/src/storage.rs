//! The broker's storage: records in our own logs, everything else in the broker's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

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
use tansu_sans_io::{ConfigResource, ErrorCode, IsolationLevel, ListOffset, ScramMechanism};
use tansu_storage::{
    BrokerRegistrationRequest, Error, GroupDetail, ListOffsetResponse, MetadataResponse, NamedGroupDetail,
    OffsetCommitRequest, OffsetStage, ProducerIdResponse, Result, ScramCredential, Storage, StorageContainer, TopicId,
    Topition, TxnAddPartitionsRequest, TxnAddPartitionsResponse, TxnOffsetCommitRequest, UpdateError, Version,
};
use tokio::sync::watch;
use url::Url;
use uuid::Uuid;

use super::batch;
use super::groups::Groups;
use super::log::Log;
use super::topics::{Topics, locked, milliseconds, now_ms};

/// Records in our logs; topics, groups, committed offsets and producer ids in the broker's own memory storage.
///
/// That storage is not used for records because it raises a partition's high watermark before the batch is there (a fetch in
/// between skips records for good), drops the rest of a batch when a fetch starts inside it, ignores `LogAppendTime`, lists
/// every batch of a partition on each fetch, and keeps everything in memory.
#[derive(Clone, Debug)]
pub(super) struct Records {
    rest: StorageContainer,
    topics: Arc<Topics>,
    groups: Groups,
    /// Whether no request is served.
    frozen: watch::Sender<bool>,
}

impl Records {
    pub(super) fn over(rest: StorageContainer, topics: Topics) -> Self {
        Self { rest, topics: Arc::new(topics), groups: Groups::default(), frozen: watch::Sender::new(false) }
    }

    pub(super) fn topics(&self) -> &Topics {
        &self.topics
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

    /// Makes room on disk for a batch, from what its group has committed where the topic is kept for one.
    async fn make_room(&self, topition: &Topition, log: &Mutex<Log>, size: u64) -> Result<()> {
        let committed = match self.topics.kept_for(topition.topic()) {
            None => i64::MAX,
            Some(group) => {
                let committed = self.rest.offset_fetch(Some(group), std::slice::from_ref(topition), None).await?;
                committed.get(topition).copied().unwrap_or(-1)
            }
        };
        self.topics.make_room(topition, log, size, committed)
    }
}

#[async_trait]
impl Storage for Records {
    async fn create_topic(&self, topic: CreatableTopic, validate_only: bool) -> Result<Uuid> {
        let settings = topic.configs.iter().flatten();
        let settings = settings.filter_map(|config| Some((config.name.clone(), config.value.clone()?))).collect();
        let (name, count) = (topic.name.clone(), usize::try_from(topic.num_partitions).unwrap_or(0).max(1));
        let id = self.rest.create_topic(topic, validate_only).await?;
        if !validate_only {
            self.topics.add(name, id, settings, count);
        }
        Ok(id)
    }

    async fn delete_topic(&self, topic: &TopicId) -> Result<ErrorCode> {
        if let TopicId::Name(name) = topic {
            self.topics.remove(name);
        }
        self.rest.delete_topic(topic).await
    }

    async fn delete_records(&self, topics: &[DeleteRecordsTopic]) -> Result<Vec<DeleteRecordsTopicResult>> {
        let of_topic = |topic: &DeleteRecordsTopic| {
            let partitions = topic.partitions.iter().flatten().map(|asked| {
                let topition = Topition::new(topic.name.clone(), asked.partition_index);
                let deleted = self.topics.with_log(&topition, |log| log.delete_before(asked.offset));
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
        self.topics.tell();
        Ok(deleted)
    }

    async fn produce(&self, _transaction_id: Option<&str>, topition: &Topition, batch: deflated::Batch) -> Result<i64> {
        let (log, append_time, refusing) = self.topics.log(topition)?;
        if refusing {
            return Err(Error::Api(ErrorCode::NotEnoughReplicas));
        }
        let size = batch::size(&batch);
        let is_full = locked(&log).is_full_for(size);
        if is_full {
            self.make_room(topition, &log, size).await?;
        }
        let offset = locked(&log).append(batch, append_time, now_ms())?;
        self.topics.tell();
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
        self.topics.with_log(topition, |log| log.read(offset, max_bytes))
    }

    async fn offset_stage(&self, topition: &Topition) -> Result<OffsetStage> {
        let (log_start, end) = self.topics.with_log(topition, |log| Ok((log.start(), log.high_watermark())))?;
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
                let (offset, timestamp) = self.topics.with_log(topition, |log| {
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
        let settings = described.configs.into_iter().flatten();
        self.topics.set_settings(&name, settings.filter_map(|setting| Some((setting.name, setting.value?))).collect());
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
        if !self.topics.has_grown() {
            return Ok(metadata);
        }
        // The type's fields are private; its serialised form is not.
        let mut value = serde_json::to_value(&metadata)?;
        for topic in value["topics"].as_array_mut().into_iter().flatten() {
            let wanted = topic["name"].as_str().and_then(|name| self.topics.partitions(name));
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
