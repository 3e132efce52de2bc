//! The embedded broker as a Kafka client meets it: no record is skipped, wherever a fetch starts and whenever it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_broker::{Broker, BrokerConfig};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Message, Timestamp};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(20);

async fn broker_with(topic: &str, config: &[(&str, &str)]) -> Broker {
    let broker = Broker::start(BrokerConfig::default()).await.expect("a broker");
    create(&broker, topic, config).await;
    broker
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().expect("an admin client")
}

async fn create(broker: &Broker, topic: &str, config: &[(&str, &str)]) {
    let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(-1));
    let topic = config.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let created = admin(broker).create_topics(&[topic], &AdminOptions::new()).await.expect("answered");
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

fn producer(broker: &Broker, linger_ms: &str) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("enable.idempotence", "true")
        .set("linger.ms", linger_ms)
        .create()
        .expect("a producer")
}

fn consumer_at(broker: &Broker, topic: &str, offset: Offset) -> BaseConsumer {
    consumer_with(broker, topic, offset, &[])
}

fn consumer_with(broker: &Broker, topic: &str, offset: Offset, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("group.id", "reader").set("enable.auto.commit", "false");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, offset).expect("an offset");
    consumer.assign(&assignment).expect("assigned");
    consumer
}

/// Enqueues everything at once, so that records share batches, and waits for the acknowledgements.
async fn produce(producer: &FutureProducer, topic: &str, records: u64) {
    let acknowledged: Vec<_> = (0..records)
        .map(|number| {
            producer.send_result(FutureRecord::<(), str>::to(topic).payload(&number.to_string())).expect("enqueued")
        })
        .collect();
    for delivery in acknowledged {
        delivery.await.expect("the producer lives").expect("acknowledged");
    }
}

