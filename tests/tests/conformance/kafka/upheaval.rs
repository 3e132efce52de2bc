//! The broker stops and starts again while clients work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::FutureRecord;

use super::{Kafka, PATIENCE, committed, is_all_in_order, offset_text, one, poll};
use centinela_local::kafka::bootstrap_again;

const NAME: &str = "restarted";
const GROUP: &str = "survives";
/// Records before the restart, and at least as many after it.
const RECORDS: usize = 200;

const IS_NOT_READY: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::NotCoordinator,
    RDKafkaErrorCode::CoordinatorLoadInProgress,
    RDKafkaErrorCode::CoordinatorNotAvailable,
];

pub fn restart(kafka: &Kafka) -> String {
    kafka.topic(NAME, 1, &[]);
    let producer = kafka.producer(&[("message.timeout.ms", "60000"), ("reconnect.backoff.max.ms", "500")]);
    let consumer = kafka.consumer(GROUP, &[("reconnect.backoff.max.ms", "500")]);
    consumer.assign(&one(NAME, 0, Offset::Beginning)).unwrap();
    consumer.commit(&one(NAME, 0, Offset::Offset(42)), CommitMode::Sync).unwrap();
    let enough = AtomicBool::new(false);
    let (mut found, count, acknowledged) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut waiting = Vec::new();
            while !enough.load(Ordering::SeqCst) {
                let value = waiting.len().to_string();
                let record = FutureRecord::<(), str>::to(NAME).partition(0).payload(&value);
                waiting.push(producer.send_result(record).unwrap());
                std::thread::sleep(Duration::from_millis(2));
            }
            let count = waiting.len();
            let acknowledged = waiting.into_iter().filter_map(|delivery| kafka.wait(delivery).unwrap().ok()).count();
            (count, acknowledged)
        });
        let mut found = poll(&consumer, RECORDS);
        kafka.restart();
        found.extend(poll(&consumer, RECORDS));
        enough.store(true, Ordering::SeqCst);
        let (count, acknowledged) = sending.join().unwrap();
        (found, count, acknowledged)
    });
    let deadline = Instant::now() + PATIENCE;
    while found.len() < count && Instant::now() < deadline {
        found.extend(poll(&consumer, count - found.len()));
    }
    let asking = kafka.consumer(GROUP, &[]);
    let mut kept = committed(&asking, NAME, 0);
    // A broker that starts answers for its groups when it has read them, and every client asks until then.
    while matches!(kept, Err(code) if IS_NOT_READY.contains(&code)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        kept = committed(&asking, NAME, 0);
    }
    format!(
        "all acknowledged: {}, read once and in order: {}, group at {}",
        count == acknowledged,
        is_all_in_order(&found, count),
        offset_text(kept)
    )
}

/// A broker that starts knows its topics before it is registered. librdkafka may give up for good when it is told of no broker, which is why
/// owners give their clients the brokers back.
pub fn clients_find_the_broker_again(kafka: &Kafka) -> String {
    const TOPIC: &str = "found-again";
    const CLIENTS: usize = 40;
    kafka.topic(TOPIC, 20, &[]);
    let is_back = AtomicBool::new(false);
    let found = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let consumer = kafka.consumer(GROUP, &[("reconnect.backoff.max.ms", "200")]);
                    let mut deadline = None;
                    loop {
                        let is_over = is_back.load(Ordering::SeqCst);
                        let asked = consumer.fetch_metadata(Some(TOPIC), Duration::from_millis(500));
                        let is_led = asked
                            .is_ok_and(|answer| answer.topics()[0].partitions().iter().all(|one| one.leader() == 1));
                        if is_over && is_led {
                            return true;
                        }
                        if is_over && *deadline.get_or_insert_with(|| Instant::now() + PATIENCE) < Instant::now() {
                            return false;
                        }
                        if !is_led {
                            bootstrap_again(consumer.client(), &kafka.bootstrap);
                        }
                        drop(consumer.poll(Duration::from_millis(20)));
                    }
                })
            })
            .collect();
        kafka.restart_unregistered();
        is_back.store(true, Ordering::SeqCst);
        asking.into_iter().filter_map(|asking| asking.join().ok()).filter(|found| *found).count()
    });
    format!("{found} of {CLIENTS} clients")
}
