//! The proxy before an external DynamoDB or Kinesis: here the embedded ones stand behind it, so that what it counts can be
//! compared with what they count themselves.

mod clients;

use std::error::Error;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{BatchStatementErrorCodeEnum, Put, TransactWriteItem};
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use centinela_local::aws::{
    AttrType, AwsAccess, AwsClient, DynamoConfig, DynamoDb, EndpointError, Fault, FaultSource, Kinesis, KinesisConfig,
    NoFaults, ProxiedService, Proxy, ProxyConfig, RequestInfo, StreamSpec, TableSpec, prepare_streams, prepare_tables,
    read_items,
};
use clients::{TABLE, b, insert, keys, n, s, table, update};

type TestResult = Result<(), Box<dyn Error>>;

/// The faults of the next requests; then none.
struct Script(Mutex<Vec<Fault>>);

impl FaultSource for Script {
    fn decide(&self, _request: &RequestInfo<'_>) -> Fault {
        self.0.lock().expect("no test panics while it holds this").pop().unwrap_or_default()
    }
}

struct World {
    database: DynamoDb,
    proxy: Proxy,
    client: Client,
}

async fn world(faults: Vec<Fault>) -> Result<World, Box<dyn Error>> {
    let database = DynamoDb::start(DynamoConfig { tables: vec![table(TABLE)], ..DynamoConfig::default() }).await?;
    let proxy = proxy(ProxiedService::DynamoDb, database.url(), faults).await?;
    let client = clients::dynamo(proxy.url());
    Ok(World { database, proxy, client })
}

async fn proxy(service: ProxiedService, url: String, faults: Vec<Fault>) -> Result<Proxy, EndpointError> {
    let faults: Arc<dyn FaultSource> =
        if faults.is_empty() { Arc::new(NoFaults) } else { Arc::new(Script(Mutex::new(faults))) };
    Proxy::start(ProxyConfig { service, url, access: AwsAccess::default(), port: None, faults, latency: None }).await
}

/// The calls that the functions make, with every outcome that costs something.
async fn use_the_table(client: &Client) -> TestResult {
    let writes = [insert("u1", 10), insert("u2", 1_500), insert("u3", 5_000)];
    client.batch_execute_statement().set_statements(Some(writes.to_vec())).send().await?;
    // One grows, one has lost its race, one is there already.
    let writes = [update("u1", 1, 2_100), update("u2", 9, 10), insert("u3", 5_000)];
    let answer = client.batch_execute_statement().set_statements(Some(writes.to_vec())).send().await?;
    let codes: Vec<_> =
        answer.responses().iter().map(|one| one.error().and_then(|error| error.code()).cloned()).collect();
    let (lost, twice) =
        (BatchStatementErrorCodeEnum::ConditionalCheckFailed, BatchStatementErrorCodeEnum::DuplicateItem);
    assert_eq!(codes, [None, Some(lost), Some(twice)]);
    assert_eq!(answer.responses()[1].error().and_then(|error| error.item()).map(|item| &item["v"]), Some(&n(1)));
    client.batch_execute_statement().statements(update("u2", 9, 10)).send().await?;
    for consistent in [false, true] {
        let asked = keys(&["u1", "u2", "u3", "nobody"], consistent);
        client.batch_get_item().request_items(TABLE, asked).send().await?;
        client.get_item().table_name(TABLE).key("pk", s("u3")).consistent_read(consistent).send().await?;
    }
    for version in [2, 7] {
        let call = client
            .update_item()
            .table_name(TABLE)
            .key("pk", s("u1"))
            .update_expression("SET #v = :new")
            .condition_expression("#v = :old")
            .expression_attribute_names("#v", "v")
            .expression_attribute_values(":new", n(version + 1))
            .expression_attribute_values(":old", n(version));
        let outcome = call.send().await;
        assert_eq!(outcome.is_ok(), version == 2, "{outcome:?}");
    }
    client.put_item().table_name(TABLE).item("pk", s("u9")).item("s", b(3_000)).send().await?;
    client.scan().table_name(TABLE).send().await?;
    Ok(())
}

#[tokio::test]
async fn a_proxy_counts_what_the_embedded_database_counts() -> TestResult {
    let World { database, proxy, client } = world(Vec::new()).await?;
    use_the_table(&client).await?;
    let (counted, own) = (proxy.snapshot(), database.snapshot());
    assert!(own.failed_conditions == 4 && own.write_units > 20.0 && own.read_units > 10.0, "{own:?}");
    assert_eq!(counted, own);
    Ok(())
}

