//! A stretch of a partition in a file: batches one behind the other, and a sparse index of them in memory.
//!
//! The file has no name, so nothing is left of it when the process ends in whatever way. It is never synced: what it holds is for
//! as long as the process lives. So what came last stays in memory and is written many batches at a time; most reads are of that.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::batch::{self, Batch, HEADER_BYTES, Header};

/// Bytes of batches that share an entry of the index, as Apache Kafka's `index.interval.bytes`.
const INDEX_BYTES: u64 = 4_096;
/// Bytes that a search takes from the file at once.
const SEARCH_BYTES: u64 = 2 * INDEX_BYTES;
/// Bytes that stay in memory at most (of a test's few records less), and those of them that stay when the others go.
const TAIL_BYTES: usize = if cfg!(test) { 12 * 1024 } else { 64 * 1024 };
const KEPT_BYTES: u64 = TAIL_BYTES as u64 / 2;

/// Where a batch begins.
#[derive(Clone, Copy, Debug)]
struct IndexEntry {
    offset: i64,
    position: u64,
    /// The newest time of a record before it in this segment.
    newest_before_ms: i64,
}

#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    index: Vec<IndexEntry>,
    first: i64,
    bytes: u64,
    /// The last batches, from a position on.
    tail: Vec<u8>,
    tail_at: u64,
    /// How much of the tail is in the file too.
    written: usize,
    created_ms: i64,
    newest_ms: i64,
}

impl Segment {
    /// An empty segment for the records from `first` on.
    pub(super) fn create(directory: &Path, first: i64, now_ms: i64) -> io::Result<Self> {
        let file = tempfile::tempfile_in(directory)?;
        let (index, tail) = (Vec::new(), Vec::new());
        let (tail_at, written, newest_ms) = (0, 0, i64::MIN);
        Ok(Self { file, index, first, bytes: 0, tail, tail_at, written, created_ms: now_ms, newest_ms })
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

    /// Puts a batch behind the last one; after an error it is as if nothing had been tried.
    pub(super) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        if self.tail.len() + batch.bytes().len() > TAIL_BYTES {
            self.write()?;
            self.shorten();
        }
        self.tail.extend_from_slice(batch.bytes());
        if self.index.last().is_none_or(|entry| self.bytes - entry.position >= INDEX_BYTES) {
            let (offset, position, newest_before_ms) = (batch.header.base_offset, self.bytes, self.newest_ms);
            self.index.push(IndexEntry { offset, position, newest_before_ms });
        }
        self.bytes += batch.size();
        self.newest_ms = self.newest_ms.max(batch.header.max_timestamp);
        Ok(())
    }

