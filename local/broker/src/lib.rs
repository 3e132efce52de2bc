//! The embedded Kafka broker: the `tansu` broker's protocol and groups over our own record logs.
//!
//! Records are in files that have no names and end with the process (`segment.rs`); topics keep them as their own settings say and
//! within a share of the disk. Nothing is synced: a power cut ends the broker and its records together. Groups, committed offsets
//! and the topics themselves are in memory.
//!
//! The broker's own `main` would listen for SIGINT and print to the terminal; this module accepts the connections itself, so the
//! process decides when the broker ends, and the port that was reserved is the port that is served.

mod batch;
mod config;
mod connection;
mod groups;
mod log;
mod retention;
mod segment;
mod storage;
mod topics;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use rama::{Context, Layer, Service};
use tansu_broker::Error as TansuError;
use tansu_broker::coordinator::group::administrator::Controller;
use tansu_broker::service::auth::services as login_services;
use tansu_broker::service::coordinator::services as group_services;
use tansu_broker::service::storage::services as storage_services;
use tansu_sans_io::fetch_request::FetchTopic;
use tansu_sans_io::fetch_response::FetchableTopicResponse;
use tansu_sans_io::{Body, ErrorCode, Frame};
use tansu_service::{BytesFrameLayer, FrameRouteService};
use tansu_storage::{BrokerRegistrationRequest, Storage, StorageContainer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use url::Url;
use uuid::Uuid;

pub use self::config::{BrokerConfig, Extent};
use self::connection::Silence;
use self::storage::Records;
use self::topics::Topics;
use centinela_serve::{ServerError, accept, listen};

const SERVICE: &str = "kafka";
const CLUSTER_ID: &str = "centinela";
const NODE_ID: i32 = 1;

/// How often is looked for what is too old; Apache Kafka does every five minutes.
const RETENTION_CHECK: Duration = Duration::from_secs(1);
/// For what is large and may outlive a memory file system, which /tmp often is (file-hierarchy(7)).
const LARGE_FILES: &str = "/var/tmp";

/// Why the broker cannot start, or did not end in order.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BrokerError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("the embedded kafka broker on port {port} ended")]
    Assembly {
        port: u16,
        #[source]
        source: Box<TansuError>,
    },
    #[error("the embedded kafka cannot keep records in {}; name another directory in TMPDIR", directory.display())]
    Directory {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
}

fn panicked() -> BrokerError {
    ServerError::Panicked { service: SERVICE }.into()
}

/// A running broker. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    groups: Controller<Records>,
    records: Records,
    /// None only while it restarts.
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Held by a restart.
    restarting: tokio::sync::Mutex<()>,
    /// Where it was started: it serves there after a restart too.
    runtime: Handle,
}

