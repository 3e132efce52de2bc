//! Sends the records: at a rate in an open loop, or as fast as Kafka takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::records::Records;

/// How long acknowledgements may take once nothing more is sent.
const FLUSH: Duration = Duration::from_secs(60);
/// Rest when the client's queue is full.
const FULL: Duration = Duration::from_millis(1);

/// When records are meant to be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Records a second; above 0.
    pub rate: f64,
}

impl Schedule {
    /// From the start to the record with this number.
    pub fn due(&self, sent: usize) -> Duration {
        Duration::from_secs_f64(sent as f64 / self.rate)
    }
}

/// An idempotent producer that waits for all replicas, as the product's own does.
pub struct Sending {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    records: Arc<Records>,
}

impl Sending {
    /// Makes the client.
    ///
    /// # Errors
    /// When it refuses its settings.
    pub fn new(bootstrap: &str, topic: &str, records: &Arc<Records>) -> Result<Self, KafkaError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("client.id", "bench-sender")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "200000");
        Ok(Self { producer: config.create()?, topic: topic.to_owned(), records: Arc::clone(records) })
    }

    /// Hands a record over, waiting for room.
    ///
    /// # Errors
    /// When the client refuses it.
    pub fn send(&self, place: usize) -> Result<(), KafkaError> {
        let (key, value) = self.records.get(place);
        let mut record = BaseRecord::to(&self.topic).key(key.as_bytes()).payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(FULL);
                }
                Err((problem, _)) => return Err(problem),
            }
        }
    }

    /// Waits until everything is acknowledged.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn flush(&self) -> Result<(), KafkaError> {
        self.producer.flush(FLUSH)
    }

    /// Sends records at the times that they are meant for, whatever becomes of those before; returns by how much the latest was late.
    /// `passing` is told of each before it is sent.
    ///
    /// # Errors
    /// When the client refuses one.
    pub fn in_an_open_loop(
        &self,
        places: std::ops::Range<usize>,
        started: Instant,
        schedule: Schedule,
        mut passing: impl FnMut(usize),
    ) -> Result<Duration, KafkaError> {
        let mut behind = Duration::ZERO;
        for (number, place) in places.enumerate() {
            let due = started + schedule.due(number);
            let now = Instant::now();
            if now < due {
                std::thread::sleep(due - now);
            } else {
                behind = behind.max(now - due);
            }
            passing(place);
            self.send(place)?;
        }
        Ok(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_of_an_open_loop_depends_on_nothing_but_the_rate() {
        let schedule = Schedule { rate: 1_000.0 };
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(2_500), Duration::from_millis(2_500));
    }
}
