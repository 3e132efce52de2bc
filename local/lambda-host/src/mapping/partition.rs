//! Records that were read and wait for their batch, per partition.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::event::{Envelope, Record};

/// One partition of the topic.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) id: i32,
    /// Reading is suspended because enough is buffered.
    pub(super) paused: bool,
    /// A fault keeps it from being delivered.
    pub(super) held_back: bool,
    buffer: VecDeque<Record>,
    buffered_bytes: usize,
    read_next: i64,
    /// Nothing at or above this offset is taken.
    cut: Option<i64>,
    /// What is below it is delivered without waiting for the window.
    hurry: Option<i64>,
    /// Where reading stands, and since when, while records wait behind it.
    still: Option<(i64, Instant)>,
    /// Lowest offset of the in-flight batch that is not complete.
    held_from: Option<i64>,
}

/// What can be delivered next.
#[derive(Debug)]
pub(super) enum Gathered {
    /// Sorted by partition and offset.
    Batch(Vec<Record>),
    /// One record that alone exceeds the payload limit.
    TooLarge(Record),
}

impl Partition {
    pub(super) fn new(id: i32, start: i64) -> Partition {
        Partition {
            id,
            paused: false,
            held_back: false,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            read_next: start,
            cut: None,
            hurry: None,
            still: None,
            held_from: None,
        }
    }

    /// Whether this offset is wanted: a reader that is resumed may see records again, and none is taken behind the cut.
    pub(super) fn expects(&self, offset: i64) -> bool {
        self.read_next <= offset && self.cut.is_none_or(|cut| offset < cut)
    }

    /// Whether there is something to read below `end`.
    pub(super) fn expects_up_to(&self, end: i64) -> bool {
        !self.paused && self.read_next < self.cut.map_or(end, |cut| end.min(cut))
    }

    /// Where reading goes on.
    pub(super) fn read_next(&self) -> i64 {
        self.read_next
    }

    /// Nothing below `offset` is left to read. It goes further than the last record where markers of transactions, aborted
    /// records or what compaction took follow it.
    pub(super) fn read_up_to(&mut self, offset: i64) {
        let offset = self.cut.map_or(offset, |cut| offset.min(cut));
        self.read_next = self.read_next.max(offset);
    }

    /// The topic was recreated or cut short: reading begins anew, here.
    pub(super) fn begin_anew(&mut self, offset: i64) {
        self.buffer.clear();
        self.buffered_bytes = 0;
        self.hurry = None;
        self.read_next = offset;
    }

    /// Takes nothing at or above `end`, or, where deliveries are further already, above those. Returns the first offset that is not
    /// taken.
    pub(super) fn cut(&mut self, end: i64) -> i64 {
        let taken = self.buffer.front().map_or(self.read_next, |record| record.offset);
        let cut = end.max(taken);
        while let Some(record) = self.buffer.pop_back_if(|record| cut <= record.offset) {
            self.buffered_bytes -= record.json_bytes();
        }
        self.read_next = self.read_next.min(cut);
        self.cut = Some(cut);
        cut
    }

    /// Everything below `end` is to be delivered as soon as it is read.
    pub(super) fn hurry(&mut self, end: i64) {
        self.hurry = Some(end);
    }

    /// Whether records wait that are to be delivered without waiting for the window.
    fn hurries(&self) -> bool {
        self.hurry.is_some_and(|end| self.oldest_free().is_some_and(|record| record.offset < end))
    }

    /// Whether such records are still to be read.
    fn is_short_of_its_hurry(&self) -> bool {
        self.hurry.is_some_and(|end| !self.paused && self.read_next < end)
    }

    /// How long reading has stood still at `now` although the partition goes on to `end`.
    pub(super) fn still_for(&mut self, end: i64, now: Instant) -> Duration {
        let waits = self.expects_up_to(end);
        self.still = match self.still {
            _ if !waits => None,
            Some((at, since)) if at == self.read_next => Some((at, since)),
            _ => Some((self.read_next, now)),
        };
        self.still.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since))
    }

    /// Its reader was started anew: patience begins again.
    pub(super) fn restarted(&mut self) {
        self.still = None;
    }

    /// Notes a record that was read.
    pub(super) fn read(&mut self, offset: i64, record: Record) {
        self.read_next = offset + 1;
        self.buffered_bytes += record.json_bytes();
        self.buffer.push_back(record);
    }

    pub(super) fn buffered_bytes(&self) -> usize {
        self.buffered_bytes
    }

    /// Everything below this offset is complete and may be committed.
    pub(super) fn position(&self) -> i64 {
        let waiting = self.buffer.front().map_or(self.read_next, |record| record.offset);
        self.held_from.unwrap_or(waiting)
    }

    /// Says up to where the batch in flight has come; none frees the partition.
    pub(super) fn hold(&mut self, from: Option<i64>) {
        self.held_from = from;
    }

    fn is_free(&self) -> bool {
        self.held_from.is_none() && !self.held_back
    }

    fn oldest_free(&self) -> Option<&Record> {
        self.buffer.front().filter(|_| self.is_free())
    }

    fn take(&mut self, count: usize) -> impl Iterator<Item = Record> {
        self.held_from = self.buffer.front().map(|record| record.offset);
        self.buffer.drain(..count).inspect(|record| self.buffered_bytes -= record.json_bytes())
    }
}

/// When the oldest record that may be delivered was read.
pub(super) fn oldest(partitions: &[Partition]) -> Option<Instant> {
    partitions.iter().filter_map(Partition::oldest_free).map(|record| record.received).min()
}

