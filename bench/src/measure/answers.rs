//! What a contender answers: read from both topics as it comes, and only counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::MeasureError;
use super::records::Records;

/// Longest wait for a message before it is asked whether to end.
const POLL: Duration = Duration::from_millis(50);

/// The reader's thread and what it counts.
pub struct Answers {
    decided: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Arrivals>,
}

/// What came.
#[derive(Clone, Debug, Default)]
pub struct Arrivals {
    /// µs from the epoch of the run to the first decision on each record's transaction; 0 is none.
    pub at_us: Vec<u64>,
    /// Decisions that came again with the same outcome.
    pub repeated: u64,
    /// Decisions that came again with another outcome: two answers to one transaction.
    pub contradicted: u64,
    /// Messages about no transaction that was sent.
    pub unknown: u64,
    /// The first thing that Kafka's client complained about.
    pub problem: Option<String>,
}

impl Answers {
    /// Reads every partition of the topics from its beginning; of transactions only what is committed.
    ///
    /// # Errors
    /// When the client refuses its settings, or no thread can be started.
    pub fn read(
        bootstrap: &str,
        topics: &[(String, usize)],
        records: &Arc<Records>,
        epoch: Instant,
    ) -> Result<Self, MeasureError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("client.id", "bench-reader")
            .set("group.id", "bench-reader")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "100");
        let consumer: BaseConsumer = config.create()?;
        let mut wanted = TopicPartitionList::new();
        for (topic, partitions) in topics {
            for partition in 0..i32::try_from(*partitions).unwrap_or(i32::MAX) {
                wanted.add_partition_offset(topic, partition, Offset::Beginning)?;
            }
        }
        consumer.assign(&wanted)?;
        let (decided, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let counting = Counting {
            arrivals: Arrivals { at_us: vec![0; records.len()], ..Arrivals::default() },
            outcomes: vec![0; records.len()],
            records: Arc::clone(records),
            topics: topics.iter().map(|(topic, _)| topic.clone()).collect(),
            decided: Arc::clone(&decided),
            epoch,
        };
        let ends = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("answers".to_owned());
        let thread = thread.spawn(move || counting.run(&consumer, &ends))?;
        Ok(Self { decided, stop, thread })
    }

    /// Different transactions that are decided.
    pub fn decided(&self) -> u64 {
        self.decided.load(Ordering::Relaxed)
    }

    /// Ends the reading; none when its thread panicked.
    pub fn finish(self) -> Option<Arrivals> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok()
    }
}

struct Counting {
    arrivals: Arrivals,
    /// The place of the topic that each transaction's decision came on, from 1 on; 0 is none.
    outcomes: Vec<u8>,
    records: Arc<Records>,
    topics: Vec<String>,
    decided: Arc<AtomicU64>,
    epoch: Instant,
}

impl Counting {
    fn run(mut self, consumer: &BaseConsumer, stop: &AtomicBool) -> Arrivals {
        while !stop.load(Ordering::Relaxed) {
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => self.came(message.topic(), message.key()),
                Some(Err(problem)) => {
                    self.arrivals.problem.get_or_insert_with(|| problem.to_string());
                }
            }
        }
        self.arrivals
    }

    fn came(&mut self, topic: &str, key: Option<&[u8]>) {
        let Some(place) = key.and_then(|key| self.records.place_of(key)) else {
            self.arrivals.unknown += 1;
            return;
        };
        let outcome = self.topics.iter().position(|known| known == topic).map_or(u8::MAX, |place| place as u8 + 1);
        match self.outcomes[place] {
            0 => {
                let at_us = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.arrivals.at_us[place] = at_us.max(1);
                self.outcomes[place] = outcome;
                self.decided.fetch_add(1, Ordering::Relaxed);
            }
            before if before == outcome => self.arrivals.repeated += 1,
            _ => self.arrivals.contradicted += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_answers_to_one_transaction_are_told_from_one_that_came_twice() {
        let records = Arc::new(Records::new(1, 100, 10).unwrap());
        let mut counting = Counting {
            arrivals: Arrivals { at_us: vec![0; 10], ..Arrivals::default() },
            outcomes: vec![0; 10],
            topics: vec!["approved".to_owned(), "blocked".to_owned()],
            decided: Arc::default(),
            epoch: Instant::now(),
            records: Arc::clone(&records),
        };
        let id = |place: usize| Some(records.get(place).0.as_bytes());
        for (topic, key) in
            [("approved", id(0)), ("approved", id(0)), ("blocked", id(1)), ("approved", id(1)), ("blocked", None)]
        {
            counting.came(topic, key);
        }
        assert_eq!(counting.decided.load(Ordering::Relaxed), 2);
        let Arrivals { at_us, repeated, contradicted, unknown, .. } = counting.arrivals;
        assert_eq!((repeated, contradicted, unknown), (1, 1, 1));
        assert!(at_us[0] > 0 && at_us[1] > 0 && at_us[2] == 0);
    }
}
