//! A Kafka broker in the process: the protocol of Apache Kafka over logs of its own, for one machine and for tests. It speaks to
//! librdkafka from 0.11 on and to the Java, Python and Go clients of Kafka 4.
//!
//! Records are in files that have no names and end with the process (`store/segment.rs`); topics keep them as their own settings say
//! and within a share of the disk. Nothing is synced: a power cut ends the broker and its records together. Groups, committed offsets
//! and the topics themselves are in memory. There are no transactions, no replicas, no logins and no encryption.

mod api;
mod connection;
mod groups;
mod permissions;
mod random;
mod requests;
mod router;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use centinela_serve::{Calls, ServerError, listen};
use futures::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use self::router::Router;

const SERVICE: &str = "kafka";

/// What a topic may take of the disk unless it is said.
const DISK_BYTES_PER_TOPIC: u64 = 1024 * 1024 * 1024;
/// How often is looked for what is too old; Apache Kafka does every five minutes.
const RETENTION_CHECK: Duration = Duration::from_secs(1);
/// For what is large and may outlive a memory file system, which /tmp often is (file-hierarchy(7)).
const LARGE_FILES: &str = "/var/tmp";

/// How to start the broker.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// The port to listen on; `None` takes a free one.
    pub port: Option<u16>,
    /// What a topic may take of the disk, in equal shares for its partitions; the oldest records go first. This comes on top of
    /// `retention.ms` and `retention.bytes`.
    pub disk_bytes_per_topic: u64,
    /// Groups by the topic that is kept for them: to stay within the disk nothing is given up that one of them has not committed; records
    /// are refused instead, with `KAFKA_STORAGE_ERROR`, and producers try again. The topic's own retention heeds nobody, as in Apache Kafka.
    pub kept_for: BTreeMap<String, Vec<String>>,
    /// Notes what clients ask for.
    pub calls: Calls,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let (kept_for, calls) = (BTreeMap::new(), Calls::default());
        Self { port: None, disk_bytes_per_topic: DISK_BYTES_PER_TOPIC, kept_for, calls }
    }
}

/// How far a partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The oldest offset that is kept: everything below was given up.
    pub first: i64,
    /// The offset that the next record gets.
    pub next: i64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Why a broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Its port, or its end.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The directory that holds the records cannot be used.
    #[error("the embedded kafka cannot keep records in {}; name another directory in TMPDIR", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
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
    router: Router,
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
    /// When the requested port is taken, or when no directory takes records.
    pub fn start(config: BrokerConfig) -> BoxFuture<'static, Result<Self, BrokerError>> {
        Box::pin(Self::begin(config))
    }

    async fn begin(config: BrokerConfig) -> Result<Self, BrokerError> {
        let listener = listen(SERVICE, config.port).await?;
        let listening = |source| ServerError::Listen { service: SERVICE, port: config.port.unwrap_or(0), source };
        let port = listener.local_addr().map_err(listening)?.port();
        let router = Router::new(port, directory()?, &config);
        let accepting = Mutex::new(Some(tokio::spawn(accept(listener, router.clone()))));
        let restarting = tokio::sync::Mutex::default();
        Ok(Self { port, router, accepting, restarting, runtime: Handle::current() })
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
        self.restart_unregistered(down, Duration::ZERO)
    }

    /// The same, and for `unregistered` its answers name its topics, without leaders, and no broker: so does Apache Kafka between the
    /// moment when it listens and the one when the controller has registered it.
    ///
    /// # Errors
    /// As for [`Broker::restart`].
    pub fn restart_unregistered(
        &self,
        down: Duration,
        unregistered: Duration,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(self.close_and_serve(down, unregistered))
    }

    async fn close_and_serve(&self, down: Duration, unregistered: Duration) -> Result<(), BrokerError> {
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
        self.router.reconnect(unregistered);
        let serving = accept(listener, self.router.clone());
        self.swap(Some(self.runtime.spawn(serving)));
        Ok(())
    }

    fn swap(&self, accepting: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        std::mem::replace(&mut *self.accepting.lock().unwrap_or_else(PoisonError::into_inner), accepting)
    }

    /// Answers nothing, as a process that was stopped, or goes on. Connections stay and are taken on.
    pub fn set_frozen(&self, frozen: bool) {
        self.router.set_frozen(frozen);
    }

    /// Refuses every record for a topic with `NOT_ENOUGH_REPLICAS`, as a broker does whose followers are away, or takes them
    /// again. Returns whether there is such a topic.
    pub fn set_refusing(&self, topic: &str, refusing: bool) -> bool {
        self.router.topics().set_refusing(topic, refusing)
    }

    /// Adds empty partitions until the topic has `partitions`; never takes one away. Returns whether there is such a topic.
    pub fn add_partitions(&self, topic: &str, partitions: usize) -> bool {
        self.router.topics().grow(topic, partitions)
    }

    /// How far the partitions of a topic reach, in order; empty when there is no such topic.
    #[must_use]
    pub fn extents(&self, topic: &str) -> Vec<Extent> {
        self.router.topics().extents(topic)
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
async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    let mut groups = pin!(router.run_groups());
    let mut checks = tokio::time::interval(RETENTION_CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            stream = centinela_serve::accept(&listener, SERVICE) => {
                connections.spawn(serve(stream, router.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = &mut groups => {}
            _ = checks.tick() => router.topics().retain(),
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    if let Err(error) = connection::serve(stream, &router).await {
        // A client that goes away ends here as well.
        tracing::debug!(%error, "a broker connection ended");
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
