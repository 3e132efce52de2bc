//! The broker stops and starts again while clients work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::FutureRecord;

use super::{Kafka, PATIENCE, committed, is_all_in_order, offset_text, one, poll};

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
