//! Records: what goes in comes out, once and in order.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, OwnedHeaders, Timestamp};
use rdkafka::producer::{FutureRecord, Producer};

use super::proxy::LossyLink;
use super::{Kafka, PATIENCE, code, is_all_in_order, offsets, one, poll, text, values};

/// In November 2023; a topic that shall keep it needs [`FOR_EVER`].
const EARLIER_MS: i64 = 1_700_000_000_000;

const FOR_EVER: &[(&str, &str)] = &[("retention.ms", "-1")];

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

pub fn log_append_time(kafka: &Kafka) -> String {
    const NAME: &str = "append-time";
    kafka.topic(NAME, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let before = now_ms();
    let record = FutureRecord::to(NAME).payload(b"x".as_slice()).timestamp(EARLIER_MS);
    kafka.send(&kafka.producer(&[]), record).unwrap();
    match kafka.read(NAME, 0, Offset::Beginning, 1)[0].timestamp {
        Timestamp::LogAppendTime(at) if (before..=now_ms()).contains(&at) => "the broker's time".to_owned(),
        other => format!("{other:?}"),
    }
}

pub fn create_time(kafka: &Kafka) -> String {
    const NAME: &str = "create-time";
    kafka.topic(NAME, 1, FOR_EVER);
    kafka.send(&kafka.producer(&[]), FutureRecord::to(NAME).payload(b"x".as_slice()).timestamp(EARLIER_MS)).unwrap();
    format!("{:?}", kafka.read(NAME, 0, Offset::Beginning, 1)[0].timestamp)
}

pub fn time_of_tomorrow(kafka: &Kafka) -> String {
    const DAY_MS: i64 = 86_400_000;
    kafka.topic("tomorrow", 1, &[]);
    let record = FutureRecord::to("tomorrow").payload(b"x".as_slice()).timestamp(now_ms() + DAY_MS);
    text(kafka.send(&kafka.producer(&[]), record))
}

pub fn everything_in_a_record(kafka: &Kafka) -> String {
    const NAME: &str = "contents";
    kafka.topic(NAME, 1, &[]);
    let producer = kafka.producer(&[]);
    let bytes: Vec<u8> = (0..=255).collect();
    let header = |key, value| Header { key, value };
    let headers = OwnedHeaders::new()
        .insert(header("h", Some(&bytes)))
        .insert(header("h", Some(&vec![])))
        .insert::<Vec<u8>>(header("", None));
    let full = FutureRecord::to(NAME).key(bytes.as_slice()).payload(bytes.as_slice()).headers(headers);
    kafka.send(&producer, full).unwrap();
    kafka.send(&producer, FutureRecord::to(NAME).key(b"tombstone".as_slice())).unwrap();
    kafka.send(&producer, FutureRecord::to(NAME).payload(b"".as_slice())).unwrap();
    let found = kafka.read(NAME, 0, Offset::Beginning, 3);
    let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or("null".to_owned(), |bytes| bytes.len().to_string());
    let exact = found[0].key.as_ref() == Some(&bytes) && found[0].value.as_ref() == Some(&bytes);
    let exact = exact && found[0].headers[0].1.as_ref() == Some(&bytes);
    let shown: Vec<String> = found
        .iter()
        .map(|record| {
            let headers: Vec<String> =
                record.headers.iter().map(|(key, value)| format!("{key:?} {}", size(value))).collect();
            format!("{}/{}/[{}]", size(&record.key), size(&record.value), headers.join(" "))
        })
        .collect();
    format!("{} exact: {exact}", shown.join(" "))
}

pub fn idempotent(kafka: &Kafka) -> String {
    const NAME: &str = "idempotent";
    kafka.topic(NAME, 1, &[]);
    kafka.send_numbers(&kafka.producer(&[("batch.num.messages", "7")]), NAME, 0, 1_000);
    let found = kafka.read(NAME, 0, Offset::Beginning, 1_000);
    format!("all once and in order: {}", is_all_in_order(&found, 1_000))
}

pub fn lost_acknowledgement(kafka: &Kafka) -> String {
    const NAME: &str = "lost-ack";
    kafka.topic(NAME, 1, &[]);
    let link = LossyLink::before(&kafka.bootstrap);
    let address = link.bootstrap();
    let producer = kafka.producer(&[("bootstrap.servers", &address), ("retry.backoff.ms", "10")]);
    kafka.send_numbers(&producer, NAME, 0, 1);
    link.lose_next_answer();
    let second = kafka.send(&producer, FutureRecord::to(NAME).partition(0).payload(b"1".as_slice()));
    kafka.send(&producer, FutureRecord::to(NAME).partition(0).payload(b"2".as_slice())).unwrap();
    let (_, end) = kafka.consumer("asks", &[]).fetch_watermarks(NAME, 0, PATIENCE).unwrap();
    let found = kafka.read(NAME, 0, Offset::Beginning, 3);
    format!("{} answer lost; {} at {second:?}; values {:?}, end {end}", link.lost(), text(second), values(&found))
}

pub fn order(kafka: &Kafka) -> String {
    const NAME: &str = "order";
    kafka.topic(NAME, 2, &[]);
    let settings = [("batch.num.messages", "3"), ("max.in.flight.requests.per.connection", "5")];
    let producer = kafka.producer(&settings);
    for partition in 0..2 {
        kafka.send_numbers(&producer, NAME, partition, 500);
    }
    let ordered = (0..2).all(|partition| is_all_in_order(&kafka.read(NAME, partition, Offset::Beginning, 500), 500));
    format!("in order: {ordered}")
}

fn inside_a_batch(kafka: &Kafka, topic: &str, codec: &str) -> String {
    kafka.topic(topic, 1, &[]);
    let producer = kafka.producer(&[("linger.ms", "200"), ("compression.codec", codec)]);
    kafka.send_numbers(&producer, topic, 0, 10);
    kafka.send_numbers(&producer, topic, 0, 3);
    let starts = [0, 4, 9, 10];
    let ends: Vec<String> = starts
        .iter()
        .map(|start| {
            let found = kafka.read(topic, 0, Offset::Offset(*start), 13 - *start as usize);
            let whole = offsets(&found).into_iter().eq(*start..13);
            format!("{start}: {}", if whole { "all" } else { "not all" })
        })
        .collect();
    ends.join(", ")
}

pub fn middle_of_a_batch(kafka: &Kafka) -> String {
    inside_a_batch(kafka, "inside", "none")
}

pub fn middle_of_an_lz4_batch(kafka: &Kafka) -> String {
    inside_a_batch(kafka, "inside-lz4", "lz4")
}

pub fn middle_of_a_snappy_batch(kafka: &Kafka) -> String {
    inside_a_batch(kafka, "inside-snappy", "snappy")
}

pub fn middle_of_a_gzip_batch(kafka: &Kafka) -> String {
    inside_a_batch(kafka, "inside-gzip", "gzip")
}

pub fn middle_of_a_zstd_batch(kafka: &Kafka) -> String {
    inside_a_batch(kafka, "inside-zstd", "zstd")
}

pub fn offsets_for_times(kafka: &Kafka) -> String {
    const NAME: &str = "times";
    kafka.topic(NAME, 1, FOR_EVER);
    let producer = kafka.producer(&[]);
    for second in 1..=3 {
        let record = FutureRecord::to(NAME).payload(b"x".as_slice()).timestamp(EARLIER_MS + second * 1_000);
        kafka.send(&producer, record).unwrap();
    }
    let consumer = kafka.consumer("asks", &[]);
    let asked = [0, 1_500, 3_000, 3_001].map(|after_ms| {
        let list = one(NAME, 0, Offset::Offset(EARLIER_MS + after_ms));
        match consumer.offsets_for_times(list, PATIENCE) {
            Ok(list) => format!("{:?}", list.elements()[0].offset()),
            Err(error) => format!("{:?}", code(&error)),
        }
    });
    asked.join(", ")
}

pub fn watermarks(kafka: &Kafka) -> String {
    const NAME: &str = "watermarks";
    kafka.topic(NAME, 1, &[]);
    let consumer = kafka.consumer("asks", &[]);
    let empty = consumer.fetch_watermarks(NAME, 0, PATIENCE).unwrap();
    kafka.send_numbers(&kafka.producer(&[]), NAME, 0, 7);
    format!("{empty:?}, then {:?}", consumer.fetch_watermarks(NAME, 0, PATIENCE).unwrap())
}

pub fn too_large(kafka: &Kafka) -> String {
    kafka.topic("large", 1, &[]);
    let producer = kafka.producer(&[("message.max.bytes", "5000000")]);
    let of = |bytes: usize| text(kafka.send(&producer, FutureRecord::to("large").payload(&vec![7; bytes])));
    format!("1,000,000 bytes {}, 1,100,000 bytes {}", of(1_000_000), of(1_100_000))
}

pub fn more_in_sync_than_replicas(kafka: &Kafka) -> String {
    const NAME: &str = "two-in-sync";
    kafka.topic(NAME, 1, &[("min.insync.replicas", "2")]);
    let of = |acks: &str| {
        let settings = [("enable.idempotence", "false"), ("acks", acks), ("retries", "0")];
        text(kafka.send(&kafka.producer(&settings), FutureRecord::to(NAME).payload(b"x".as_slice())))
    };
    format!("acks=all {}, acks=1 {}", of("all"), of("1"))
}

pub fn waiting_fetch(kafka: &Kafka) -> String {
    answered(kafka, "waiting", "1", 1)
}

pub fn waiting_fetch_for_more(kafka: &Kafka) -> String {
    let of = |topic: &str, records: usize| answered(kafka, topic, "2000", records);
    format!("one record: {}, a thousand: {}", of("worth-little", 1), of("worth-much", 1_000))
}

/// How soon a fetch of at least `min_bytes` that waits for records is answered when `records` of some bytes come.
fn answered(kafka: &Kafka, topic: &str, min_bytes: &str, records: usize) -> String {
    const WAIT: Duration = Duration::from_secs(4);
    kafka.topic(topic, 1, &[]);
    let producer = kafka.producer(&[]);
    let wait = WAIT.as_millis().to_string();
    let consumer = kafka.consumer("waits", &[("fetch.wait.max.ms", &wait), ("fetch.min.bytes", min_bytes)]);
    consumer.assign(&one(topic, 0, Offset::Beginning)).unwrap();
    // The first record shows that the consumer fetches; what follows finds its next fetch waiting.
    kafka.send_numbers(&producer, topic, 0, 1);
    assert_eq!(poll(&consumer, 1).len(), 1);
    let none = consumer.poll(WAIT / 4);
    assert!(none.is_none(), "nothing was sent");
    let sent = Instant::now();
    kafka.send_numbers(&producer, topic, 0, records);
    assert_eq!(poll(&consumer, 1).len(), 1);
    if sent.elapsed() < WAIT / 4 { "at once".to_owned() } else { "when the wait is over".to_owned() }
}

pub fn transaction(kafka: &Kafka) -> String {
    const NAME: &str = "transactional";
    kafka.topic(NAME, 1, &[]);
    let producer = kafka.producer(&[("transactional.id", "t"), ("transaction.timeout.ms", "10000")]);
    let limit = Duration::from_secs(15);
    if let Err(error) = producer.init_transactions(limit) {
        return format!("init {:?}", code(&error));
    }
    let step = |step: &str, result: Result<(), rdkafka::error::KafkaError>| {
        result.map_err(|error| format!("{step} {:?}", code(&error)))
    };
    let run = || -> Result<(), String> {
        step("begin", producer.begin_transaction())?;
        kafka.send_numbers(&producer, NAME, 0, 1);
        step("abort", producer.abort_transaction(limit))?;
        step("begin", producer.begin_transaction())?;
        kafka.send_numbers(&producer, NAME, 0, 1);
        step("commit", producer.commit_transaction(limit))
    };
    if let Err(problem) = run() {
        return problem;
    }
    let consumer = kafka.consumer("of-transactions", &[("isolation.level", "read_committed")]);
    consumer.assign(&one(NAME, 0, Offset::Beginning)).unwrap();
    format!("first committed record at {:?}", offsets(&poll(&consumer, 1)))
}
