//! The topic of dead letters: read from what is not handled to where it ended at the beginning.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use centinela_domain::Millis;
use centinela_redrive::{Handled, Message, Place, PortError, Spans};
use rdkafka::Message as _;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::Headers as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::client::{self, Consumer, LIMIT};

/// How long the topic may give nothing before its end.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// By partition the next offset to read, and where it ends.
type Left = BTreeMap<i32, (i64, i64)>;

/// The topic.
pub(crate) struct Letters {
    consumer: Consumer,
    topic: String,
    /// Partitions that are still to be read: the next offset, and where it ends.
    left: Left,
    /// What was committed last, so that only changes are.
    committed: BTreeMap<u32, (u64, String)>,
}

impl Letters {
    pub(crate) fn new(consumer: Consumer, topic: &str) -> Self {
        Self { consumer, topic: topic.to_owned(), left: BTreeMap::new(), committed: BTreeMap::new() }
    }

    /// The client, for other questions to the cluster.
    pub(crate) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// What is handled; places the reader at the first letters that are not.
    pub(crate) fn begin(&mut self) -> Result<Handled, PortError> {
        let failed = |error| PortError::new(format!("reading topic {}", self.topic), error);
        let (handled, left) = self.positions().map_err(failed)?;
        if left.is_empty() {
            let missing = format!("there is no topic {}", self.topic);
            return Err(PortError::new("looking for the dead letters", missing));
        }
        self.left = left.into_iter().filter(|(_, (next, end))| next < end).collect();
        self.assign().map_err(|error| PortError::new(format!("reading topic {}", self.topic), error))?;
        Ok(handled)
    }

    fn positions(&self) -> KafkaResult<(Handled, Left)> {
        let count = client::partitions(&self.consumer, &self.topic)?;
        let starts = client::edges(&self.consumer, &self.topic, count, Offset::Beginning)?;
        let ends = client::edges(&self.consumer, &self.topic, count, Offset::End)?;
        let mut asked = TopicPartitionList::new();
        for partition in 0..count {
            asked.add_partition(&self.topic, partition);
        }
        let committed = if count == 0 { asked } else { self.consumer.committed_offsets(asked, LIMIT)? };
        let (mut handled, mut left) = (Handled::default(), BTreeMap::new());
        for (partition, (start, end)) in (0..count).zip(starts.into_iter().zip(ends)) {
            let known = committed.find_partition(&self.topic, partition);
            let known = known.and_then(|known| match known.offset() {
                Offset::Offset(offset) => Some((offset, known.metadata().to_owned())),
                _ => None,
            });
            // Beyond the end it is of a topic that was deleted.
            let known = known.filter(|(offset, _)| *offset <= end);
            let (offset, text) = known.unwrap_or((start, String::new()));
            let mut spans = Spans::parse(u64::try_from(offset).unwrap_or_default(), &text);
            spans.raise(u64::try_from(start).unwrap_or_default());
            left.insert(partition, (i64::try_from(spans.first_open()).unwrap_or(i64::MAX), end));
            handled.learn(u32::try_from(partition).unwrap_or_default(), spans);
        }
        Ok((handled, left))
    }

    /// Reads the partition that is next and nothing else, so that letters come in their order.
    fn assign(&self) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        if let Some((partition, (next, _))) = self.left.first_key_value() {
            assignment.add_partition_offset(&self.topic, *partition, Offset::Offset(*next))?;
        }
        self.consumer.unassign()?;
        self.consumer.assign(&assignment)
    }

    /// The next letter; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Message>, PortError> {
        let failed = |topic: &str, error| PortError::new(format!("reading topic {topic}"), error);
        let mut until = Instant::now() + PATIENCE;
        loop {
            let Some((&partition, &(next, end))) = self.left.first_key_value() else { return Ok(None) };
            if next >= end {
                self.left.remove(&partition);
                self.assign().map_err(|error| failed(&self.topic, error))?;
                until = Instant::now() + PATIENCE;
                continue;
            }
            match self.consumer.poll(POLL) {
                Some(Ok(message)) if message.partition() == partition => {
                    let read = taken(&message);
                    self.left.insert(partition, (message.offset() + 1, end));
                    return Ok(Some(read));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) if client::passes(&error) => {}
                Some(Err(error)) => return Err(failed(&self.topic, error)),
                // The last places may hold no records: markers of transactions, or what was compacted.
                None => self.look_behind(partition, next, end),
            }
            if Instant::now() >= until {
                let why = format!("partition {partition} gives nothing from offset {next} on, and ends at {end}");
                return Err(PortError::new(format!("reading topic {}", self.topic), why));
            }
        }
    }

    fn look_behind(&mut self, partition: i32, next: i64, end: i64) {
        let Ok(positions) = self.consumer.position() else { return };
        if let Some(Offset::Offset(at)) = positions.find_partition(&self.topic, partition).map(|found| found.offset())
            && at > next
        {
            self.left.insert(partition, (at, end));
        }
    }

    /// Commits what has changed.
    pub(crate) fn note(&mut self, handled: &Handled) -> Result<(), PortError> {
        let mut changed = TopicPartitionList::new();
        let mut now = Vec::new();
        for (partition, spans) in handled.partitions() {
            let (below, text, _) = spans.text();
            if self.committed.get(&partition).is_some_and(|known| *known == (below, text.clone())) {
                continue;
            }
            now.push((partition, (below, text)));
        }
        let noting = || format!("noting what is handled of topic {}", self.topic);
        for (partition, (below, text)) in &now {
            let (partition, offset) = (i32::try_from(*partition).unwrap_or(i32::MAX), i64::try_from(*below));
            let mut element = changed.add_partition(&self.topic, partition);
            element
                .set_offset(Offset::Offset(offset.unwrap_or(i64::MAX)))
                .map_err(|error| PortError::new(noting(), error))?;
            element.set_metadata(text);
        }
        if now.is_empty() {
            return Ok(());
        }
        self.consumer.commit(&changed, CommitMode::Sync).map_err(|error| PortError::new(noting(), error))?;
        self.committed.extend(now);
        Ok(())
    }
}

fn taken(message: &rdkafka::message::BorrowedMessage<'_>) -> Message {
    let headers = message.headers().map(|headers| {
        let all = headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()));
        all.collect()
    });
    Message {
        place: Place {
            partition: u32::try_from(message.partition()).unwrap_or_default(),
            offset: u64::try_from(message.offset()).unwrap_or_default(),
        },
        written_at: Millis(message.timestamp().to_millis().unwrap_or_default()),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().unwrap_or_default().to_vec(),
        headers: headers.unwrap_or_default(),
    }
}
