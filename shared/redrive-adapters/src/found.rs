//! Decisions on their topics, looked through once from a time on, and then only what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use centinela_contracts::decision_v1;
use centinela_domain::{DecisionId, Millis};
use centinela_redrive::{Found, PortError, Searched};
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Headers as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::client::{self, Consumer, LIMIT};

/// Header with the decision's id.
const DECISION_ID: &str = "decision-id";
/// How long the topics may give nothing before their ends.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);
/// A broker's clock may be behind another's.
pub(crate) const CLOCKS_DIFFER_MS: i64 = 60_000;

/// The decision topics.
pub(crate) struct Published {
    consumer: Consumer,
    topics: Vec<String>,
    /// The next offset to read, by topic and partition.
    next: BTreeMap<(String, i32), i64>,
}

impl Published {
    pub(crate) fn new(consumer: Consumer, topics: Vec<String>) -> Self {
        Self { consumer, topics, next: BTreeMap::new() }
    }

    /// Goes to where decisions of this time begin; returns since when all are there.
    pub(crate) fn begin(&mut self, since: Millis) -> Result<Millis, PortError> {
        self.positions(since).map_err(|error| PortError::new("looking for the published decisions", error))
    }

    fn positions(&mut self, since: Millis) -> KafkaResult<Millis> {
        self.next.clear();
        let mut covers = Millis(0);
        for topic in self.topics.clone() {
            let count = client::partitions(&self.consumer, &topic)?;
            if count == 0 {
                // Nothing can be said of what is not there.
                covers = Millis(i64::MAX);
                continue;
            }
            let starts = client::edges(&self.consumer, &topic, count, Offset::Beginning)?;
            let ends = client::edges(&self.consumer, &topic, count, Offset::End)?;
            let mut asked = TopicPartitionList::new();
            for partition in 0..count {
                asked.add_partition_offset(&topic, partition, Offset::Offset((since.0 - CLOCKS_DIFFER_MS).max(0)))?;
            }
            let at_time = self.consumer.offsets_for_times(asked, LIMIT)?;
            for (partition, (start, end)) in (0..count).zip(starts.into_iter().zip(ends)) {
                let found = at_time.find_partition(&topic, partition).map(|found| found.offset());
                let next = match found {
                    Some(Offset::Offset(offset)) => offset.clamp(start, end),
                    // Nothing is as young as that.
                    _ => end,
                };
                self.next.insert((topic.clone(), partition), next);
                if start > 0 && next == start && start < end {
                    covers = covers.max(self.time_of(&topic, partition, start)?);
                } else if start > 0 && start == end {
                    covers = Millis(i64::MAX);
                }
            }
        }
        self.assign()?;
        Ok(covers)
    }

    /// When the first record that is left was written: what was there before is deleted.
    fn time_of(&self, topic: &str, partition: i32, offset: i64) -> KafkaResult<Millis> {
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        self.consumer.unassign()?;
        self.consumer.assign(&assignment)?;
        let until = Instant::now() + LIMIT;
        while Instant::now() < until {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => return Ok(Millis(message.timestamp().to_millis().unwrap_or(i64::MAX))),
                Some(Err(error)) if !client::passes(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(Millis(i64::MAX))
    }

    fn assign(&self) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        for ((topic, partition), next) in &self.next {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
        self.consumer.unassign()?;
        self.consumer.assign(&assignment)
    }

    /// Reads to where the topics end now.
    pub(crate) fn search(
        &mut self,
        wanted: &BTreeSet<DecisionId>,
        is_late: impl Fn() -> bool,
    ) -> Result<Searched, PortError> {
        let failed = |error| match error {
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                PortError::new("reading the published decisions", "some were deleted before they were read: ask again")
            }
            error => PortError::new("reading the published decisions", error),
        };
        let mut ends = BTreeMap::new();
        for topic in &self.topics {
            let count = self.next.keys().filter(|(name, _)| name == topic).count();
            let found = client::edges(&self.consumer, topic, i32::try_from(count).unwrap_or(i32::MAX), Offset::End);
            for (partition, end) in (0..).zip(found.map_err(failed)?) {
                ends.insert((topic.clone(), partition), end);
            }
        }
        let mut found: BTreeMap<DecisionId, Found> = BTreeMap::new();
        let mut until = Instant::now() + PATIENCE;
        while self.next.iter().any(|(place, next)| ends.get(place).is_some_and(|end| next < end)) {
            if is_late() {
                return Ok(Searched { found, is_all: false });
            }
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    until = Instant::now() + PATIENCE;
                    self.next.insert((message.topic().to_owned(), message.partition()), message.offset() + 1);
                    if let Some(id) = decision_of(&message).filter(|id| wanted.contains(id)) {
                        let known = found.entry(id).or_default();
                        known.amount = known.amount.take().or_else(|| amount_of(&message));
                    }
                }
                Some(Err(error)) if client::passes(&error) => {}
                Some(Err(error)) => return Err(failed(error)),
                None => self.look_behind(),
            }
            if Instant::now() >= until {
                return Err(PortError::new(
                    "reading the published decisions",
                    "the topics give nothing before their ends",
                ));
            }
        }
        Ok(Searched { found, is_all: true })
    }

    /// Markers of transactions and compacted records have offsets too.
    fn look_behind(&mut self) {
        let Ok(positions) = self.consumer.position() else { return };
        for position in positions.elements() {
            let place = (position.topic().to_owned(), position.partition());
            if let (Offset::Offset(at), Some(next)) = (position.offset(), self.next.get_mut(&place)) {
                *next = at.max(*next);
            }
        }
    }
}

/// By its header, or, of a message without one, by its value.
fn decision_of(message: &rdkafka::message::BorrowedMessage<'_>) -> Option<DecisionId> {
    let header = message.headers().and_then(|headers| headers.iter().find(|header| header.key == DECISION_ID));
    let by_header = header.and_then(|header| parse(std::str::from_utf8(header.value?).ok()?));
    by_header.or_else(|| decision_v1::parse(message.payload()?).ok().map(|decision| decision.decision_id))
}

fn amount_of(message: &rdkafka::message::BorrowedMessage<'_>) -> Option<(u64, String)> {
    let evidence = decision_v1::parse(message.payload()?).ok()?.evidence?;
    Some((evidence.amount.minor(), evidence.currency.as_str().to_owned()))
}

/// Hexadecimal digits.
pub(crate) fn parse(text: &str) -> Option<DecisionId> {
    let mut id = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(DecisionId(id))
}
