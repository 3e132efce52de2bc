//! A Kafka cluster with what stands beside it, as the surroundings of a redrive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_domain::{Coordinates, DecisionId, Millis};
use centinela_kafka_access::KafkaAccess;
use centinela_redrive::{Handled, Message, Outgoing, Place, PortError, Searched, Surroundings};
use futures::future::join_all;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::Offset;
use rdkafka::util::Timeout;
use tokio::task::block_in_place;

use crate::client::{self, Gone, Session};
use crate::found::Published;
use crate::lake::Lake;
use crate::letters::Letters;
use crate::marks::Marks;

/// How long a record may wait for its acknowledgement.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster, and how to get into it.
    pub access: KafkaAccess,
    /// Where dead letters are.
    pub dead_letters: String,
    /// The group under which it is kept what is handled.
    pub group: String,
    /// Where transactions are.
    pub transactions: String,
    /// Where decisions are.
    pub decisions: Vec<String>,
}

/// The surroundings of a redrive. Blocks threads of a runtime that has several.
pub struct Cluster {
    config: Config,
    letters: Letters,
    published: Published,
    producer: FutureProducer<Session>,
    marks: Option<Marks>,
    lake: Option<Lake>,
    /// From when to when the lake is still to be looked through, for what the topics do not keep any more.
    in_lake: Option<(Millis, Millis)>,
}

impl Cluster {
    /// Makes the clients; asks for nothing yet. Without marks nothing is verified; without the lake only as far back as the topics go.
    ///
    /// # Errors
    /// When a client refuses its settings.
    pub fn new(config: Config, marks: Option<Marks>, lake: Option<Lake>) -> Result<Self, PortError> {
        let consumer = |gone| client::consumer(&config.access, &config.group, gone);
        let letters = Letters::new(consumer(Gone::Skip)?, &config.dead_letters);
        let published = Published::new(consumer(Gone::Fail)?, config.decisions.clone());
        let producer = config
            .access
            .client()
            .set("client.id", &config.group)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "2")
            .set("message.max.bytes", "8388608")
            .set("message.timeout.ms", ACKNOWLEDGED_WITHIN.as_millis().to_string())
            .create_with_context(Session)
            .map_err(|error| PortError::new("making a kafka client", error))?;
        Ok(Self { config, letters, published, producer, marks, lake, in_lake: None })
    }
}

impl Surroundings for Cluster {
    async fn handled(&mut self) -> Result<Handled, PortError> {
        block_in_place(|| self.letters.begin())
    }

    async fn next_message(&mut self) -> Result<Option<Message>, PortError> {
        block_in_place(|| self.letters.next())
    }

    async fn turn_back(&mut self, to: Place) -> Result<(), PortError> {
        block_in_place(|| self.letters.turn_back(to))
    }

    async fn note_handled(&mut self, handled: &mut Handled) -> Result<(), PortError> {
        block_in_place(|| self.letters.note(handled))
    }

    async fn marks(&mut self) -> Result<BTreeMap<u32, Coordinates>, PortError> {
        let topic = self.config.transactions.clone();
        let partitions = self.ends(&topic).await?.len();
        match &self.marks {
            Some(marks) => marks.read(&topic, u32::try_from(partitions).unwrap_or(u32::MAX)).await,
            None => Ok(BTreeMap::new()),
        }
    }

    async fn begin_search(&mut self, since: Millis) -> Result<Millis, PortError> {
        let covers = block_in_place(|| self.published.begin(since))?;
        self.in_lake = None;
        if covers <= since || self.lake.is_none() {
            return Ok(covers);
        }
        // The hours before the topics begin; up to now where nobody knows when they do.
        self.in_lake = Some((since, covers.min(self.now())));
        Ok(since)
    }

    async fn search(&mut self, wanted: &BTreeSet<DecisionId>, deadline: Option<Millis>) -> Result<Searched, PortError> {
        let is_late = || deadline.is_some_and(|deadline| now() >= deadline);
        let mut searched = block_in_place(|| self.published.search(wanted, is_late))?;
        if let (Some(hours), Some(lake), true) = (self.in_lake, &self.lake, searched.is_all) {
            match lake.search(wanted, hours, deadline).await {
                Ok(found) => {
                    searched.found.extend(found);
                    self.in_lake = None;
                }
                // It is asked again from the beginning.
                Err(_) if is_late() => searched.is_all = false,
                Err(error) => return Err(error),
            }
        }
        Ok(searched)
    }

    async fn ends(&mut self, topic: &str) -> Result<Vec<u64>, PortError> {
        let asking = || format!("asking where topic {topic} ends");
        block_in_place(|| {
            let consumer = self.letters.consumer();
            let count = client::partitions(consumer, topic).map_err(|error| PortError::new(asking(), error))?;
            let ends = client::edges(consumer, topic, count, Offset::End);
            let ends = ends.map_err(|error| PortError::new(asking(), error))?;
            Ok(ends.into_iter().map(|end| u64::try_from(end).unwrap_or_default()).collect())
        })
    }

    async fn send(&mut self, records: Vec<Outgoing>) -> Vec<Result<(), PortError>> {
        let sends = records.iter().map(|record| {
            let headers = record
                .headers
                .iter()
                .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |all, (key, value)| {
                    all.insert(Header { key, value: Some(value) })
                });
            let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
            let mut message: FutureRecord<'_, [u8], [u8]> =
                FutureRecord::to(&record.topic).partition(partition).payload(record.value.as_slice()).headers(headers);
            if let Some(key) = &record.key {
                message = message.key(key.as_slice());
            }
            let sending = self.producer.send(message, Timeout::After(ACKNOWLEDGED_WITHIN));
            async move {
                let answer = sending.await;
                let failed = |error| PortError::new(format!("sending to topic {}", record.topic), error);
                answer.map(drop).map_err(|(error, _)| failed(error))
            }
        });
        join_all(sends).await
    }

    fn now(&self) -> Millis {
        now()
    }

    async fn pause(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