#[tokio::test]
async fn a_throttled_call_changes_nothing_and_is_counted() -> TestResult {
    let World { database, proxy, client } = world(vec![Fault::Throttle]).await?;
    let refused = client.batch_execute_statement().statements(insert("u1", 10)).send().await;
    assert_eq!(refused.expect_err("it was throttled").code(), Some("ProvisionedThroughputExceededException"));
    assert_eq!((database.snapshot().calls.len(), proxy.snapshot().throttled), (0, 1));
    Ok(())
}

#[tokio::test]
async fn a_lost_reply_leaves_the_write_applied() -> TestResult {
    let World { database: _behind, proxy, client } = world(vec![Fault::ReplyLost]).await?;
    assert!(client.batch_execute_statement().statements(insert("u1", 10)).send().await.is_err());
    let found = client.get_item().table_name(TABLE).key("pk", s("u1")).send().await?;
    assert!(found.item().is_some());
    assert!((proxy.snapshot().write_units - 1.0).abs() < 1e-9, "{:?}", proxy.snapshot());
    Ok(())
}

#[tokio::test]
async fn a_partial_batch_names_what_was_left_undone_in_its_place() -> TestResult {
    let partial = Fault::Partial { every: 2 };
    let World { database: _behind, proxy, client } = world(vec![partial, partial]).await?;
    let writes = ["u1", "u2", "u3"].map(|key| insert(key, 10)).to_vec();
    let answer = client.batch_execute_statement().set_statements(Some(writes)).send().await?;
    let failed: Vec<bool> = answer.responses().iter().map(|one| one.error().is_some()).collect();
    assert_eq!(failed, [false, true, false]);
    let answer = client.batch_get_item().request_items(TABLE, keys(&["u1", "u2", "u3"], true)).send().await?;
    let undone = &answer.unprocessed_keys().ok_or("nothing was left undone")?[TABLE];
    assert_eq!(undone.keys().len(), 1);
    assert_eq!(undone.consistent_read(), Some(true));
    assert_eq!(answer.responses().map(|found| found[TABLE].len()), Some(2));
    assert_eq!(proxy.snapshot().throttled, 2);
    Ok(())
}