    /// Nothing comes behind the last batch any more: keeps nothing in memory.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        self.write()?;
        (self.tail, self.tail_at, self.written) = (Vec::new(), self.bytes, 0);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.tail[self.written..], self.tail_at + self.written as u64)?;
        self.written = self.tail.len();
        Ok(())
    }

    /// Lets go of the beginning of the tail, as far as a batch that the index knows.
    fn shorten(&mut self) {
        let kept = self.index.partition_point(|entry| entry.position + KEPT_BYTES <= self.bytes);
        let from = kept.checked_sub(1).map_or(self.tail_at, |kept| self.index[kept].position.max(self.tail_at));
        let from = if self.bytes - from > TAIL_BYTES as u64 { self.bytes } else { from };
        self.tail.drain(..(from - self.tail_at) as usize);
        self.tail_at = from;
        self.written = self.tail.len();
    }

    /// Adds bytes to `found`.
    fn copy(&self, found: &mut Vec<u8>, position: u64, bytes: u64) -> io::Result<()> {
        let in_file = self.tail_at.saturating_sub(position).min(bytes);
        if in_file > 0 {
            let before = found.len();
            found.resize(before + in_file as usize, 0);
            self.file.read_exact_at(&mut found[before..], position)?;
        }
        let from = (position + in_file).saturating_sub(self.tail_at) as usize;
        found.extend_from_slice(&self.tail[from..from + (bytes - in_file) as usize]);
        Ok(())
    }

    /// Adds whole batches to `found`, from the one with `offset` on: as many as fit into `max_bytes`, and the first one in any case
    /// when `found` is empty and `takes_one`. Returns whether the segment was read to its end.
    pub(super) fn read(&self, found: &mut Vec<u8>, offset: i64, max_bytes: u64, takes_one: bool) -> io::Result<bool> {
        let Some((position, first)) = self.find(offset)? else { return Ok(true) };
        let needed = if takes_one && found.is_empty() { first.size() } else { 0 };
        let before = found.len();
        let wanted = max_bytes.max(needed).min(self.bytes - position);
        self.copy(found, position, wanted)?;
        let whole: u64 = batch::headers(&found[before..]).map(|header| header.size()).sum();
        found.truncate(before + whole as usize);
        Ok(position + whole == self.bytes)
    }

    /// The batches from the first one on that has a record which is not older than `time_ms`.
    pub(super) fn since_time(&self, time_ms: i64) -> impl Iterator<Item = io::Result<Vec<u8>>> {
        let before = self.index.partition_point(|entry| entry.newest_before_ms < time_ms);
        let headers = self.headers_from(before);
        let newer =
            headers.skip_while(move |header| matches!(header, Ok((_, header)) if header.max_timestamp < time_ms));
        newer.map(|header| {
            let (position, header) = header?;
            let mut bytes = Vec::new();
            self.copy(&mut bytes, position, header.size())?;
            Ok(bytes)
        })
    }

    /// Bytes of the batches from the one with `offset` on.
    pub(super) fn bytes_from(&self, offset: i64) -> io::Result<u64> {
        Ok(self.find(offset)?.map_or(0, |(position, _)| self.bytes - position))
    }

    /// Where the batch with `offset` begins, or the first one behind it.
    fn find(&self, offset: i64) -> io::Result<Option<(u64, Header)>> {
        let before = self.index.partition_point(|entry| entry.offset <= offset);
        let mut headers = self.headers_from(before);
        headers.find(|header| !matches!(header, Ok((_, header)) if header.last_offset() < offset)).transpose()
    }

    /// All batches' positions and headers from the last of the first `entries` entries of the index on.
    fn headers_from(&self, entries: usize) -> Headers<'_> {
        let position = entries.checked_sub(1).map_or(0, |entry| self.index[entry].position);
        Headers { segment: self, position, ahead: Cow::Borrowed(&[]), ahead_at: position }
    }
}

/// Goes through a segment batch by batch.
struct Headers<'a> {
    segment: &'a Segment,
    /// Of the next batch.
    position: u64,
    /// What was read, and from where on.
    ahead: Cow<'a, [u8]>,
    ahead_at: u64,
}

impl<'a> Headers<'a> {
    fn read(&mut self) -> io::Result<Header> {
        let known = |headers: &Self| {
            let from = usize::try_from(headers.position - headers.ahead_at).unwrap_or(usize::MAX);
            headers.ahead.get(from..).and_then(Header::read)
        };
        if let Some(header) = known(self) {
            return Ok(header);
        }
        let segment: &'a Segment = self.segment;
        self.ahead = match self.position.checked_sub(segment.tail_at) {
            Some(from) => Cow::Borrowed(&segment.tail[from as usize..]),
            None => {
                let mut ahead = Vec::new();
                segment.copy(&mut ahead, self.position, SEARCH_BYTES.min(segment.bytes - self.position))?;
                Cow::Owned(ahead)
            }
        };
        self.ahead_at = self.position;
        known(self).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Iterator for Headers<'_> {
    type Item = io::Result<(u64, Header)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.segment.bytes {
            return None;
        }
        let (position, header) = (self.position, self.read());
        // What cannot be read once is not tried for ever.
        self.position =
            header.as_ref().map_or(self.segment.bytes, |header| position + header.size().max(HEADER_BYTES as u64));
        Some(header.map(|header| (position, header)))
    }
}
