//! From the bytes of a request to the bytes of its answer.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use centinela_serve::Calls;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, ProduceRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use tokio::sync::watch;

use crate::BrokerConfig;
use crate::api::{self, Api};
use crate::groups::coordinator::Coordinator;
use crate::permissions;
use crate::requests::{configs, groups, log_ends, offsets, records, topics};
use crate::store::topics::{Topics, now_ms};

/// Why a connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoRequest {
    #[error("request {key} in version {version} is not served")]
    NotServed { key: i16, version: i16 },
    #[error("request {key} in version {version} cannot be read")]
    Unreadable { key: i16, version: i16 },
    #[error("the answer to request {key} in version {version} cannot be written")]
    Unwritable { key: i16, version: i16 },
    /// It waited, and another one from the same member took its place.
    #[error("the request was replaced by a newer one")]
    Replaced,
}

/// The broker behind its connections. Cloning gives another handle.
#[derive(Clone, Debug)]
pub(crate) struct Router(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    port: u16,
    topics: Topics,
    groups: Coordinator,
    last_producer_id: AtomicI64,
    /// Whether no request is served.
    frozen: watch::Sender<bool>,
    /// Until then no answer names a broker.
    unregistered_until: Mutex<Option<Instant>>,
    calls: Calls,
}

/// A request's own header.
pub(crate) struct Call {
    pub(crate) api: &'static Api,
    version: i16,
    correlation_id: i32,
    pub(crate) client_id: String,
}

impl Call {
    pub(crate) fn decode<R: Decodable>(&self, mut body: Bytes) -> Result<R, NoRequest> {
        let (key, version) = (self.api.key as i16, self.version);
        if !self.api.fits(&body, version) {
            return Err(NoRequest::Unreadable { key, version });
        }
        R::decode(&mut body, version).map_err(|_| NoRequest::Unreadable { key, version })
    }

    /// The whole answer, with its length before it.
    fn encode<R: Encodable + HeaderVersion>(&self, answer: &R) -> Result<Bytes, NoRequest> {
        let unwritable = || NoRequest::Unwritable { key: self.api.key as i16, version: self.version };
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        let header_version = R::header_version(self.version);
        let size = header.compute_size(header_version).and_then(|size| Ok(size + answer.compute_size(self.version)?));
        let size = size.map_err(|_| unwritable())?;
        let mut bytes = BytesMut::with_capacity(size_of::<i32>() + size);
        bytes.put_i32(i32::try_from(size).map_err(|_| unwritable())?);
        header.encode(&mut bytes, header_version).map_err(|_| unwritable())?;
        answer.encode(&mut bytes, self.version).map_err(|_| unwritable())?;
        Ok(bytes.freeze())
    }
}

impl Router {
    pub(crate) fn new(port: u16, directory: Arc<Path>, config: &BrokerConfig) -> Self {
        let (topics, groups) = (Topics::new(directory, config), Coordinator::default());
        let frozen = watch::Sender::new(false);
        // A producer may have outlived an earlier broker on this port: its id must not be anybody else's.
        let last_producer_id = AtomicI64::new(now_ms());
        let calls = config.calls.clone();
        let unregistered_until = Mutex::default();
        Self(Arc::new(Shared { port, topics, groups, last_producer_id, frozen, unregistered_until, calls }))
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.0.topics
    }

    pub(crate) fn groups(&self) -> &Coordinator {
        &self.0.groups
    }

    /// Who called what, where somebody wants to know.
    pub(crate) fn calls(&self) -> &Calls {
        &self.0.calls
    }

    /// Where the only broker of the cluster listens.
    pub(crate) fn port(&self) -> i32 {
        self.0.port.into()
    }

