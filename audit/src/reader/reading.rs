//! The thread of a reader: polls, heeds changes, and reads to the ends.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_contracts::kafka_event::HEADERS_MAX;
use centinela_local::kafka::{self, Lost, Parting};
use centinela_local::platform::Cut;
use centinela_verdict::Places;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::PlacesByTopic;
use super::control::Change;
use super::topic::{Content, ReadError, Topic};
use crate::tracker::{Beside, Tracker};

/// The first offset that is still to be read, by topic and partition.
type Next = [Vec<i64>];

/// How long a poll waits for a record.
const POLL: Duration = Duration::from_millis(100);
const METADATA_LIMIT: Duration = Duration::from_secs(10);
/// How long nothing may come from a topic that is about to be deleted while some of it is unread.
const LEAVE_LIMIT: Duration = Duration::from_secs(60);

/// What the consumer asks its owner for.
pub(super) struct Tokens;

impl ClientContext for Tokens {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        kafka::iam_token(config)
    }
}

impl ConsumerContext for Tokens {}

/// The reader's thread.
pub(super) struct Reading {
    pub(super) consumer: Parting<BaseConsumer<Tokens>>,
    pub(super) bootstrap: String,
    pub(super) lost: Lost,
    pub(super) topics: Vec<Topic>,
    /// Where their records were.
    pub(super) places: Vec<Places>,
    pub(super) tracker: Arc<Tracker>,
    pub(super) changes: Receiver<Change>,
    /// Nothing is taken from here on.
    pub(super) cuts: Vec<Cut>,
}

impl Reading {
    /// Reads until it is to finish, or cannot; returns where the records were.
    pub(super) fn run(mut self) -> Result<PlacesByTopic, ReadError> {
        let mut next: Vec<Vec<i64>> = self
            .topics
            .iter()
            .map(|topic| (0..topic.partitions).map(|partition| topic.start(partition)).collect())
            .collect();
        let mut rests = false;
        loop {
            let change = if rests {
                self.changes.recv().map_err(|_| ReadError::Ended)?
            } else {
                self.poll(&mut next)?;
                match self.changes.try_recv() {
                    Ok(change) => change,
                    Err(TryRecvError::Empty) => continue,
                    // Nobody wants to know any more.
                    Err(TryRecvError::Disconnected) => return Err(ReadError::Ended),
                }
            };
            match change {
                Change::Rest { done } => {
                    rests = true;
                    done.send(()).unwrap_or_default();
                }
                Change::Finish { cuts, limit } => {
                    self.cuts = cuts;
                    self.read_to_the_ends(&mut next, limit)?;
                    let names = self.topics.into_iter().map(|topic| topic.name);
                    return Ok(names.zip(self.places).collect());
                }
                change => self.heed(change, &mut next)?,
            }
        }
    }

    /// Takes in how a topic has changed.
    fn heed(&mut self, change: Change, next: &mut Next) -> Result<(), ReadError> {
        let (topic, partitions, forget, done) = match change {
            Change::Rest { .. } | Change::Finish { .. } => return Ok(()),
            Change::Leave { topic, done } => {
                self.read_to_the_ends(next, LEAVE_LIMIT)?;
                (topic, 0, true, Some(done))
            }
            Change::Restart { topic, partitions } => (topic, partitions, true, None),
            Change::Grow { topic, partitions } => (topic, partitions, false, None),
        };
        let Some(index) = self.topics.iter().position(|known| known.name == topic) else { return Ok(()) };
        self.topics[index].partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        if forget {
            next[index].clear();
            self.places[index].recreated();
        }
        next[index].resize(partitions, 0);
        self.begin_anew(next)?;
        if let Some(done) = done {
            // Nobody waits any more: then nobody needs to know.
            done.send(()).unwrap_or_default();
        }
        Ok(())
    }

