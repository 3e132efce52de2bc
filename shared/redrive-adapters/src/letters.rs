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
    /// The same as it was at the beginning.
    all: Left,
    /// What was committed last, so that only changes are.
    committed: BTreeMap<u32, (u64, String)>,
}

impl Letters {
    pub(crate) fn new(consumer: Consumer, topic: &str) -> Self {
        Self {
            consumer,
            topic: topic.to_owned(),
            left: BTreeMap::new(),
            all: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
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
        self.all = left;
        self.left = self.all.clone();
        self.assign().map_err(|error| PortError::new(format!("reading topic {}", self.topic), error))?;
        Ok(handled)
    }

    fn positions(&self) -> KafkaResult<(Handled, Left)> {
        let count = client::partitions(&self.consumer, &self.topic)?;
        let starts = client::edges(&self.consumer, &self.topic, count, Offset::Beginning)?;
        let ends = client::edges(&self.consumer, &self.topic, count, Offset::End)?;
        let mut committed = self.committed(0..count)?;
        let (mut handled, mut left) = (Handled::default(), BTreeMap::new());
        for (partition, (start, end)) in (0..count).zip(starts.into_iter().zip(ends)) {
            // Beyond the end it is of a topic that was deleted.
            let known = committed.remove(&partition).filter(|(offset, _)| *offset <= end);
            let (offset, text) = known.unwrap_or((start, String::new()));
            let mut spans = Spans::parse(u64::try_from(offset).unwrap_or_default(), &text);
            spans.raise(u64::try_from(start).unwrap_or_default());
            left.insert(partition, (i64::try_from(spans.first_open()).unwrap_or(i64::MAX), end));
            handled.learn(u32::try_from(partition).unwrap_or_default(), spans);
        }
        Ok((handled, left))
    }

    /// Offsets with their texts. An answer without one is an answer; a partition that cannot be asked is none.
    fn committed(&self, partitions: impl Iterator<Item = i32>) -> KafkaResult<BTreeMap<i32, (i64, String)>> {
        let mut asked = TopicPartitionList::new();
        for partition in partitions {
            asked.add_partition(&self.topic, partition);
        }
        let mut committed = BTreeMap::new();
        if asked.count() == 0 {
            return Ok(committed);
        }
        for element in self.consumer.committed_offsets(asked, LIMIT)?.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                committed.insert(element.partition(), (offset, element.metadata().to_owned()));
            }
        }
        Ok(committed)
    }

    /// Reads from this place on, to where the topic ended at the beginning.
    pub(crate) fn turn_back(&mut self, to: Place) -> Result<(), PortError> {
        let partition = i32::try_from(to.partition).unwrap_or(i32::MAX);
        self.left = self.all.range(partition..).map(|(partition, left)| (*partition, *left)).collect();
        if let Some((next, _)) = self.left.get_mut(&partition) {
            *next = i64::try_from(to.offset).unwrap_or(i64::MAX);
        }
        self.assign().map_err(|error| PortError::new(format!("reading topic {}", self.topic), error))
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

    /// Commits what has changed, together with what somebody else has committed meanwhile. Kafka compares nothing when it commits, so two
    /// who do it at the same moment may still undo each other's last step: those letters are open again.
    pub(crate) fn note(&mut self, handled: &mut Handled) -> Result<(), PortError> {
        let changed: Vec<u32> = handled
            .partitions()
            .filter(|(partition, spans)| {
                let (below, text, _) = spans.text();
                self.committed.get(partition).is_none_or(|known| *known != (below, text))
            })
            .map(|(partition, _)| partition)
            .collect();
        let noting = |error| PortError::new(format!("noting what is handled of topic {}", self.topic), error);
        self.learn(&changed, handled).map_err(noting)?;
        let mut committing = TopicPartitionList::new();
        let mut now = Vec::new();
        for partition in changed {
            let Some(spans) = handled.of(partition) else { continue };
            let (below, text, _) = spans.text();
            let mut element = committing.add_partition(&self.topic, i32::try_from(partition).unwrap_or(i32::MAX));
            element.set_offset(Offset::Offset(i64::try_from(below).unwrap_or(i64::MAX))).map_err(noting)?;
            element.set_metadata(&text);
            now.push((partition, (below, text)));
        }
        if now.is_empty() {
            return Ok(());
        }
        self.consumer.commit(&committing, CommitMode::Sync).map_err(noting)?;
        self.committed.extend(now);
        Ok(())
    }

    /// Takes in what is committed by now.
    fn learn(&self, partitions: &[u32], handled: &mut Handled) -> KafkaResult<()> {
        let asked = partitions.iter().filter_map(|partition| i32::try_from(*partition).ok());
        let committed = self.committed(asked)?;
        let is_beyond = |(partition, (offset, _)): (&i32, &(i64, String))| {
            self.all.get(partition).is_none_or(|(_, end)| offset > end)
        };
        let ends = if committed.iter().any(is_beyond) {
            let count = client::partitions(&self.consumer, &self.topic)?;
            client::edges(&self.consumer, &self.topic, count, Offset::End)?
        } else {
            Vec::new()
        };
        for (partition, (offset, text)) in committed {
            let index = usize::try_from(partition).unwrap_or(usize::MAX);
            // Beyond the end it is of a topic that was deleted.
            if ends.get(index).is_none_or(|end| offset <= *end) {
                let spans = Spans::parse(u64::try_from(offset).unwrap_or_default(), &text);
                handled.merge(u32::try_from(partition).unwrap_or_default(), &spans);
            }
        }
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