impl Broker {
    /// Starts a broker; it accepts connections when this returns.
    ///
    /// # Errors
    /// When the requested port is taken, or when the broker cannot be put together.
    pub fn start(config: BrokerConfig) -> BoxFuture<'static, Result<Self, BrokerError>> {
        Box::pin(Self::begin(config))
    }

    async fn begin(config: BrokerConfig) -> Result<Self, BrokerError> {
        let listener = listen(SERVICE, config.port).await?;
        let port = listener
            .local_addr()
            .map_err(|source| ServerError::Listen { service: SERVICE, port: config.port.unwrap_or(0), source })?
            .port();
        let failed = |source| BrokerError::Assembly { port, source: Box::new(source) };
        let storage = storage(port, directory()?, &config).await.map_err(|source| failed(source.into()))?;
        let groups = Controller::with_storage(storage.clone()).map_err(failed)?;
        let accepting = Mutex::new(Some(tokio::spawn(serve_all(listener, groups.clone(), storage.clone()))));
        let restarting = tokio::sync::Mutex::default();
        Ok(Self { port, groups, records: storage, accepting, restarting, runtime: Handle::current() })
    }

    /// The bootstrap servers, `127.0.0.1:port`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port that the broker listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes the port and every connection, and serves again after `down`, on the same port and with the same records. One at a time:
    /// a second restart begins when the first has ended.
    ///
    /// # Errors
    /// When somebody else took the port meanwhile, or the broker had ended by itself before.
    pub fn restart(&self, down: Duration) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(self.close_and_serve(down))
    }

    async fn close_and_serve(&self, down: Duration) -> Result<(), BrokerError> {
        let _one_at_a_time = self.restarting.lock().await;
        if let Some(before) = self.swap(None) {
            before.abort();
            if before.await.is_err_and(|error| error.is_panic()) {
                return Err(panicked());
            }
        }
        tokio::time::sleep(down).await;
        let listening = self.runtime.spawn(listen(SERVICE, Some(self.port)));
        let listener = listening.await.map_err(|_| panicked())??;
        let serving = serve_all(listener, self.groups.clone(), self.records.clone());
        self.swap(Some(self.runtime.spawn(serving)));
        Ok(())
    }

    fn swap(&self, accepting: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        std::mem::replace(&mut *self.accepting.lock().unwrap_or_else(PoisonError::into_inner), accepting)
    }

    /// Answers nothing, as a process that was stopped, or goes on. Connections stay and are taken on.
    pub fn set_frozen(&self, frozen: bool) {
        self.records.set_frozen(frozen);
    }

    /// Refuses every record for a topic with `NOT_ENOUGH_REPLICAS`, as a broker does whose followers are away, or takes them
    /// again. Returns whether there is such a topic.
    pub fn set_refusing(&self, topic: &str, refusing: bool) -> bool {
        self.records.topics().set_refusing(topic, refusing)
    }

    /// Adds empty partitions until the topic has `partitions`; never takes one away. Returns whether there is such a topic.
    pub fn add_partitions(&self, topic: &str, partitions: usize) -> bool {
        self.records.topics().grow(topic, partitions)
    }

    /// How far the partitions of a topic reach, in order; empty when there is no such topic.
    #[must_use]
    pub fn extents(&self, topic: &str) -> Vec<Extent> {
        self.records.topics().extents(topic)
    }

    /// Closes every connection and forgets every record. Producers must have flushed before.
    ///
    /// # Errors
    /// When the broker had ended by itself before.
    pub async fn shutdown(self) -> Result<(), BrokerError> {
        let Some(accepting) = self.swap(None) else { return Ok(()) };
        accepting.abort();
        match accepting.await {
            Err(error) if error.is_panic() => Err(panicked()),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(accepting) = self.swap(None) {
            accepting.abort();
        }
    }
}