    fn begin_anew(&self, next: &Next) -> Result<(), KafkaError> {
        let mut assignment = TopicPartitionList::new();
        for (topic, next) in self.topics.iter().zip(next) {
            for (partition, offset) in (0..).zip(next) {
                assignment.add_partition_offset(&topic.name, partition, Offset::Offset(*offset))?;
            }
        }
        // Otherwise the client goes on where it was.
        self.consumer.unassign()?;
        self.consumer.assign(&assignment)
    }

    /// Gives up when nothing has come for as long as `limit`.
    fn read_to_the_ends(&mut self, next: &mut Next, limit: Duration) -> Result<(), ReadError> {
        let ends = self.ends().map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => self.gone(),
            _ => error.into(),
        })?;
        let (mut least, mut moved_at) = (i64::MAX, Instant::now());
        loop {
            let left: i64 =
                next.iter().flatten().zip(ends.iter().flatten()).map(|(next, end)| (end - next).max(0)).sum();
            if left == 0 {
                return Ok(());
            }
            if left < least {
                (least, moved_at) = (left, Instant::now());
            }
            if limit <= moved_at.elapsed() {
                return Err(ReadError::Stuck { records: left, limit });
            }
            if !self.poll(next)? {
                self.look_behind_the_last_records(next)?;
            }
        }
    }

    fn ends(&self) -> Result<Vec<Vec<i64>>, KafkaError> {
        let mut ends = self.edges(Offset::End)?;
        for (topic, ends) in self.topics.iter().zip(&mut ends) {
            for (partition, end) in (0..).zip(ends) {
                *end = cut(&self.cuts, topic, partition).unwrap_or(*end);
            }
        }
        Ok(ends)
    }

    /// Where all partitions begin or end, by topic.
    fn edges(&self, edge: Offset) -> Result<Vec<Vec<i64>>, KafkaError> {
        let number = |partition| i32::try_from(partition).unwrap_or(i32::MAX);
        let asked: Vec<(&str, i32)> = self
            .topics
            .iter()
            .flat_map(|topic| (0..topic.partitions).map(move |partition| (topic.name.as_str(), number(partition))))
            .collect();
        let mut edges = kafka::edges(&*self.consumer, &asked, edge, METADATA_LIMIT)?.into_iter();
        Ok(self.topics.iter().map(|topic| edges.by_ref().take(topic.partitions as usize).collect()).collect())
    }

    /// Takes in that the client has gone further than the last record: markers of transactions and aborted records have offsets too.
    fn look_behind_the_last_records(&self, next: &mut Next) -> Result<(), KafkaError> {
        for position in self.consumer.position()?.elements() {
            let topic = self.topics.iter().position(|topic| topic.name == position.topic());
            let partition = usize::try_from(position.partition()).unwrap_or(usize::MAX);
            let next = topic.and_then(|topic| next[topic].get_mut(partition));
            if let (Some(next), Offset::Offset(offset)) = (next, position.offset()) {
                *next = offset.max(*next);
            }
        }
        Ok(())
    }

    /// Goes on behind what the brokers have deleted.
    fn skip_what_is_gone(&self, next: &mut Next) -> Result<(), ReadError> {
        let mut skipped = false;
        let firsts = self.edges(Offset::Beginning)?;
        for ((topic, firsts), next) in self.topics.iter().zip(firsts).zip(next.iter_mut()) {
            for (first, next) in firsts.into_iter().zip(next) {
                let offsets = first - *next;
                if offsets <= 0 {
                    continue;
                }
                skipped = true;
                *next = first;
                let count = u64::try_from(offsets).unwrap_or(0);
                match topic.content {
                    Content::Transactions => self.tracker.missed(count),
                    Content::Actions => self.tracker.missed_beside(Beside::Actions, count),
                    Content::Events => self.tracker.missed_beside(Beside::Events, count),
                    _ => return Err(ReadError::Deleted { topic: topic.name.clone(), offsets }),
                }
            }
        }
        if skipped { Ok(self.begin_anew(next)?) } else { Ok(()) }
    }

    /// Takes the next record; says whether there was anything.
    fn poll(&mut self, next: &mut Next) -> Result<bool, ReadError> {
        self.lost.mend(self.consumer.client(), &self.bootstrap);
        match self.consumer.poll(POLL) {
            None => Ok(false),
            Some(Ok(message)) => {
                let (topics, tracker, cuts) = (&self.topics, &self.tracker, &self.cuts);
                Taking { topics, places: &mut self.places, tracker, cuts }.take(&message, next);
                Ok(true)
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                // It comes behind everything that the client had of its partition.
                self.skip_what_is_gone(next).map(|()| true)
            }
            // The client reconnects; whether it could not is seen at the end.
            Some(Err(error @ KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::UnknownTopicOrPartition
                // Its group exists by name only; nothing is kept under it.
                | RDKafkaErrorCode::GroupAuthorizationFailed,
            ))) => {
                self.lost.heard(&error);
                Ok(true)
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownPartition | RDKafkaErrorCode::UnknownTopic))) => {
                Err(self.gone())
            }
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn gone(&self) -> ReadError {
        let known = self.consumer.fetch_metadata(None, METADATA_LIMIT);
        let is_there = |topic: &&Topic| {
            known.as_ref().is_ok_and(|known| known.topics().iter().any(|there| there.name() == topic.name))
        };
        let quoted = |topic: &Topic| format!("`{}`", topic.name);
        let mut topics: Vec<String> = self.topics.iter().filter(|topic| !is_there(topic)).map(quoted).collect();
        if topics.is_empty() {
            topics = self.topics.iter().map(quoted).collect();
        }
        ReadError::Gone { topics: topics.join(" or ") }
    }
}