    pub(crate) fn new_producer_id(&self) -> i64 {
        self.0.last_producer_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Serves no request, or goes on.
    pub(crate) fn set_frozen(&self, frozen: bool) {
        self.0.frozen.send_replace(frozen);
    }

    /// Waits while nothing is served.
    async fn thawed(&self) {
        if !*self.0.frozen.borrow() {
            return;
        }
        let mut frozen = self.0.frozen.subscribe();
        // The sender is as old as the router, so this ends with a thaw.
        let _thawed = frozen.wait_for(|frozen| !frozen).await;
    }

    /// The broker serves again after all connections were closed, and is registered after this time.
    pub(crate) fn reconnect(&self, unregistered: Duration) {
        *self.unregistered_until() = Instant::now().checked_add(unregistered);
        self.groups().reconnect();
    }

    /// Whether the cluster has a broker.
    pub(crate) fn is_registered(&self) -> bool {
        self.unregistered_until().is_none_or(|until| until <= Instant::now())
    }

    fn unregistered_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.unregistered_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass for the groups. Never ends.
    pub(crate) async fn run_groups(&self) {
        self.groups().run().await;
    }

    /// The answer to a request, with its length before it; none to a producer that wants none.
    ///
    /// # Errors
    /// When it is not a request that is served; the connection is to be closed.
    pub(crate) async fn answer(&self, request: Bytes) -> Result<Option<Bytes>, NoRequest> {
        self.thawed().await;
        let (call, body) = match head(request)? {
            Head::Known(call, body) => (call, body),
            Head::OtherVersion(call) => {
                let versions = versions().with_error_code(ResponseError::UnsupportedVersion.code());
                return call.encode(&versions).map(Some);
            }
        };
        if self.calls().is_on() {
            permissions::note(self, &call, &body);
        }
        let answer = self.route(&call, body).await?;
        self.thawed().await;
        Ok(answer)
    }

    async fn route(&self, call: &Call, body: Bytes) -> Result<Option<Bytes>, NoRequest> {
        let version = call.version;
        let answer = match call.api.key {
            ApiKey::ApiVersions => call.encode(&versions()),
            ApiKey::Produce => {
                let request: ProduceRequest = call.decode(body)?;
                let is_awaited = request.acks != 0;
                let answer = records::produce(self, request);
                return if is_awaited { call.encode(&answer).map(Some) } else { Ok(None) };
            }
            ApiKey::Fetch => call.encode(&records::fetch(self, version, &call.decode(body)?).await),
            ApiKey::ListOffsets => call.encode(&log_ends::list_offsets(self, version, call.decode(body)?)),
            ApiKey::OffsetForLeaderEpoch => call.encode(&log_ends::offset_for_leader_epoch(self, call.decode(body)?)),
            ApiKey::DeleteRecords => call.encode(&log_ends::delete_records(self, call.decode(body)?)),
            ApiKey::InitProducerId => call.encode(&records::init_producer_id(self, &call.decode(body)?)),
            ApiKey::Metadata => call.encode(&topics::metadata(self, version, call.decode(body)?)),
            ApiKey::DescribeCluster => call.encode(&topics::describe_cluster(self, &call.decode(body)?)),
            ApiKey::DescribeTopicPartitions => {
                call.encode(&topics::describe_topic_partitions(self, call.decode(body)?))
            }
            ApiKey::CreateTopics => call.encode(&topics::create(self, call.decode(body)?)),
            ApiKey::DeleteTopics => call.encode(&topics::delete(self, version, call.decode(body)?)),
            ApiKey::CreatePartitions => call.encode(&topics::create_partitions(self, call.decode(body)?)),
            ApiKey::DescribeConfigs => call.encode(&configs::describe(self, call.decode(body)?)),
            ApiKey::IncrementalAlterConfigs => call.encode(&configs::alter(self, call.decode(body)?)),
            ApiKey::FindCoordinator => call.encode(&groups::find_coordinator(self, version, call.decode(body)?)),
            ApiKey::JoinGroup => {
                let joined = groups::join(self, version, &call.client_id, call.decode(body)?).await;
                call.encode(&joined.ok_or(NoRequest::Replaced)?)
            }
            ApiKey::SyncGroup => {
                let synced = groups::sync(self, version, call.decode(body)?).await;
                call.encode(&synced.ok_or(NoRequest::Replaced)?)
            }
            ApiKey::Heartbeat => call.encode(&groups::heartbeat(self, &call.decode(body)?)),
            ApiKey::LeaveGroup => call.encode(&groups::leave(self, version, call.decode(body)?)),
            ApiKey::DescribeGroups => call.encode(&groups::describe(self, version, call.decode(body)?)),
            ApiKey::ListGroups => call.encode(&groups::list(self, &call.decode(body)?)),
            ApiKey::DeleteGroups => call.encode(&groups::delete(self, call.decode(body)?)),
            ApiKey::OffsetCommit => call.encode(&offsets::commit(self, call.decode(body)?)),
            ApiKey::OffsetFetch => call.encode(&offsets::fetch(self, version, call.decode(body)?)),
            ApiKey::OffsetDelete => call.encode(&offsets::delete(self, call.decode(body)?)),
            other => Err(NoRequest::NotServed { key: other as i16, version }),
        };
        answer.map(Some)
    }
}

enum Head {
    Known(Call, Bytes),
    /// A client that is newer than this broker asks what it serves; it understands the oldest answer.
    OtherVersion(Call),
}

fn head(mut request: Bytes) -> Result<Head, NoRequest> {
    let mut start = &request[..];
    let unreadable = NoRequest::Unreadable { key: -1, version: -1 };
    let (Ok(key), Ok(version)) = (start.try_get_i16(), start.try_get_i16()) else { return Err(unreadable) };
    let api = api::find(key).ok_or(NoRequest::NotServed { key, version })?;
    if !api.serves(version) {
        return match (api.key, start.try_get_i32()) {
            (ApiKey::ApiVersions, Ok(correlation_id)) => {
                Ok(Head::OtherVersion(Call { api, version: 0, correlation_id, client_id: String::new() }))
            }
            _ => Err(NoRequest::NotServed { key, version }),
        };
    }
    let header = RequestHeader::decode(&mut request, api.key.request_header_version(version));
    let header = header.map_err(|_| NoRequest::Unreadable { key, version })?;
    let client_id = header.client_id.map(|id| id.to_string()).unwrap_or_default();
    Ok(Head::Known(Call { api, version, correlation_id: header.correlation_id, client_id }, request))
}

fn versions() -> ApiVersionsResponse {
    let served = api::all().iter().map(|api| {
        let version = ApiVersion::default().with_api_key(api.key as i16);
        // As Apache Kafka 4 (KAFKA-18659): librdkafka before 2.11.1 compresses nothing unless the oldest version is named.
        let min = if api.key == ApiKey::Produce { 0 } else { api.min };
        version.with_min_version(min).with_max_version(api.max)
    });
    ApiVersionsResponse::default().with_api_keys(served.collect())
}