/// Serves connections until it is dropped, which ends them too.
async fn serve_all(listener: TcpListener, groups: Controller<Records>, storage: Records) {
    let mut connections = JoinSet::new();
    let mut checks = tokio::time::interval(RETENTION_CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            stream = accept(&listener, SERVICE) => {
                connections.spawn(serve(stream, groups.clone(), storage.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = checks.tick() => storage.topics().retain(),
        }
    }
}

async fn serve(stream: TcpStream, groups: Controller<Records>, storage: Records) {
    let outcome = async {
        stream.set_nodelay(true)?;
        let route = storage_services(FrameRouteService::<(), TansuError>::builder(), storage.clone())
            .and_then(|builder| group_services(builder, groups))
            .and_then(login_services)?
            .build()?;
        let silence = Silence::default();
        let corrected = Corrected { route, records: storage, silence: silence.clone() };
        connection::serve(stream, BytesFrameLayer::default().into_layer(corrected), silence).await
    };
    if let Err(error) = outcome.await {
        // A client that goes away ends here as well.
        tracing::debug!(error = &error as &dyn std::error::Error, "a broker connection ended");
    }
}

/// Answers as Apache Kafka does where the broker's own answers trip clients up.
struct Corrected<S> {
    route: S,
    records: Records,
    silence: Silence,
}

impl<S> Service<(), Frame> for Corrected<S>
where
    S: Service<(), Frame, Response = Frame>,
{
    type Response = Frame;
    type Error = S::Error;

    async fn serve(&self, context: Context<()>, mut request: Frame) -> Result<Frame, S::Error> {
        self.records.thawed().await;
        let mut fetched = Vec::new();
        if let Body::FetchRequest(fetch) = &mut request.body {
            fetched = fetch.topics.iter().flatten().map(|topic| (topic.topic_id, offsets(topic))).collect();
            // The broker itself sleeps through a fetch's time whatever it has; so the waiting is done here, and it only reads.
            self.records.topics().wait_for(fetch).await;
            fetch.max_wait_ms = 0;
        }
        let is_awaited = !matches!(&request.body, Body::ProduceRequest(produce) if produce.acks == 0);
        let mut frame = self.route.serve(context, request).await?;
        self.records.thawed().await;
        if !is_awaited {
            self.silence.keep();
        }
        frame.body = match frame.body {
            // Apache Kafka leaves fields at their defaults out, and librdkafka before 2.2 (Debian 12's kcat) cannot skip them.
            Body::ApiVersionsResponse(versions) => versions
                .finalized_features(None)
                .finalized_features_epoch(None)
                .supported_features(None)
                .zk_migration_ready(None)
                .into(),
            Body::FetchResponse(mut answer) => {
                for (topic, (id, offsets)) in answer.responses.iter_mut().flatten().zip(fetched) {
                    name_unknown(topic, id);
                    refuse_out_of_range(topic, &offsets);
                }
                answer.into()
            }
            body => body,
        };
        Ok(frame)
    }
}

/// The broker answers for an unknown topic id with no id and a made-up leader, which librdkafka 2.12 reads through a null pointer.
fn name_unknown(topic: &mut FetchableTopicResponse, asked: Option<[u8; 16]>) {
    let unknown = i16::from(ErrorCode::UnknownTopicOrPartition);
    for partition in topic.partitions.iter_mut().flatten().filter(|partition| partition.error_code == unknown) {
        partition.current_leader = None;
        if asked.is_some_and(|asked| topic.topic_id != Some(asked)) {
            partition.error_code = ErrorCode::UnknownTopicId.into();
        }
    }
    if asked.is_some() {
        topic.topic_id = asked;
    }
}

fn offsets(topic: &FetchTopic) -> Vec<i64> {
    topic.partitions.iter().flatten().map(|partition| partition.fetch_offset).collect()
}

/// The broker answers a fetch below the first record or above the end as if it waited there.
fn refuse_out_of_range(topic: &mut FetchableTopicResponse, offsets: &[i64]) {
    for (partition, offset) in topic.partitions.iter_mut().flatten().zip(offsets) {
        let is_in_range = (partition.log_start_offset.unwrap_or(0)..=partition.high_watermark).contains(offset);
        if partition.error_code == i16::from(ErrorCode::None) && partition.records.is_none() && !is_in_range {
            partition.error_code = ErrorCode::OffsetOutOfRange.into();
        }
    }
}

/// The first directory that takes large files.
fn directory() -> Result<Arc<Path>, BrokerError> {
    let is_named = std::env::var_os("TMPDIR").is_some_and(|named| !named.is_empty());
    let large = (!is_named).then(|| PathBuf::from(LARGE_FILES));
    let usual = std::env::temp_dir();
    let takes_files = |directory: &PathBuf| tempfile::tempfile_in(directory).is_ok();
    if let Some(large) = large.filter(takes_files) {
        return Ok(large.into());
    }
    match tempfile::tempfile_in(&usual) {
        Ok(_) => Ok(usual.into()),
        Err(source) => Err(BrokerError::Directory { directory: usual, source }),
    }
}

async fn storage(port: u16, directory: Arc<Path>, config: &BrokerConfig) -> Result<Records, tansu_storage::Error> {
    let rest = StorageContainer::builder()
        .cluster_id(CLUSTER_ID)
        .node_id(NODE_ID)
        .advertised_listener(Url::parse(&format!("tcp://127.0.0.1:{port}"))?)
        .storage(Url::parse("memory://centinela/")?)
        .silent(true)
        .build()
        .await?;
    let records = Records::over(rest, Topics::new(directory, config));
    records
        .register_broker(BrokerRegistrationRequest {
            broker_id: NODE_ID,
            cluster_id: CLUSTER_ID.to_owned(),
            incarnation_id: Uuid::nil(),
            rack: None,
        })
        .await?;
    Ok(records)
}
