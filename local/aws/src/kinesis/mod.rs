//! The embedded Kinesis Data Streams: the part of the API that producers and consumers use, over records in memory.
//!
//! It enforces the limits of a request, refuses as AWS refuses, and can fail single records of a `PutRecords`. It does not
//! limit the throughput of a shard, does not push to enhanced fan-out consumers and does
//! not encrypt. A shard keeps the records of a day, as AWS does, within [`KinesisConfig::held_bytes_per_shard`]: the oldest go first.

mod api;
mod error;
mod log;
mod reader;
mod reading;
mod state;
mod streams;
mod writing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use centinela_serve::ServerError;
use futures::future::BoxFuture;
use tokio::sync::watch;

pub use log::{ShardPage, ShardRecord};
pub use reader::{ShardState, StreamReader};
pub use state::KinesisStats;

use crate::fault::{FaultSource, NoFaults};
use crate::latency::Latency;
use crate::proxy::{ProxiedService, Proxy};
use crate::specs::StreamSpec;
use log::Stream;
use state::{Shared, State};

/// Some seven thousand decisions.
const HELD_BYTES_PER_SHARD: usize = 8 * 1024 * 1024;

/// Why the embedded streams cannot start, or did not end in order.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum KinesisError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(
        "stream {name:?} with {shards} shards is not valid; use a name of 1 to 128 letters, digits, '_', '.' or '-' and at least one shard"
    )]
    Stream { name: String, shards: u16 },
}

/// How to start the streams.
#[derive(Clone)]
pub struct KinesisConfig {
    /// The port to listen on; `None` takes a free one.
    pub port: Option<u16>,
    /// The streams that exist from the start.
    pub streams: Vec<StreamSpec>,
    /// How much memory a shard's records take before it forgets the oldest.
    pub held_bytes_per_shard: usize,
    /// Decides which requests and records go wrong.
    pub faults: Arc<dyn FaultSource>,
    /// How long a call takes; `None` leaves it as long as it takes.
    pub latency: Option<Arc<Latency>>,
}

impl Default for KinesisConfig {
    fn default() -> Self {
        Self {
            port: None,
            streams: Vec::new(),
            held_bytes_per_shard: HELD_BYTES_PER_SHARD,
            faults: Arc::new(NoFaults),
            latency: None,
        }
    }
}

impl std::fmt::Debug for KinesisConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KinesisConfig")
            .field("port", &self.port)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom<'a> {
    /// The oldest record that is kept.
    TrimHorizon,
    /// The first record that is written from now on.
    Latest,
    /// The record after this sequence number.
    After(&'a str),
}

/// Running streams. Dropping them stops them without waiting.
pub struct Kinesis {
    proxy: Proxy,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Kinesis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kinesis").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Kinesis {
    /// Starts the streams, empty.
    ///
    /// # Errors
    /// When the port is taken or a stream is not valid.
    pub fn start(config: KinesisConfig) -> BoxFuture<'static, Result<Self, KinesisError>> {
        Box::pin(Self::begin(config))
    }

    async fn begin(config: KinesisConfig) -> Result<Self, KinesisError> {
        let mut streams = BTreeMap::new();
        for spec in config.streams {
            if !log::is_stream_name(&spec.name) || spec.shards == 0 {
                return Err(KinesisError::Stream { name: spec.name, shards: spec.shards });
            }
            let stream = Stream::new(&spec.name, spec.shards);
            streams.insert(spec.name, stream);
        }
        let state =
            State { streams, stats: KinesisStats::default(), held_bytes_per_shard: config.held_bytes_per_shard };
        let (written, _) = watch::channel(0);
        let shared = Arc::new(Shared { state: Mutex::new(state), written });
        let (service, upstream) = (ProxiedService::Kinesis, Arc::clone(&shared));
        let proxy = Proxy::before(upstream, service, config.port, config.faults, config.latency).await?;
        Ok(Self { proxy, shared })
    }

    /// The endpoint URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// What was asked so far.
    #[must_use]
    pub fn snapshot(&self) -> KinesisStats {
        let asked = self.proxy.snapshot();
        KinesisStats { calls: asked.calls, throttled: asked.throttled, ..self.shared.state().stats.clone() }
    }

    /// The shard ids of a stream in order; empty when there is no such stream.
    #[must_use]
    pub fn shards(&self, stream: &str) -> Vec<String> {
        let state = self.shared.state();
        state.streams.get(stream).map_or_else(Vec::new, |stream| stream.shard_ids().map(str::to_owned).collect())
    }

    /// Reads a shard without HTTP, for an event-source mapping in this process. `None` when there is no such shard or the
    /// sequence number is none of ours. Reads are not counted.
    #[must_use]
    pub fn read(&self, stream: &str, shard: &str, from: ReadFrom<'_>, limit: usize) -> Option<ShardPage> {
        let state = self.shared.state();
        let stream = state.streams.get(stream)?;
        let after = match from {
            ReadFrom::TrimHorizon => 0,
            ReadFrom::Latest => stream.last_sequence(),
            ReadFrom::After(number) => log::parse_sequence(number)?,
        };
        stream.read(shard, after, limit, usize::MAX)
    }

    /// A reader of a stream in this process, by a name of its own; what it has not handled yet is kept. None when there is no such stream.
    #[must_use]
    pub fn reader(&self, stream: &str, name: &str) -> Option<StreamReader> {
        StreamReader::new(&self.shared, stream, name)
    }

    /// Changes whenever records were written to any stream: a reader that found nothing waits on it.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.shared.written.subscribe()
    }

    /// Finishes open requests, stops and forgets every record.
    ///
    /// # Errors
    /// When a task of the service panicked.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.proxy.shutdown().await
    }
}