fn read(consumer: &BaseConsumer, records: usize) -> Vec<(i64, Timestamp)> {
    let deadline = std::time::Instant::now() + LIMIT;
    let mut found = Vec::new();
    while found.len() < records && std::time::Instant::now() < deadline {
        match consumer.poll(Duration::from_millis(50)) {
            None => {}
            Some(Ok(message)) => found.push((message.offset(), message.timestamp())),
            // The client connects again by itself.
            Some(Err(error)) => assert!(
                matches!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
                ),
                "{error}"
            ),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_starts_inside_a_batch_gets_the_rest_of_it_and_what_follows() {
    let broker = broker_with("inside", &[]).await;
    let producer = producer(&broker, "50");
    produce(&producer, "inside", 10).await;
    produce(&producer, "inside", 10).await;
    for start in 0..20 {
        let consumer = consumer_at(&broker, "inside", Offset::Offset(start));
        let offsets: Vec<i64> = read(&consumer, 20 - start as usize).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, (start..20).collect::<Vec<_>>(), "from offset {start}");
    }
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_starts_far_inside_a_large_batch_gets_every_record() {
    let broker = broker_with("large", &[]).await;
    produce(&producer(&broker, "200"), "large", 300).await;
    for start in [1, 63, 64, 65, 236, 299] {
        let consumer = consumer_at(&broker, "large", Offset::Offset(start));
        let offsets: Vec<i64> = read(&consumer, 300 - start as usize).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, (start..300).collect::<Vec<_>>(), "from offset {start}");
    }
    broker.shutdown().await.expect("stopped");
}

/// However long a client lets its fetches wait: records that are there are answered at once, and so are those that come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_waits_is_answered_when_a_record_comes() {
    let broker = broker_with("awaited", &[]).await;
    // Longer than this test has patience.
    let settings = [("fetch.wait.max.ms", "200000"), ("socket.timeout.ms", "300000")];
    let consumer = consumer_with(&broker, "awaited", Offset::Beginning, &settings);
    let producer = producer(&broker, "0");
    for offset in 0..5 {
        produce(&producer, "awaited", 1).await;
        assert_eq!(read(&consumer, 1).first().map(|(offset, _)| *offset), Some(offset));
    }
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_reads_while_records_arrive_skips_none() {
    const RECORDS: u64 = 20_000;
    let broker = broker_with("live", &[]).await;
    let consumer = consumer_at(&broker, "live", Offset::Beginning);
    let reader = tokio::task::spawn_blocking(move || read(&consumer, RECORDS as usize));
    let producer = producer(&broker, "0");
    for _ in 0..RECORDS / 100 {
        produce(&producer, "live", 100).await;
    }
    let offsets: Vec<i64> = reader.await.expect("read").into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..RECORDS as i64).collect::<Vec<_>>());
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_log_append_time_has_the_brokers_time_and_not_the_producers() {
    let broker = broker_with("timed", &[("message.timestamp.type", "LogAppendTime")]).await;
    let producer = producer(&broker, "0");
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    let record = FutureRecord::<(), str>::to("timed").payload("x").timestamp(1_000);
    producer.send(record, LIMIT).await.expect("acknowledged");
    let (_, timestamp) = read(&consumer_at(&broker, "timed", Offset::Beginning), 1)[0];
    assert!(matches!(timestamp, Timestamp::LogAppendTime(at) if at >= before), "{timestamp:?}");
    producer.flush(LIMIT).expect("flushed");
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_by_time_however_its_batch_is_compressed() {
    let broker = Broker::start(BrokerConfig::default()).await.expect("a broker");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        create(&broker, codec, &[]).await;
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap()).set("linger.ms", "50").set("compression.type", codec);
        let producer: FutureProducer = config.create().expect("a producer");
        let payload = "x".repeat(1_000);
        let record = |second: i64| FutureRecord::<(), str>::to(codec).payload(&payload).timestamp(second * 1_000);
        let sent: Vec<_> = (1..=10).map(|second| producer.send_result(record(second)).expect("enqueued")).collect();
        for delivery in sent {
            delivery.await.expect("the producer lives").expect("acknowledged");
        }
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset(codec, 0, Offset::Offset(6_500)).expect("an offset");
        let found = consumer_at(&broker, codec, Offset::Beginning).offsets_for_times(wanted, LIMIT).expect("answered");
        assert_eq!(found.elements()[0].offset(), Offset::Offset(6), "{codec}");
    }
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_records_and_producers() {
    let broker = broker_with("kept", &[]).await;
    let producer = producer(&broker, "0");
    produce(&producer, "kept", 100).await;
    let consumer = consumer_at(&broker, "kept", Offset::Beginning);
    assert_eq!(read(&consumer, 100).len(), 100);
    broker.restart(Duration::from_millis(200)).await.expect("the port is free again");
    produce(&producer, "kept", 100).await;
    let offsets: Vec<i64> = read(&consumer, 100).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (100..200).collect::<Vec<_>>(), "the same clients go on, and nothing came twice");
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_waits_for_the_one_before_it() {
    let broker = broker_with("kept", &[]).await;
    // The second would be served first, and the first would find the port taken by its own broker.
    let (first, second) =
        tokio::join!(broker.restart(Duration::from_millis(200)), broker.restart(Duration::from_millis(50)));
    first.expect("the port is free again");
    second.expect("and again");
    produce(&producer(&broker, "0"), "kept", 10).await;
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusing_topic_takes_its_records_later_once() {
    let broker = broker_with("refusing", &[]).await;
    let producer = producer(&broker, "0");
    assert!(broker.set_refusing("refusing", true) && !broker.set_refusing("no-such-topic", true));
    let waiting =
        producer.send_result(FutureRecord::<(), str>::to("refusing").payload("1")).expect("the client keeps it");
    let consumer = consumer_at(&broker, "refusing", Offset::Beginning);
    assert!(consumer.poll(Duration::from_secs(1)).is_none(), "no record while it refuses");
    broker.set_refusing("refusing", false);
    waiting.await.expect("the producer lives").expect("acknowledged by a later attempt");
    produce(&producer, "refusing", 5).await;
    assert_eq!(read(&consumer, 6).len(), 6);
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_partitions_take_records_like_the_first_ones() {
    let broker = broker_with("growing", &[]).await;
    assert!(broker.add_partitions("growing", 3) && !broker.add_partitions("no-such-topic", 3));
    let producer = producer(&broker, "0");
    let metadata = producer.client().fetch_metadata(Some("growing"), LIMIT).expect("metadata");
    let numbers: Vec<i32> = metadata.topics()[0].partitions().iter().map(|partition| partition.id()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    for partition in 0..3 {
        let record = FutureRecord::<(), str>::to("growing").partition(partition).payload("x");
        assert_eq!(producer.send(record, LIMIT).await.expect("acknowledged").offset, 0, "partition {partition}");
    }
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreated_topic_begins_at_zero_under_living_clients() {
    let broker = broker_with("again", &[]).await;
    let producer = producer(&broker, "0");
    produce(&producer, "again", 30).await;
    let consumer = consumer_at(&broker, "again", Offset::Beginning);
    assert_eq!(read(&consumer, 30).len(), 30);
    // The consumer goes on fetching a topic that is not there.
    let deleted = admin(&broker).delete_topics(&["again"], &AdminOptions::new()).await.expect("answered");
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    assert!(consumer.poll(Duration::from_millis(500)).is_none_or(|message| message.is_err()));
    create(&broker, "again", &[]).await;
    produce(&producer, "again", 10).await;
    let offsets: Vec<i64> =
        read(&consumer_at(&broker, "again", Offset::Beginning), 10).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>(), "the old producer's sequence is taken as it is");
    broker.shutdown().await.expect("stopped");
}

/// An admin client's request to delete what lies below an offset; returns where the partition begins then.
async fn delete_below(broker: &Broker, topic: &str, offset: Offset) -> Offset {
    let mut below = TopicPartitionList::new();
    below.add_partition_offset(topic, 0, offset).expect("an offset");
    let deleted = admin(broker).delete_records(&below, &AdminOptions::new()).await.expect("answered");
    deleted.elements()[0].error().expect("deleted");
    deleted.elements()[0].offset()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_below_the_first_record_is_reset_or_told() {
    let broker = broker_with("trimmed", &[]).await;
    produce(&producer(&broker, "50"), "trimmed", 20).await;
    assert_eq!(delete_below(&broker, "trimmed", Offset::Offset(7)).await, Offset::Offset(7));
    let reset = consumer_with(&broker, "trimmed", Offset::Offset(2), &[("auto.offset.reset", "earliest")]);
    let offsets: Vec<i64> = read(&reset, 13).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (7..20).collect::<Vec<_>>());
    let told = consumer_with(&broker, "trimmed", Offset::Offset(2), &[("auto.offset.reset", "error")]);
    let heard = told.poll(LIMIT).expect("something is heard").map(|message| message.offset());
    assert_eq!(heard.map_err(|error| error.rdkafka_error_code()), Err(Some(RDKafkaErrorCode::AutoOffsetReset)));
    assert_eq!(told.fetch_watermarks("trimmed", 0, LIMIT).expect("watermarks"), (7, 20));
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_waits_is_answered_when_its_place_is_deleted() {
    let broker = broker_with("taken-away", &[]).await;
    let settings = [
        ("fetch.wait.max.ms", "200000"),
        ("socket.timeout.ms", "300000"),
        ("fetch.min.bytes", "100000"),
        ("auto.offset.reset", "error"),
    ];
    produce(&producer(&broker, "50"), "taken-away", 3).await;
    let consumer = consumer_with(&broker, "taken-away", Offset::Offset(1), &settings);
    assert!(consumer.poll(Duration::from_millis(300)).is_none(), "it waits for more");
    delete_below(&broker, "taken-away", Offset::End).await;
    let heard = consumer.poll(LIMIT).expect("something is heard").map(|message| message.offset());
    assert_eq!(heard.map_err(|error| error.rdkafka_error_code()), Err(Some(RDKafkaErrorCode::AutoOffsetReset)));
    broker.shutdown().await.expect("stopped");
}

/// Sends records of 100 KB that do not compress into fewer, each acknowledged before the next.
async fn produce_large(producer: &FutureProducer, topic: &str, records: usize) {
    let payload = vec![7; 100_000];
    for _ in 0..records {
        let sent = producer.send(FutureRecord::<(), [u8]>::to(topic).payload(&payload), LIMIT).await;
        sent.expect("acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_keeps_what_its_settings_and_the_disk_allow() {
    let disk = BrokerConfig { disk_bytes_per_topic: 4_000_000, ..BrokerConfig::default() };
    let broker = Broker::start(disk).await.expect("a broker");
    let producer = producer(&broker, "0");
    let topics: [(&str, &[(&str, &str)]); 3] = [
        ("by-bytes", &[("retention.bytes", "1000000"), ("segment.bytes", "1048576")]),
        ("by-disk", &[]),
        ("by-age", &[("retention.ms", "0"), ("segment.bytes", "1048576")]),
    ];
    for (topic, config) in topics {
        create(&broker, topic, config).await;
        produce_large(&producer, topic, 60).await;
    }
    let of = |topic: &str| broker.extents(topic)[0];
    // What is too old or too much goes at the next look; nothing else changes the extents, so this ends or fails.
    let deadline = std::time::Instant::now() + LIMIT;
    while of("by-bytes").bytes > 2_000_000 || of("by-age").bytes > 0 {
        assert!(std::time::Instant::now() < deadline, "{:?} {:?}", of("by-bytes"), of("by-age"));
        tokio::task::yield_now().await;
    }
    let (bytes, disk, age) = (of("by-bytes"), of("by-disk"), of("by-age"));
    assert!(bytes.bytes >= 1_000_000 && (40..60).contains(&bytes.first), "{bytes:?}");
    assert!((2_900_000..=4_000_000).contains(&disk.bytes) && (20..31).contains(&disk.first), "{disk:?}");
    assert_eq!((age.first, age.next), (60, 60));
    let consumer = consumer_with(&broker, "by-disk", Offset::Beginning, &[("auto.offset.reset", "earliest")]);
    let kept: Vec<i64> = read(&consumer, (60 - disk.first) as usize).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(kept, (disk.first..60).collect::<Vec<_>>());
    assert!(broker.extents("no-such-topic").is_empty());
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_has_not_committed_is_not_given_up_for_room() {
    let kept_for = BTreeMap::from([("waiting".to_owned(), vec!["reader".to_owned(), "other".to_owned()])]);
    let disk = BrokerConfig { disk_bytes_per_topic: 1_000_000, kept_for, ..BrokerConfig::default() };
    let broker = Broker::start(disk).await.expect("a broker");
    create(&broker, "waiting", &[]).await;
    let producer = producer(&broker, "0");
    produce_large(&producer, "waiting", 9).await;
    let payload = vec![7; 100_000];
    let tenth = producer.send_result(FutureRecord::<(), [u8]>::to("waiting").payload(&payload)).expect("enqueued");
    let consumer = consumer_at(&broker, "waiting", Offset::Beginning);
    assert_eq!(read(&consumer, 9).len(), 9);
    assert!(consumer.poll(Duration::from_secs(1)).is_none(), "there is no room for the tenth");
    assert_eq!((broker.extents("waiting")[0].first, broker.extents("waiting")[0].next), (0, 9));
    let mut committed = TopicPartitionList::new();
    committed.add_partition_offset("waiting", 0, Offset::Offset(4)).expect("an offset");
    consumer.commit(&committed, CommitMode::Sync).expect("committed");
    assert_eq!(broker.extents("waiting")[0].first, 0, "the other group has committed nothing");
    let other = consumer_with(&broker, "waiting", Offset::Beginning, &[("group.id", "other")]);
    other.commit(&committed, CommitMode::Sync).expect("committed");
    tenth.await.expect("the producer lives").expect("taken by a later attempt");
    assert_eq!(read(&consumer, 1).len(), 1);
    let first = broker.extents("waiting")[0].first;
    assert!((1..=4).contains(&first), "{first}");
    broker.shutdown().await.expect("stopped");
}

/// A request as it stands on the wire, with its length before it. `client_id` is null.
fn request(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut request = [&api_key.to_be_bytes()[..], &version.to_be_bytes(), &correlation_id.to_be_bytes()].concat();
    request.extend([0xff, 0xff]);
    request.extend(body);
    [&(request.len() as i32).to_be_bytes()[..], &request].concat()
}

/// The next answer: its correlation id and what follows.
fn answer(stream: &mut TcpStream) -> (i32, Vec<u8>) {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("an answer");
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("the whole answer");
    (i32::from_be_bytes(answer[..4].try_into().expect("four bytes")), answer.split_off(4))
}

fn raw(broker: &Broker) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", broker.port())).expect("connected");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// kafka-python and aiokafka lose what is in flight when an answer comes that they do not wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_wants_no_acknowledgement_gets_no_answer() {
    let broker = broker_with("unanswered", &[]).await;
    let mut stream = raw(&broker);
    // Produce, version 3, to no topic: no transactional id, no acknowledgement, a second.
    let to_nothing = [&[0xff, 0xff][..], &0_i16.to_be_bytes(), &1_000_i32.to_be_bytes(), &0_i32.to_be_bytes()].concat();
    stream.write_all(&request(0, 3, 7, &to_nothing)).expect("sent");
    stream.write_all(&request(18, 0, 8, &[])).expect("sent");
    assert_eq!(answer(&mut stream).0, 8, "the answer to what came after it");
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotent_producer_gets_an_id_in_every_version_and_a_new_one_for_an_old_one() {
    let broker = broker_with("identified", &[]).await;
    let mut stream = raw(&broker);
    let plain = [&[0xff, 0xff][..], &60_000_i32.to_be_bytes()].concat();
    // Version 3 is a flexible one: a null string is 0, and tags end the header and the body.
    let flexible = |id: i64, epoch: i16| {
        [&[0, 0][..], &60_000_i32.to_be_bytes(), &id.to_be_bytes(), &epoch.to_be_bytes(), &[0]].concat()
    };
    let asked = [(0, plain.clone()), (1, plain), (3, flexible(-1, -1)), (3, flexible(1, 0))];
    let mut ids = Vec::new();
    for (version, body) in asked {
        stream.write_all(&request(22, version, 1, &body)).expect("sent");
        let (_, answered) = answer(&mut stream);
        // Tags, the throttle time, the error and the id.
        let from = usize::from(version == 3) + 4;
        let error = i16::from_be_bytes(answered[from..from + 2].try_into().expect("two bytes"));
        assert_eq!(error, 0, "version {version}");
        ids.push(i64::from_be_bytes(answered[from + 2..from + 10].try_into().expect("eight bytes")));
    }
    let distinct: BTreeSet<i64> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    broker.shutdown().await.expect("stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_hung_up_on_before_anything_is_reserved_for_it() {
    let broker = broker_with("guarded", &[]).await;
    let lengths =
        [[0xff; 4], [0x80, 0, 0, 0], [0; 4], [0, 0, 0, 7], *b"GET ", [0x16, 3, 1, 0], [0x7f, 0xff, 0xff, 0xff]];
    for first in lengths {
        let mut stream = raw(&broker);
        stream.write_all(&first).expect("sent");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset) || rest.is_empty(), "{first:?}");
    }
    produce(&producer(&broker, "0"), "guarded", 1).await;
    broker.shutdown().await.expect("stopped");
}