/// Where a report ends in a partition, if it does before the topic.
fn cut(cuts: &[Cut], topic: &Topic, partition: u32) -> Option<i64> {
    let cut = cuts.iter().find(|cut| cut.topic == topic.name)?;
    cut.ends.get(partition as usize).copied()
}

/// What takes a record in, beside the consumer that lends it.
struct Taking<'a> {
    topics: &'a [Topic],
    places: &'a mut [Places],
    tracker: &'a Tracker,
    cuts: &'a [Cut],
}

impl Taking<'_> {
    fn take(&mut self, message: &BorrowedMessage<'_>, next: &mut Next) {
        let Some(index) = self.topics.iter().position(|topic| topic.name == message.topic()) else { return };
        let (partition, offset) = (message.partition(), message.offset());
        let (Ok(partition), Ok(at)) = (u32::try_from(partition), u64::try_from(offset)) else { return };
        let Some(next) = next[index].get_mut(partition as usize) else { return };
        // A record that was on its way when the assignment changed comes again.
        let comes_again = offset < *next;
        if comes_again || cut(self.cuts, &self.topics[index], partition).is_some_and(|cut| cut <= offset) {
            return;
        }
        *next = offset + 1;
        let bytes = message.payload().map_or(0, <[u8]>::len) + message.key().map_or(0, <[u8]>::len);
        self.tracker.saw_bytes(message.topic(), bytes);
        let time_ms = message.timestamp().to_millis().unwrap_or_default();
        // No function reads a record with more of them.
        let is_readable = message.headers().is_none_or(|headers| headers.count() <= HEADERS_MAX);
        let value = message.payload().filter(|_| is_readable);
        let name = match self.topics[index].content {
            Content::Transactions => self.tracker.saw_transaction(partition, at, value, time_ms),
            Content::Actions => self.tracker.saw_action(partition, at, value, time_ms),
            Content::Events => self.tracker.saw_event(partition, at, value, time_ms),
            Content::Approved => self.saw_decision(false, value),
            Content::Blocked => self.saw_decision(true, value),
            Content::DeadLetters => {
                self.tracker.saw_dead_letter(value.unwrap_or_default());
                0
            }
        };
        self.places[index].add(partition as usize, offset, time_ms, name);
    }

    fn saw_decision(&self, blocked: bool, value: Option<&[u8]>) -> u64 {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX);
        self.tracker.saw_decision(blocked, value.unwrap_or_default(), Instant::now(), now_ms)
    }
}
