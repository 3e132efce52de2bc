//! The embedded services, met with the clients that production uses.

mod clients;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client as Dynamo;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{BatchStatementErrorCodeEnum, BatchStatementRequest};
use aws_sdk_kinesis::Client as KinesisClient;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use centinela_local::aws::{
    DynamoConfig, DynamoDb, DynamoError, Fault, FaultSource, Kinesis, KinesisConfig, KinesisError, ReadFrom,
    RequestInfo, S3, S3Config, S3Error, StreamSpec,
};
use centinela_local::broker::{Broker, BrokerConfig};
use centinela_local::kafka::{TopicSpec, create_topics};
use clients::{TABLE, b, insert, keys, n, s, table, update};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type TestResult = Result<(), Box<dyn Error>>;

const STREAM: &str = "decisions";

/// The fault that is set applies to every request until it is changed.
#[derive(Default)]
struct Script {
    current: std::sync::Mutex<Fault>,
    asked: AtomicUsize,
}

impl Script {
    fn set(&self, fault: Fault) {
        *self.current.lock().expect("no test panics while it holds this") = fault;
    }
}

impl FaultSource for Script {
    fn decide(&self, _request: &RequestInfo<'_>) -> Fault {
        self.asked.fetch_add(1, Ordering::Relaxed);
        *self.current.lock().expect("no test panics while it holds this")
    }
}

async fn dynamo(faults: Option<Arc<Script>>) -> Result<(DynamoDb, Dynamo), DynamoError> {
    let mut config = DynamoConfig { tables: vec![table(TABLE), table("device_state")], ..DynamoConfig::default() };
    if let Some(faults) = faults {
        config.faults = faults;
    }
    let service = DynamoDb::start(config).await?;
    let client = clients::dynamo(service.url());
    Ok((service, client))
}

async fn put(client: &Dynamo, key: &str, version: u64, state_bytes: usize) -> TestResult {
    client
        .put_item()
        .table_name(TABLE)
        .item("pk", s(key))
        .item("v", n(version))
        .item("s", b(state_bytes))
        .send()
        .await?;
    Ok(())
}

#[track_caller]
fn assert_units(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found} units are not {expected}");
}

