//! A stretch of a partition in a file: batches one behind the other, and a sparse index of them in memory.
//!
//! The file has no name, so nothing is left of it when the process ends in whatever way. It is never synced: what it holds is for
//! as long as the process lives, and the page cache serves most reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use tansu_sans_io::record::deflated;

use super::batch;

/// Bytes of batches that share a mark of the index, as Apache Kafka's `index.interval.bytes`.
const INDEX_BYTES: u64 = 4_096;
/// Bytes that a reader takes from the file at once.
const READ_BYTES: u64 = 256 * 1_024;

/// Where a batch begins.
#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: i64,
    position: u64,
    /// The newest time of a record before it in this segment.
    newest_before_ms: i64,
}

#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    index: Vec<Mark>,
    first: i64,
    bytes: u64,
    created_ms: i64,
    newest_ms: i64,
}

impl Segment {
    /// An empty segment for the records from `first` on.
    pub(super) fn create(directory: &Path, first: i64, now_ms: i64) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        Ok(Self { file, index: Vec::new(), first, bytes: 0, created_ms: now_ms, newest_ms: i64::MIN })
    }

    /// The offset that it begins with.
    pub(super) fn first(&self) -> i64 {
        self.first
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn created_ms(&self) -> i64 {
        self.created_ms
    }

    /// The newest time of a record.
    pub(super) fn newest_ms(&self) -> i64 {
        self.newest_ms
    }

    /// Writes a batch behind the last one; after an error it is as if nothing had been tried.
    pub(super) fn append(&mut self, batch: &deflated::Batch) -> io::Result<()> {
        let encoded = Bytes::from(batch.clone());
        self.file.write_all_at(&encoded, self.bytes)?;
        if self.index.last().is_none_or(|mark| self.bytes - mark.position >= INDEX_BYTES) {
            let (offset, position, newest_before_ms) = (batch.base_offset, self.bytes, self.newest_ms);
            self.index.push(Mark { offset, position, newest_before_ms });
        }
        self.bytes += encoded.len() as u64;
        self.newest_ms = self.newest_ms.max(batch.max_timestamp);
        Ok(())
    }

    /// The batches from the one with `offset` on.
    pub(super) fn since_offset(&self, offset: i64) -> impl Iterator<Item = io::Result<deflated::Batch>> {
        let before = self.index.partition_point(|mark| mark.offset <= offset);
        self.behind_mark(before, READ_BYTES)
            .skip_while(move |batch| batch.as_ref().is_ok_and(|batch| batch::last_offset(batch) < offset))
    }

    /// The batches from the first one on that has a record which is not older than `time_ms`.
    pub(super) fn since_time(&self, time_ms: i64) -> impl Iterator<Item = io::Result<deflated::Batch>> {
        let before = self.index.partition_point(|mark| mark.newest_before_ms < time_ms);
        self.behind_mark(before, READ_BYTES)
            .skip_while(move |batch| batch.as_ref().is_ok_and(|batch| batch.max_timestamp < time_ms))
    }

    /// Bytes of the batches from the one with `offset` on.
    pub(super) fn bytes_from(&self, offset: i64) -> io::Result<u64> {
        let before = self.index.partition_point(|mark| mark.offset <= offset);
        let mut batches = self.behind_mark(before, 2 * INDEX_BYTES);
        while let Some(batch) = batches.next().transpose()? {
            if batch::last_offset(&batch) >= offset {
                return Ok(self.bytes - batches.position + batch::size(&batch));
            }
        }
        Ok(0)
    }

    /// All batches from the last of the first `marks` marks on.
    fn behind_mark(&self, marks: usize, window: u64) -> Batches<'_> {
        let position = marks.checked_sub(1).map_or(0, |mark| self.index[mark].position);
        Batches { segment: self, position, window, ahead: Bytes::new() }
    }
}

/// Reads a segment batch by batch.
struct Batches<'a> {
    segment: &'a Segment,
    /// Of the next batch.
    position: u64,
    window: u64,
    /// What was read from there on.
    ahead: Bytes,
}

impl Batches<'_> {
    /// Sees to it that the next batch is read as far as `bytes`.
    fn look_ahead(&mut self, bytes: usize) -> io::Result<()> {
        if self.ahead.len() < bytes {
            let left = self.segment.bytes - self.position;
            let mut read = vec![0; left.min(self.window.max(bytes as u64)) as usize];
            self.segment.file.read_exact_at(&mut read, self.position)?;
            self.ahead = read.into();
        }
        if self.ahead.len() < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn read(&mut self) -> io::Result<deflated::Batch> {
        self.look_ahead(batch::HEADER_BYTES)?;
        let bytes = batch::bytes_needed(&self.ahead);
        self.look_ahead(bytes)?;
        self.position += bytes as u64;
        Ok(batch::take(&mut self.ahead))
    }
}

impl Iterator for Batches<'_> {
    type Item = io::Result<deflated::Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.segment.bytes {
            return None;
        }
        let batch = self.read();
        if batch.is_err() {
            // What cannot be read once is not tried for ever.
            self.position = self.segment.bytes;
        }
        Some(batch)
    }
}
