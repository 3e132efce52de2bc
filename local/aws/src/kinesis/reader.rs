//! A reader in this process: without HTTP, and with a name, so that what it has not handled is kept.

use std::sync::Arc;

use tokio::sync::watch;

use super::log::{self, ShardPage};
use super::state::Shared;

/// A shard as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardState {
    /// Its id.
    pub id: String,
    /// The shards that it was split or merged from.
    pub parents: Vec<String>,
    /// The sequence number of the newest record that it ever had.
    pub newest: Option<String>,
    /// The first and the last hash key of its records.
    pub hash_keys: (u128, u128),
    /// Whether it takes records.
    pub is_open: bool,
}

/// Reads one stream. Reads are not counted.
#[derive(Clone)]
pub struct StreamReader {
    shared: Arc<Shared>,
    stream: String,
    name: String,
}

impl StreamReader {
    pub(super) fn new(shared: &Arc<Shared>, stream: &str, name: &str) -> Option<Self> {
        shared.state().streams.get_mut(stream)?.reads(name, None);
        Some(Self { shared: Arc::clone(shared), stream: stream.to_owned(), name: name.to_owned() })
    }

    /// The shards, closed ones included; none when the stream is gone.
    #[must_use]
    pub fn shards(&self) -> Option<Vec<ShardState>> {
        let state = self.shared.state();
        let shards = state.streams.get(&self.stream)?.shards().iter().map(|shard| ShardState {
            id: shard.id.clone(),
            parents: shard.parents.clone(),
            newest: (shard.newest > 0).then(|| log::sequence_number(shard.newest)),
            hash_keys: (shard.first_hash, shard.last_hash),
            is_open: shard.closed_at.is_none(),
        });
        Some(shards.collect())
    }

    /// Reads a shard behind a record, or from the oldest on. None when the stream or the shard is gone, or the sequence number is none
    /// of its.
    #[must_use]
    pub fn read(&self, shard: &str, after: Option<&str>, limit: usize) -> Option<ShardPage> {
        let after = place(after)?;
        self.shared.state().streams.get(&self.stream)?.read(shard, after, limit, usize::MAX)
    }

    /// How many records are kept behind a record.
    #[must_use]
    pub fn behind(&self, shard: &str, after: Option<&str>) -> u64 {
        let state = self.shared.state();
        let behind = place(after).and_then(|after| Some(state.streams.get(&self.stream)?.behind(shard, after)));
        behind.unwrap_or(0)
    }

    /// Says that it needs a shard's records up to this one no more.
    pub fn handled(&self, shard: &str, sequence_number: &str) {
        let mut state = self.shared.state();
        if let Some((stream, sequence)) = state.streams.get_mut(&self.stream).zip(log::parse_sequence(sequence_number))
        {
            stream.reads(&self.name, Some((shard, sequence)));
        }
    }

    /// Closes a shard and opens two in its place, cut in the middle. False when that cannot be.
    #[must_use]
    pub fn split(&self, shard: &str) -> bool {
        let keys = self.shards().into_iter().flatten().find(|known| known.id == shard).map(|known| known.hash_keys);
        let Some((first, last)) = keys else { return false };
        self.reshape(|stream| stream.split(shard, first + (last - first) / 2 + 1))
    }

    /// Closes two adjacent shards and opens one in their place. False when that cannot be.
    #[must_use]
    pub fn merge(&self, shard: &str, adjacent: &str) -> bool {
        self.reshape(|stream| stream.merge(shard, adjacent))
    }

    fn reshape(&self, change: impl FnOnce(&mut log::Stream) -> bool) -> bool {
        let changed = self.shared.state().streams.get_mut(&self.stream).is_some_and(change);
        if changed {
            self.shared.written.send_modify(|version| *version += 1);
        }
        changed
    }

    /// Changes whenever something was written to any stream, or a shard was split or merged.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.shared.written.subscribe()
    }
}

fn place(after: Option<&str>) -> Option<u64> {
    after.map_or(Some(0), log::parse_sequence)
}