#[tokio::test]
async fn a_lost_update_returns_the_item_that_won() -> TestResult {
    let (service, client) = dynamo(None).await?;
    put(&client, "u1", 5, 10).await?;

    let answer = client.batch_execute_statement().statements(update("u1", 4, 10)).send().await?;

    let error = answer.responses()[0].error().ok_or("the update was not refused")?;
    assert_eq!(error.code(), Some(&BatchStatementErrorCodeEnum::ConditionalCheckFailed));
    assert_eq!(error.item().and_then(|item| item.get("v")), Some(&n(5)));
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_lost_update_shows_no_item_to_a_client_that_did_not_ask() -> TestResult {
    let (service, client) = dynamo(None).await?;
    put(&client, "u1", 5, 10).await?;
    let text = format!("UPDATE \"{TABLE}\" SET v=? WHERE pk=? AND v=?");
    let quiet =
        BatchStatementRequest::builder().statement(text).set_parameters(Some(vec![n(5), s("u1"), n(4)])).build()?;

    let answer = client.batch_execute_statement().statements(quiet).send().await?;

    let error = answer.responses()[0].error().ok_or("the update was not refused")?;
    assert!(error.item().is_none());
    assert!(answer.consumed_capacity().is_empty());
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_lost_insert_answers_duplicate_item_without_the_item() -> TestResult {
    let (service, client) = dynamo(None).await?;
    put(&client, "u1", 5, 10).await?;

    let answer = client.batch_execute_statement().statements(insert("u1", 10)).send().await?;

    let error = answer.responses()[0].error().ok_or("the insert was not refused")?;
    assert_eq!(error.code(), Some(&BatchStatementErrorCodeEnum::DuplicateItem));
    assert!(error.item().is_none());
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_batch_of_26_statements_is_refused_whole() -> TestResult {
    let (service, client) = dynamo(None).await?;
    let statements = (0..26).map(|i| insert(&format!("u{i}"), 1)).collect();

    let refused = client.batch_execute_statement().set_statements(Some(statements)).send().await;

    assert_eq!(refused.expect_err("26 statements were accepted").code(), Some("ValidationException"));
    let count = client.scan().table_name(TABLE).send().await?.count();
    assert_eq!(count, 0);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_write_costs_the_larger_of_the_item_before_and_after() -> TestResult {
    let (service, client) = dynamo(None).await?;
    let spent = || service.snapshot().tables[TABLE].write_units;

    // Names pk + v + s are 4 bytes, the key 2, the version 2: 8 bytes beside the state.
    put(&client, "u1", 1, 1_016).await?;
    assert_units(spent(), 1.0);
    put(&client, "u2", 1, 1_017).await?;
    assert_units(spent(), 1.0 + 2.0);
    put(&client, "u3", 1, 1_100).await?;
    assert_units(spent(), 3.0 + 2.0);

    client.batch_execute_statement().statements(update("u3", 1, 10)).send().await?;
    assert_units(spent(), 5.0 + 2.0);
    client.batch_execute_statement().statements(update("u3", 2, 10)).send().await?;
    assert_units(spent(), 7.0 + 1.0);
    client.batch_execute_statement().statements(insert("u4", 2_500)).send().await?;
    assert_units(spent(), 8.0 + 3.0);
    assert_eq!(service.snapshot().failed_conditions, 0);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_lost_condition_costs_the_item_that_is_there() -> TestResult {
    let (service, client) = dynamo(None).await?;
    put(&client, "big", 1, 2_500).await?;
    put(&client, "ok", 1, 10).await?;
    assert_units(service.snapshot().write_units, 4.0);

    client.batch_execute_statement().statements(update("big", 9, 10)).send().await?;
    assert_units(service.snapshot().write_units, 4.0 + 3.0);
    client.batch_execute_statement().statements(update("nobody", 9, 10)).send().await?;
    assert_units(service.snapshot().write_units, 7.0 + 1.0);
    client.batch_execute_statement().statements(insert("big", 10)).send().await?;
    assert_units(service.snapshot().write_units, 8.0 + 3.0);
    client.batch_execute_statement().statements(update("big", 9, 10)).statements(update("ok", 1, 10)).send().await?;
    assert_units(service.snapshot().write_units, 11.0 + 3.0 + 1.0);
    let lost = client
        .update_item()
        .table_name(TABLE)
        .key("pk", s("big"))
        .update_expression("SET v = :next")
        .condition_expression("v = :read")
        .expression_attribute_values(":next", n(10))
        .expression_attribute_values(":read", n(9))
        .send()
        .await;
    let lost = lost.expect_err("the condition held").into_service_error();
    assert!(lost.is_conditional_check_failed_exception());
    assert_units(service.snapshot().write_units, 15.0 + 3.0);
    assert_eq!(service.snapshot().failed_conditions, 5);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_read_costs_half_a_unit_per_started_4_kib_of_each_item() -> TestResult {
    let (service, client) = dynamo(None).await?;
    put(&client, "small", 1, 10).await?;
    put(&client, "large", 1, 4_100).await?;
    let spent = || service.snapshot().read_units;

    client.batch_get_item().request_items(TABLE, keys(&["small", "large", "nobody"], false)).send().await?;
    assert_units(spent(), 0.5 + 1.0 + 0.5);
    client.batch_get_item().request_items(TABLE, keys(&["small", "large", "nobody"], true)).send().await?;
    assert_units(spent(), 2.0 + 4.0);
    client.get_item().table_name(TABLE).key("pk", s("small")).send().await?;
    assert_units(spent(), 6.0 + 0.5);
    client
        .query()
        .table_name(TABLE)
        .key_condition_expression("pk = :pk")
        .expression_attribute_values(":pk", s("large"))
        .send()
        .await?;
    assert_units(spent(), 6.5 + 1.0);
    assert_eq!(service.snapshot().calls["BatchGetItem"], 2);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn faults_reach_the_client_as_dynamodb_reports_them() -> TestResult {
    let script = Arc::new(Script::default());
    let (service, client) = dynamo(Some(Arc::clone(&script))).await?;

    script.set(Fault::Throttle);
    let refused = put(&client, "u1", 1, 10).await.expect_err("the throttle let a write through");
    let refused = refused.downcast::<aws_sdk_dynamodb::error::SdkError<_>>().expect("a put fails with its own error");
    let refused: aws_sdk_dynamodb::operation::put_item::PutItemError = refused.into_service_error();
    assert_eq!(refused.code(), Some("ProvisionedThroughputExceededException"));

    script.set(Fault::ReplyLost);
    assert!(put(&client, "u1", 1, 10).await.is_err());

    script.set(Fault::None);
    let stored = client.get_item().table_name(TABLE).key("pk", s("u1")).send().await?;
    assert!(stored.item().is_some(), "the write whose reply was lost must be there");

    script.set(Fault::Partial { every: 2 });
    let statements = ["a", "b", "c"].map(|key| insert(key, 1)).to_vec();
    let answer = client.batch_execute_statement().set_statements(Some(statements)).send().await?;
    let codes: Vec<_> = answer.responses().iter().map(|r| r.error().and_then(|e| e.code().cloned())).collect();
    assert_eq!(codes, [None, Some(BatchStatementErrorCodeEnum::ProvisionedThroughputExceeded), None]);

    let answer = client.batch_get_item().request_items(TABLE, keys(&["a", "c"], false)).send().await?;
    assert_eq!(answer.responses().map(|tables| tables[TABLE].len()), Some(1));
    assert_eq!(answer.unprocessed_keys().map(|tables| tables[TABLE].keys().len()), Some(1));
    assert_eq!(service.snapshot().throttled, 1 + 1 + 1);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_named() -> TestResult {
    let owner = TcpListener::bind("127.0.0.1:0").await?;
    let port = owner.local_addr()?.port();
    let taken = |error: &dyn Error| error.to_string().contains(&format!("port {port} on 127.0.0.1 is taken"));

    let config = DynamoConfig { port: Some(port), ..DynamoConfig::default() };
    assert!(taken(&DynamoDb::start(config).await.expect_err("dynamodb took the port")));
    let config = KinesisConfig { port: Some(port), ..KinesisConfig::default() };
    assert!(taken(&Kinesis::start(config).await.expect_err("kinesis took the port")));
    let config = S3Config { port: Some(port), ..S3Config::default() };
    let Err(error) = S3::start(config).await else { panic!("s3 took the port") };
    assert!(taken(&error));
    let config = BrokerConfig { port: Some(port), ..BrokerConfig::default() };
    assert!(taken(&Broker::start(config).await.expect_err("the broker took the port")));
    Ok(())
}

async fn kinesis(faults: Option<Arc<Script>>) -> Result<(Kinesis, KinesisClient), KinesisError> {
    let streams = vec![StreamSpec { name: STREAM.to_owned(), shards: 2 }];
    let mut config = KinesisConfig { streams, ..KinesisConfig::default() };
    if let Some(faults) = faults {
        config.faults = faults;
    }
    let service = Kinesis::start(config).await?;
    let client = clients::kinesis(service.url());
    Ok((service, client))
}

fn entry(key: &str, bytes: usize) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder()
        .partition_key(key)
        .data(aws_sdk_kinesis::primitives::Blob::new(vec![1; bytes]))
        .build()
        .expect("key and data are given")
}

async fn read_shard(client: &KinesisClient, shard: &str) -> Result<Vec<(String, usize)>, Box<dyn Error>> {
    let start = client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id(shard)
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await?;
    let page = client.get_records().set_shard_iterator(start.shard_iterator).send().await?;
    let next = client.get_records().set_shard_iterator(page.next_shard_iterator.clone()).send().await?;
    assert_eq!(next.records().len(), 0, "the next page repeats records");
    Ok(page
        .records()
        .iter()
        .map(|r| (r.partition_key().unwrap_or_default().to_owned(), r.data().as_ref().len()))
        .collect())
}

#[tokio::test]
async fn records_come_back_in_order_from_the_shard_of_their_key() -> TestResult {
    let (service, client) = kinesis(None).await?;
    let entries: Vec<_> = (0..6_usize).map(|i| entry(&format!("k{}", i % 3), i + 1)).collect();

    let answer = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await?;

    assert_eq!(answer.failed_record_count(), Some(0));
    let mut found = BTreeMap::<String, Vec<usize>>::new();
    for shard in service.shards(STREAM) {
        for (key, bytes) in read_shard(&client, &shard).await? {
            found.entry(key).or_default().push(bytes);
        }
    }
    let expected = [("k0", vec![1, 4]), ("k1", vec![2, 5]), ("k2", vec![3, 6])];
    assert_eq!(found, expected.map(|(key, sizes)| (key.to_owned(), sizes)).into());
    assert_eq!(service.snapshot().records, 6);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn kinesis_refuses_what_aws_refuses() -> TestResult {
    let (service, client) = kinesis(None).await?;
    let put = |entries: Vec<PutRecordsRequestEntry>| {
        client.put_records().stream_name(STREAM).set_records(Some(entries)).send()
    };

    let too_many = put((0..501).map(|_| entry("k", 1)).collect()).await;
    assert_eq!(too_many.expect_err("501 records were accepted").code(), Some("ValidationException"));
    let too_large = put(vec![entry("k", 1024 * 1024)]).await;
    assert_eq!(too_large.expect_err("1 MiB and a key were accepted").code(), Some("ValidationException"));
    let too_much = put((0..11).map(|_| entry("k", 1024 * 1000)).collect()).await;
    assert_eq!(too_much.expect_err("over 10 MiB were accepted").code(), Some("InvalidArgumentException"));
    let nowhere = client.put_records().stream_name("absent").records(entry("k", 1)).send().await;
    assert!(nowhere.expect_err("the stream is not there").into_service_error().is_resource_not_found_exception());
    assert_eq!(service.snapshot().records, 0);

    assert_eq!(put((0..500).map(|_| entry("k", 1)).collect()).await?.records().len(), 500);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn single_records_of_a_call_can_fail() -> TestResult {
    let script = Arc::new(Script::default());
    let (service, client) = kinesis(Some(Arc::clone(&script))).await?;
    script.set(Fault::Partial { every: 3 });

    let entries = (0..4).map(|_| entry("k", 1)).collect();
    let answer = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await?;

    assert_eq!(answer.failed_record_count(), Some(1));
    let failed: Vec<_> = answer.records().iter().map(|record| record.error_code().is_some()).collect();
    assert_eq!(failed, [false, false, true, false]);
    assert_eq!(service.snapshot().records, 3);
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn a_reader_in_this_process_is_woken_by_a_write() -> TestResult {
    let (service, client) = kinesis(None).await?;
    let mut written = service.written();

    client.put_records().stream_name(STREAM).records(entry("k", 1)).send().await?;

    tokio::time::timeout(Duration::from_secs(5), written.changed()).await??;
    let page = |shard: &String| service.read(STREAM, shard, ReadFrom::TrimHorizon, 10);
    let records: Vec<_> = service.shards(STREAM).iter().filter_map(page).flat_map(|page| page.records).collect();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].data_base64, "AQ==");
    service.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn s3_refuses_an_unsigned_request() -> TestResult {
    let service = S3::start(S3Config { buckets: vec!["lake".to_owned()], ..S3Config::default() }).await?;
    assert!(service.directory().join("lake").is_dir());

    let mut connection = TcpStream::connect(("127.0.0.1", service.port())).await?;
    connection.write_all(b"GET /lake HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;

    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let directory = service.directory().to_owned();
    service.shutdown().await?;
    assert!(!directory.exists(), "the temporary directory outlives its store");
    Ok(())
}

#[tokio::test]
async fn s3_refuses_a_bucket_name_that_leaves_its_directory() {
    for name in ["../up", "UPPER", "ab", ".hidden"] {
        let refused = S3::start(S3Config { buckets: vec![name.to_owned()], ..S3Config::default() }).await;
        assert!(matches!(refused, Err(S3Error::BucketName { .. })), "{name} was accepted");
    }
}

fn topic(name: &str, partitions: usize) -> TopicSpec {
    let config = BTreeMap::from([("retention.ms".to_owned(), "3600000".to_owned())]);
    TopicSpec { name: name.to_owned(), partitions, config }
}

// Closing a Kafka client blocks its thread until the broker answered, so the broker needs a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_passes_through_the_broker_unchanged() -> TestResult {
    let broker = Broker::start(BrokerConfig::default()).await?;
    create_topics(&broker.bootstrap(), &[topic("transactions", 10), topic("approved", 3)]).await?;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).set("enable.idempotence", "true").create()?;
    let record = FutureRecord::to("transactions").key("user-1").payload("body");
    let delivered = producer.send(record, Duration::from_secs(10)).await.map_err(|(error, _)| error)?;

    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "readers")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .create()?;
    consumer.subscribe(&["transactions"])?;
    let received = tokio::time::timeout(Duration::from_secs(30), consumer.recv()).await??;

    assert_eq!(received.payload(), Some(&b"body"[..]));
    assert_eq!((received.partition(), received.offset()), (delivered.partition, delivered.offset));
    drop(received);
    tokio::task::spawn_blocking(move || drop((consumer, producer))).await?;
    broker.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn topics_are_created_once_and_a_wrong_partition_count_is_named() -> TestResult {
    let broker = Broker::start(BrokerConfig::default()).await?;
    create_topics(&broker.bootstrap(), &[topic("approved", 3)]).await?;
    create_topics(&broker.bootstrap(), &[topic("approved", 3)]).await?;

    let refused = create_topics(&broker.bootstrap(), &[topic("approved", 4)]).await;

    let message = refused.expect_err("3 partitions passed for 4").to_string();
    assert!(message.contains("approved has 3 partitions and needs 4"), "{message}");
    broker.shutdown().await?;
    Ok(())
}

#[tokio::test]
async fn the_broker_outlives_an_interrupt_and_ends_on_shutdown() -> TestResult {
    let broker = Broker::start(BrokerConfig::default()).await?;
    let mut interrupts = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let own_pid = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &own_pid]).status()?.success());
    tokio::time::timeout(Duration::from_secs(5), interrupts.recv()).await?;

    create_topics(&broker.bootstrap(), &[topic("after-interrupt", 1)]).await?;

    let address = broker.bootstrap();
    broker.shutdown().await?;
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(&address).await.is_ok() {
        assert!(Instant::now() < deadline, "the broker still accepts connections");
        tokio::task::yield_now().await;
    }
    Ok(())
}
