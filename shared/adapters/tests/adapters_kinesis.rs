//! The decision stream against embedded streams that misbehave on request, by either client.

#[macro_use]
mod clients;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use centinela_adapters::aws::{Services, WireClient};
use centinela_adapters::{ConnectError, KinesisConfig, KinesisStream, SystemClock};
use centinela_delivery::{Clock, PublishError};
use centinela_domain::{DecisionId, Millis, Outcome, TransactionId, UserId};
use centinela_local::aws::{Fault, FaultSource, Kinesis, KinesisConfig as Streams, ReadFrom, RequestInfo, StreamSpec};
use centinela_scoring::ports::{DecisionPublisher, Outgoing};
use clients::sdk;

type TestResult = Result<(), Box<dyn Error>>;

fn outgoing(name: &str, outcome: Outcome) -> Outgoing {
    let transaction_id = TransactionId::new(name).expect("a valid name");
    let user = UserId::new("ana").expect("a valid name");
    let decision_id = DecisionId::derive(&user, &transaction_id);
    Outgoing { outcome, transaction_id, partition: 0, decision_id, payload: format!("decision on {name}").into_bytes() }
}

fn soon() -> Millis {
    Millis(SystemClock.now().0 + 10_000)
}

fn within(time: Duration) -> Millis {
    Millis(SystemClock.now().0 + time.as_millis() as i64)
}

fn all_ok(results: &[Result<(), PublishError>]) -> bool {
    results.iter().all(Result::is_ok)
}

/// The faults of the next calls, in order; then none.
struct Faults {
    next: Mutex<Vec<Fault>>,
    always: Fault,
}

impl FaultSource for Faults {
    fn decide(&self, _request: &RequestInfo<'_>) -> Fault {
        let mut next = self.next.lock().expect("no test panics while it holds this");
        if next.is_empty() { self.always } else { next.remove(0) }
    }
}

async fn stream(by: WireClient, next: Vec<Fault>, always: Fault) -> Result<(Kinesis, KinesisStream), Box<dyn Error>> {
    let service = Kinesis::start(Streams {
        streams: vec![StreamSpec { name: "decisions".to_owned(), shards: 2 }],
        faults: Arc::new(Faults { next: Mutex::new(next), always }),
        ..Streams::default()
    })
    .await?;
    let stream = KinesisStream::new(client(by, &service).await?, KinesisConfig::new("decisions"));
    Ok((service, stream))
}

async fn client(by: WireClient, service: &Kinesis) -> Result<centinela_adapters::Streams, ConnectError> {
    Services::new(&sdk(&service.url()).await, by)?.streams().await
}

/// How often each payload is in the stream, by partition key.
fn in_stream(service: &Kinesis) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut found: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for shard in service.shards("decisions") {
        let page = service.read("decisions", &shard, ReadFrom::TrimHorizon, 10_000).expect("the shard is there");
        for record in page.records {
            found.entry(record.partition_key.clone()).or_default().push(decoded(&record.data_base64));
        }
    }
    found
}

fn decoded(data: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(data).expect("the stream keeps base64")
}

fn decisions(count: usize) -> Vec<Outgoing> {
    (0..count).map(|index| outgoing(&format!("t-{index}"), Outcome::Approved)).collect()
}

fn expected(decisions: &[Outgoing], times: usize) -> BTreeMap<String, Vec<Vec<u8>>> {
    decisions.iter().map(|one| (one.decision_id.to_string(), vec![one.payload.clone(); times])).collect()
}

async fn every_decision_reaches_the_stream_under_its_id(by: WireClient) -> TestResult {
    let (service, stream) = stream(by, Vec::new(), Fault::None).await?;
    let decisions = decisions(1_203);
    assert!(all_ok(&stream.publish(&decisions, soon()).await));
    assert_eq!(in_stream(&service), expected(&decisions, 1));
    assert_eq!(service.snapshot().calls.get("PutRecords"), Some(&3), "500 records in a call");
    Ok(())
}

async fn only_the_records_that_failed_are_sent_again(by: WireClient) -> TestResult {
    let (service, stream) =
        stream(by, vec![Fault::Partial { every: 3 }, Fault::Partial { every: 2 }], Fault::None).await?;
    let decisions = decisions(9);
    assert!(all_ok(&stream.publish(&decisions, soon()).await));
    assert_eq!(in_stream(&service), expected(&decisions, 1), "none twice");
    assert_eq!(service.snapshot().calls.get("PutRecords"), Some(&3));
    Ok(())
}

async fn a_call_whose_reply_was_lost_is_sent_again_with_the_same_bytes(by: WireClient) -> TestResult {
    let (service, stream) = stream(by, vec![Fault::ReplyLost], Fault::None).await?;
    let decisions = decisions(2);
    assert!(all_ok(&stream.publish(&decisions, soon()).await));
    assert_eq!(in_stream(&service), expected(&decisions, 2));
    Ok(())
}

async fn what_the_stream_does_not_take_until_the_deadline_is_unacknowledged_record_by_record(
    by: WireClient,
) -> TestResult {
    let (service, stream) = stream(by, Vec::new(), Fault::Partial { every: 2 }).await?;
    let decisions = decisions(1);
    assert!(all_ok(&stream.publish(&decisions, soon()).await));
    let (_throttled_service, throttled) = self::stream(by, Vec::new(), Fault::Throttle).await?;
    let results = throttled.publish(&decisions, within(Duration::from_millis(150))).await;
    assert!(matches!(results[..], [Err(PublishError::Unacknowledged(_))]), "{results:?}");
    assert_eq!(in_stream(&service), expected(&decisions, 1));
    let results = stream.publish(&decisions, Millis(0)).await;
    assert!(matches!(results[..], [Err(PublishError::Unacknowledged(_))]), "{results:?}");
    Ok(())
}

async fn a_missing_stream_and_a_huge_record_are_refused(by: WireClient) -> TestResult {
    let (service, stream) = stream(by, Vec::new(), Fault::None).await?;
    let elsewhere = KinesisStream::new(client(by, &service).await?, KinesisConfig::new("elsewhere"));
    let results = elsewhere.publish(&decisions(2), soon()).await;
    assert!(results.iter().all(|one| matches!(one, Err(PublishError::Refused(_)))), "{results:?}");
    let huge = Outgoing { payload: vec![b'x'; 1_100_000], ..outgoing("t-9", Outcome::Blocked) };
    let results = stream.publish(&[outgoing("t-1", Outcome::Approved), huge], soon()).await;
    assert!(matches!(results[..], [Ok(()), Err(PublishError::Refused(_))]), "{results:?}");
    Ok(())
}

by_both_clients! {
    every_decision_reaches_the_stream_under_its_id,
    only_the_records_that_failed_are_sent_again,
    a_call_whose_reply_was_lost_is_sent_again_with_the_same_bytes,
    what_the_stream_does_not_take_until_the_deadline_is_unacknowledged_record_by_record,
    a_missing_stream_and_a_huge_record_are_refused,
}