/// Whether somebody waits for what is there, and all of that has been read.
pub(super) fn is_hurried(partitions: &[Partition]) -> bool {
    partitions.iter().any(Partition::hurries) && !partitions.iter().any(Partition::is_short_of_its_hurry)
}

/// Whether waiting longer cannot make the next batch larger, or keeps a partition from being read on.
pub(super) fn is_full(partitions: &[Partition], envelope: &Envelope, batch_size: usize) -> bool {
    if partitions.iter().any(|partition| partition.paused && partition.oldest_free().is_some()) {
        return true;
    }
    let free = partitions.iter().filter(|partition| partition.is_free());
    let (records, bytes) = free.fold((0, 0), |(records, bytes), partition| {
        (records + partition.buffer.len(), bytes + partition.buffered_bytes)
    });
    records >= batch_size || bytes >= envelope.room()
}

/// Takes the next batch from the free partitions, longest waiting first, and holds the partitions that it touches.
pub(super) fn gather(partitions: &mut [Partition], envelope: &Envelope, batch_size: usize) -> Option<Gathered> {
    let mut order: Vec<(Instant, usize)> = partitions
        .iter()
        .enumerate()
        .filter_map(|(index, partition)| Some((partition.oldest_free()?.received, index)))
        .collect();
    order.sort_unstable();
    let mut room = envelope.room();
    let mut left = batch_size;
    let mut picks: Vec<(usize, usize)> = Vec::with_capacity(order.len());
    for (_, index) in order {
        let count = fitting(&partitions[index], envelope, left, &mut room);
        if count > 0 {
            left -= count;
            picks.push((index, count));
        } else if picks.is_empty() {
            let record = partitions[index].take(1).next()?;
            return Some(Gathered::TooLarge(record));
        }
        if left == 0 {
            break;
        }
    }
    if picks.is_empty() {
        return None;
    }
    picks.sort_unstable();
    let mut records = Vec::with_capacity(batch_size - left);
    for (index, count) in picks {
        records.extend(partitions[index].take(count));
    }
    Some(Gathered::Batch(records))
}

/// How many records of this partition still fit; takes their bytes from the room.
fn fitting(partition: &Partition, envelope: &Envelope, left: usize, room: &mut usize) -> usize {
    let mut remaining = room.saturating_sub(envelope.partition_bytes());
    let fits = |record: &&Record| match remaining.checked_sub(Envelope::record_bytes(record)) {
        Some(rest) => {
            remaining = rest;
            true
        }
        None => false,
    };
    let count = partition.buffer.iter().take(left).take_while(fits).count();
    if count > 0 {
        *room = remaining;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::event::{RawRecord, TimestampType};
    use super::*;

    fn record(offset: i64) -> Record {
        Record::encode(&RawRecord {
            topic: "orders",
            partition: 0,
            offset,
            timestamp_ms: 1_700_000_000_000,
            timestamp_type: TimestampType::LogAppendTime,
            key: None,
            value: Some(b"x"),
            headers: &[],
        })
    }

    /// A partition that begins at 0 and has read these offsets.
    fn read(offsets: std::ops::Range<i64>) -> Partition {
        let mut partition = Partition::new(0, 0);
        offsets.for_each(|offset| partition.read(offset, record(offset)));
        partition
    }

    #[test]
    fn what_is_no_record_is_committed_with_the_records_before_it() {
        let mut partition = read(0..3);
        partition.read_up_to(5);
        assert_eq!(partition.position(), 0, "the records are still to be delivered");
        let taken = partition.take(3).count();
        assert_eq!((taken, partition.position()), (3, 0));
        partition.hold(None);
        assert_eq!(partition.position(), 5);
        partition.read_up_to(4);
        assert_eq!(partition.read_next(), 5, "a late answer takes nothing back");
    }

    #[test]
    fn a_cut_lets_go_of_what_is_behind_it_and_of_nothing_that_was_delivered() {
        let mut partition = read(0..10);
        assert_eq!(partition.cut(6), 6);
        assert_eq!((partition.buffer.len(), partition.read_next()), (6, 6));
        assert!(!partition.expects(6) && !partition.expects_up_to(10));
        partition.read_up_to(9);
        assert_eq!(partition.read_next(), 6);

        let mut partition = read(0..10);
        assert_eq!(partition.take(8).count(), 8);
        assert_eq!(partition.cut(6), 8, "deliveries are further already");

        let mut partition = read(0..3);
        assert_eq!(partition.cut(6), 6);
        assert!(partition.expects(5) && !partition.expects(6), "what is before the cut is still read");
    }

    #[test]
    fn a_reader_stands_still_only_while_records_wait_and_nothing_comes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut partition = read(0..3);
        assert_eq!(partition.still_for(3, at(0)), Duration::ZERO);
        assert_eq!(partition.still_for(3, at(60)), Duration::ZERO, "nothing waits");
        assert_eq!(partition.still_for(9, at(61)), Duration::ZERO);
        assert_eq!(partition.still_for(9, at(71)), Duration::from_secs(10));
        partition.read(3, record(3));
        assert_eq!(partition.still_for(9, at(72)), Duration::ZERO, "something came");
        assert_eq!(partition.still_for(9, at(80)), Duration::from_secs(8));
        partition.restarted();
        assert_eq!(partition.still_for(9, at(81)), Duration::ZERO);
        partition.paused = true;
        assert_eq!(partition.still_for(9, at(999)), Duration::ZERO, "it is told to wait");
    }
}
