//! The streams and what was asked of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::error::{ApiError, missing};
use super::log::{self, NewRecord, Stream};

const PAYLOAD_UNIT_BYTES: u64 = 25 * 1024;

/// What was asked of the streams, for their bill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KinesisStats {
    /// Requests by operation, refused ones included.
    pub calls: BTreeMap<String, u64>,
    /// Records that were written.
    pub records: u64,
    /// Bytes of data and partition keys that were written.
    pub bytes: u64,
    /// The 25 KB units that a provisioned stream charges for the records.
    pub put_payload_units: u64,
    /// Requests and records that were throttled.
    pub throttled: u64,
}

/// Everything behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) stats: KinesisStats,
    pub(super) held_bytes_per_shard: usize,
}

/// What the HTTP side and the owner share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) written: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn stream(&self, name: &str) -> Result<&Stream, ApiError> {
        self.streams.get(name).ok_or_else(|| missing(name))
    }

    pub(super) fn stream_mut(&mut self, name: &str) -> Result<&mut Stream, ApiError> {
        self.streams.get_mut(name).ok_or_else(|| missing(name))
    }

    /// Sequence number and shard of the record.
    pub(super) fn append(&mut self, name: &str, record: NewRecord) -> Result<(String, String), ApiError> {
        let stream = self.streams.get_mut(name).ok_or_else(|| missing(name))?;
        let bytes = record.bytes as u64;
        self.stats.records += 1;
        self.stats.bytes += bytes;
        self.stats.put_payload_units += bytes.div_ceil(PAYLOAD_UNIT_BYTES).max(1);
        let (number, shard) = stream.append(record, self.held_bytes_per_shard, log::now_ms());
        Ok((number, shard.to_owned()))
    }
}