/// Two writes that happen together or not at all.
async fn transact(client: &Client, keys: [&str; 2]) -> Result<(), Vec<String>> {
    let put = |key: &str| {
        let put = Put::builder().table_name(TABLE).item("pk", s(key)).item("s", b(1_500));
        let put = put.condition_expression("attribute_not_exists(pk)").build().expect("a complete action");
        TransactWriteItem::builder().put(put).build()
    };
    let call = client.transact_write_items().set_transact_items(Some(keys.map(put).to_vec()));
    let Err(error) = call.send().await else { return Ok(()) };
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            let codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
            Err(codes.map(str::to_owned).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_transaction_costs_twice_the_units_and_a_cancelled_one_is_charged_too() -> TestResult {
    let World { database, proxy, client } = world(Vec::new()).await?;
    transact(&client, ["u1", "u2"]).await.expect("nothing is in its way");
    assert!((proxy.snapshot().write_units - 8.0).abs() < 1e-9, "two items of 2 KB: {:?}", proxy.snapshot());
    let codes = transact(&client, ["u3", "u2"]).await.expect_err("u2 is there");
    assert_eq!(codes, ["None", "ConditionalCheckFailed"]);
    assert_eq!(proxy.snapshot(), database.snapshot());
    assert_eq!(proxy.snapshot().failed_conditions, 1);
    assert!(proxy.snapshot().write_units >= 12.0, "{:?}", proxy.snapshot());
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_refused_loses_its_reply_or_meets_another_one_as_asked() -> TestResult {
    let faults = vec![Fault::ReplyLost, Fault::Partial { every: 2 }, Fault::Throttle];
    let World { database: _behind, proxy, client } = world(faults).await?;
    let put = Put::builder().table_name(TABLE).item("pk", s("u1")).build()?;
    let call = || client.transact_write_items().transact_items(TransactWriteItem::builder().put(put.clone()).build());
    assert_eq!(call().send().await.expect_err("throttled").code(), Some("ProvisionedThroughputExceededException"));
    assert_eq!(transact(&client, ["u2", "u3"]).await, Err(vec!["None".to_owned(), "TransactionConflict".to_owned()]));
    assert!(call().send().await.is_err(), "the reply is lost");
    let found = client.batch_get_item().request_items(TABLE, keys(&["u1", "u2", "u3"], true)).send().await?;
    let found = &found.responses().ok_or("an answer")?[TABLE];
    assert_eq!(found.iter().map(|item| &item["pk"]).collect::<Vec<_>>(), [&s("u1")], "applied without a reply");
    assert_eq!(proxy.snapshot().throttled, 1);
    Ok(())
}

#[tokio::test]
async fn a_batch_of_which_nothing_is_left_is_still_answered() -> TestResult {
    let all = Fault::Partial { every: 1 };
    let World { database, proxy: _between, client } = world(vec![all, all]).await?;
    let answer = client.batch_execute_statement().statements(insert("u1", 10)).send().await?;
    assert!(answer.responses()[0].error().is_some());
    let answer = client.batch_get_item().request_items(TABLE, keys(&["u1"], false)).send().await?;
    assert_eq!(answer.unprocessed_keys().map(|undone| undone[TABLE].keys().len()), Some(1));
    assert_eq!(database.snapshot().calls.len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_stranger_cannot_use_the_proxy() -> TestResult {
    let World { database: _behind, proxy, client } = world(Vec::new()).await?;
    let credentials = Credentials::new("stranger", "secret", None, None, "test");
    let stranger = Client::from_conf(client.config().to_builder().credentials_provider(credentials).build());
    assert!(stranger.get_item().table_name(TABLE).key("pk", s("u1")).send().await.is_err());
    assert_eq!(proxy.snapshot().calls.len(), 0);
    Ok(())
}

#[tokio::test]
async fn kinesis_records_fail_singly_behind_a_proxy() -> TestResult {
    let streams = vec![StreamSpec { name: "decisions".to_owned(), shards: 2 }];
    let kinesis = Kinesis::start(KinesisConfig { streams, ..KinesisConfig::default() }).await?;
    let proxy = proxy(ProxiedService::Kinesis, kinesis.url(), vec![Fault::Partial { every: 2 }]).await?;
    let client = clients::kinesis(proxy.url());
    let mut call = client.put_records().stream_name("decisions");
    for key in ["a", "b", "c"] {
        let data = aws_sdk_kinesis::primitives::Blob::new(vec![1]);
        call = call.records(PutRecordsRequestEntry::builder().data(data).partition_key(key).build()?);
    }
    let answer = call.send().await?;
    assert_eq!(answer.failed_record_count(), Some(1));
    let failed: Vec<bool> = answer.records().iter().map(|record| record.error_code().is_some()).collect();
    assert_eq!(failed, [false, true, false]);
    assert_eq!(kinesis.snapshot().records, 2);
    Ok(())
}

#[tokio::test]
async fn a_missing_table_is_created_and_one_of_another_shape_is_refused() -> TestResult {
    let database = DynamoDb::start(DynamoConfig::default()).await?;
    let client = AwsClient::new("dynamodb", &database.url(), &AwsAccess::default())?;
    let wanted = table(TABLE);
    assert_eq!(prepare_tables(&client, std::slice::from_ref(&wanted)).await?, Vec::<String>::new());
    // The second time it is only checked.
    assert_eq!(prepare_tables(&client, std::slice::from_ref(&wanted)).await?, Vec::<String>::new());
    assert_eq!(read_items(&client, TABLE).await?.len(), 0);

    let other = TableSpec { partition_key: ("pk".to_owned(), AttrType::N), ..wanted.clone() };
    let refused = prepare_tables(&client, &[other]).await.expect_err("the key has another type").to_string();
    assert!(
        refused.contains(TABLE) && refused.contains("pk (S, HASH)") && refused.contains("pk (N, HASH)"),
        "{refused}"
    );
    let other = TableSpec { ttl_attribute: Some("gone_s".to_owned()), ..wanted };
    let differences = prepare_tables(&client, &[other]).await?;
    assert!(matches!(&differences[..], [line] if line.contains("gone_s")), "{differences:?}");
    Ok(())
}

#[tokio::test]
async fn a_missing_stream_is_created_and_fewer_shards_are_named() -> TestResult {
    let kinesis = Kinesis::start(KinesisConfig::default()).await?;
    let client = AwsClient::new("kinesis", &kinesis.url(), &AwsAccess::default())?;
    let stream = |shards| [StreamSpec { name: "decisions".to_owned(), shards }];
    assert_eq!(prepare_streams(&client, &stream(2)).await?, Vec::<String>::new());
    let differences = prepare_streams(&client, &stream(4)).await?;
    assert!(matches!(&differences[..], [line] if line.contains("2 shards") && line.contains('4')), "{differences:?}");
    Ok(())
}

#[tokio::test]
async fn an_address_without_a_server_is_named_in_one_line() -> TestResult {
    let client = AwsClient::new("dynamodb", "http://127.0.0.1:1", &AwsAccess::default())?;
    let error = prepare_tables(&client, &[table(TABLE)]).await.expect_err("nobody is there").to_string();
    assert!(error.contains("http://127.0.0.1:1") && error.contains("cannot be reached"), "{error}");
    for wrong in ["127.0.0.1:8000", "ftp://127.0.0.1", "http://127.0.0.1/path", ""] {
        assert!(AwsClient::new("dynamodb", wrong, &AwsAccess::default()).is_err(), "{wrong}");
    }
    Ok(())
}
