//! The publisher to Kafka against an embedded broker and librdkafka's own mock cluster, by either producer.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::time::{Duration, Instant};

use centinela_adapters::{ConnectError, KafkaClient, KafkaConfig, KafkaPublisher, SystemClock};
use centinela_contracts::dead_letter_v1::{self, DeadLetter, DeadLetterReason};
use centinela_contracts::keyed::DeploymentKey;
use centinela_delivery::{Clock, DeadLetters, PublishError};
use centinela_domain::{Coordinates, DecisionId, Millis, Outcome, TransactionId, UserId};
use centinela_kafka_access::KafkaAccess;
use centinela_local::broker::{Broker, BrokerConfig};
use centinela_local::kafka::{TopicSpec, create_topics};
use centinela_scoring::ports::{DecisionPublisher, Outgoing};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

type TestResult = Result<(), Box<dyn Error>>;

const TOPICS: [&str; 3] = ["approved", "blocked", "dead-letters"];
const T: Millis = Millis(1_790_000_000_000);

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

fn key() -> DeploymentKey {
    DeploymentKey::new(b"a key for tests only").expect("a key")
}

fn kafka(bootstrap: &str, client: KafkaClient) -> KafkaConfig {
    KafkaConfig {
        access: KafkaAccess::plaintext(bootstrap),
        client_id: "test".to_owned(),
        decision_topics: [(Outcome::Approved, TOPICS[0]), (Outcome::Review, TOPICS[1]), (Outcome::Blocked, TOPICS[1])]
            .map(|(outcome, topic)| (outcome, topic.to_owned()))
            .into(),
        dead_letters_topic: TOPICS[2].to_owned(),
        deployment_key: key(),
        message_timeout: Duration::from_secs(8),
        idempotent: true,
        client,
    }
}

async fn broker(topics: &[&str]) -> Result<Broker, Box<dyn Error>> {
    let broker = Broker::start(BrokerConfig::default()).await?;
    let topics: Vec<TopicSpec> = topics
        .iter()
        .map(|name| TopicSpec { name: (*name).to_owned(), partitions: 2, config: BTreeMap::new() })
        .collect();
    create_topics(&broker.bootstrap(), &topics).await?;
    Ok(broker)
}

#[derive(Debug, PartialEq)]
struct Seen {
    partition: i32,
    key: Option<Vec<u8>>,
    payload: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// Reads `count` records of a topic, or fails after a while.
async fn seen(bootstrap: &str, topic: &'static str, count: usize) -> Result<Vec<Seen>, Box<dyn Error>> {
    let bootstrap = bootstrap.to_owned();
    let read = move || -> Result<Vec<Seen>, rdkafka::error::KafkaError> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap)
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut from = TopicPartitionList::new();
        for partition in 0..2 {
            from.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&from)?;
        let give_up = Instant::now() + Duration::from_secs(10);
        let mut records = Vec::new();
        while records.len() < count && Instant::now() < give_up {
            let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
            let record = record?;
            let headers = record.headers().map(|headers| {
                let pairs = headers.iter().map(|one| (one.key.to_owned(), one.value.unwrap_or_default().to_vec()));
                pairs.collect()
            });
            records.push(Seen {
                partition: record.partition(),
                key: record.key().map(<[u8]>::to_vec),
                payload: record.payload().unwrap_or_default().to_vec(),
                headers: headers.unwrap_or_default(),
            });
        }
        Ok(records)
    };
    Ok(tokio::task::spawn_blocking(read).await??)
}

fn all_ok(results: &[Result<(), PublishError>]) -> bool {
    results.iter().all(Result::is_ok)
}

/// Each of these once with either producer.
macro_rules! by_both {
    ($($name:ident,)*) => {$(
        mod $name {
            use super::KafkaClient;

            #[tokio::test]
            async fn lean() -> super::TestResult {
                super::$name(KafkaClient::Lean).await
            }

            #[tokio::test]
            async fn librdkafka() -> super::TestResult {
                super::$name(KafkaClient::Librdkafka).await
            }
        }
    )*};
}

by_both! {
    a_decision_goes_to_the_topic_of_its_outcome_under_its_transaction,
    a_dead_letter_can_be_driven_again_as_what_it_first_was,
    missing_topics_are_named_at_start,
    a_broker_that_is_away_is_no_reason_not_to_start_and_nothing_is_acknowledged,
    a_record_that_is_too_large_is_refused_and_the_others_go_out,
    a_topic_that_was_made_anew_with_fewer_partitions_is_written_to_again,
    nothing_to_publish_is_published_at_once,
    a_producer_that_failed_for_good_is_replaced,
    a_producer_without_a_sequence_repeats_what_the_broker_refused_for_a_while,
}

async fn a_decision_goes_to_the_topic_of_its_outcome_under_its_transaction(by: KafkaClient) -> TestResult {
    for idempotent in [true, false] {
        outcomes_have_their_topics(by, idempotent).await?;
    }
    Ok(())
}

async fn outcomes_have_their_topics(by: KafkaClient, idempotent: bool) -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(KafkaConfig { idempotent, ..kafka(&broker.bootstrap(), by) }).await?;
    let decisions = [
        Outgoing { partition: 1, ..outgoing("t-1", Outcome::Approved) },
        Outgoing { partition: 6, ..outgoing("t-2", Outcome::Blocked) },
        Outgoing { partition: 7, ..outgoing("t-3", Outcome::Review) },
        Outgoing { partition: 1, ..outgoing("t-4", Outcome::Approved) },
    ];
    assert!(all_ok(&publisher.publish(&decisions, soon()).await));
    let mut approved = seen(&broker.bootstrap(), "approved", 2).await?;
    approved.sort_by(|a, b| a.key.cmp(&b.key));
    let expected = |decision: &Outgoing| Seen {
        // Of two, the one in which its transaction stands, counted round.
        partition: (decision.partition % 2) as i32,
        key: Some(decision.transaction_id.as_str().into()),
        payload: decision.payload.clone(),
        headers: vec![("decision-id".to_owned(), decision.decision_id.to_string().into_bytes())],
    };
    assert_eq!(approved, [expected(&decisions[0]), expected(&decisions[3])]);
    let mut blocked = seen(&broker.bootstrap(), "blocked", 2).await?;
    blocked.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(blocked, [expected(&decisions[1]), expected(&decisions[2])]);
    Ok(())
}

async fn a_dead_letter_can_be_driven_again_as_what_it_first_was(by: KafkaClient) -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap(), by)).await?;
    let first = Coordinates { partition: 4, offset: 17, timestamp: T };
    let fresh = DeadLetter {
        reason_code: DeadLetterReason::NotJson,
        reason: "no json".to_owned(),
        topic: "transactions".to_owned(),
        partition: first.partition,
        offset: Some(first.offset),
        timestamp: Some(first.timestamp),
        key: Some(b"fresh".to_vec()),
        value: Some(b"{".to_vec()),
        headers: Vec::new(),
        dead_lettered_at: T,
    };
    let before = Coordinates { partition: 9, offset: 3, timestamp: Millis(T.0 - 5) };
    let again = DeadLetter {
        key: Some(b"redriven".to_vec()),
        headers: dead_letter_v1::first_headers("transactions", before, b"{", &key()),
        ..fresh.clone()
    };
    let nowhere = DeadLetter { key: None, offset: None, ..fresh.clone() };
    assert!(all_ok(&publisher.send(&[fresh.clone(), again, nowhere], soon()).await));
    let records = seen(&broker.bootstrap(), "dead-letters", 3).await?;
    let by_key: HashMap<Option<&[u8]>, &Seen> = records.iter().map(|seen| (seen.key.as_deref(), seen)).collect();
    let letter = by_key[&Some(&b"fresh"[..])];
    assert_eq!(dead_letter_v1::parse(&letter.payload)?.letter, fresh);
    // As it stands once it was driven again, a little later.
    let delivered = Coordinates { partition: 2, offset: 1, timestamp: Millis(T.0 + 60_000) };
    let coordinates = |seen: &Seen| dead_letter_v1::first_coordinates(&seen.headers, b"{", delivered, &key());
    assert_eq!(coordinates(letter), Some(Ok(("transactions".to_owned(), first))));
    assert_eq!(coordinates(by_key[&Some(&b"redriven"[..])]), Some(Ok(("transactions".to_owned(), before))));
    assert_eq!(coordinates(by_key[&None]), None);
    Ok(())
}

async fn missing_topics_are_named_at_start(by: KafkaClient) -> TestResult {
    let broker = broker(&["approved"]).await?;
    let error = KafkaPublisher::connect(kafka(&broker.bootstrap(), by)).await.expect_err("topics are missing");
    assert!(matches!(error, ConnectError::TopicsMissing { .. }));
    assert!(error.to_string().contains("no topic blocked, dead-letters"), "{error}");
    Ok(())
}

async fn a_broker_that_is_away_is_no_reason_not_to_start_and_nothing_is_acknowledged(by: KafkaClient) -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap(), by)).await?;
    broker.shutdown().await?;
    let started = Instant::now();
    let results = publisher.publish(&[outgoing("t-1", Outcome::Approved)], within(Duration::from_millis(300))).await;
    assert!(matches!(results[..], [Err(PublishError::Unacknowledged(_))]), "{results:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "the deadline holds");
    Ok(())
}

async fn a_record_that_is_too_large_is_refused_and_the_others_go_out(by: KafkaClient) -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap(), by)).await?;
    let huge = Outgoing { payload: vec![b'x'; 9_000_000], ..outgoing("t-2", Outcome::Approved) };
    let decisions = [outgoing("t-1", Outcome::Approved), huge, outgoing("t-3", Outcome::Approved)];
    let results = publisher.publish(&decisions, soon()).await;
    assert!(matches!(results[..], [Ok(()), Err(PublishError::Refused(_)), Ok(())]), "{results:?}");
    Ok(())
}

async fn a_topic_that_was_made_anew_with_fewer_partitions_is_written_to_again(by: KafkaClient) -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap(), by)).await?;
    let second = || Outgoing { partition: 1, ..outgoing("t-1", Outcome::Approved) };
    assert!(all_ok(&publisher.publish(&[second()], soon()).await));
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create()?;
    let deleted = admin.delete_topics(&["approved"], &AdminOptions::new()).await?;
    assert_eq!(deleted, [Ok("approved".to_owned())]);
    let one = TopicSpec { name: "approved".to_owned(), partitions: 1, config: BTreeMap::new() };
    create_topics(&broker.bootstrap(), &[one]).await?;
    let give_up = soon();
    while !all_ok(&publisher.publish(&[second()], give_up).await) {
        assert!(SystemClock.now() < give_up, "the partition that is gone is still wanted");
    }
    Ok(())
}

async fn nothing_to_publish_is_published_at_once(by: KafkaClient) -> TestResult {
    let broker = broker(&TOPICS).await?;
    let publisher = KafkaPublisher::connect(kafka(&broker.bootstrap(), by)).await?;
    assert!(publisher.publish(&[], soon()).await.is_empty());
    Ok(())
}

async fn a_producer_that_failed_for_good_is_replaced(by: KafkaClient) -> TestResult {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    let cluster = MockCluster::new(1)?;
    for topic in TOPICS {
        cluster.create_topic(topic, 2, 1)?;
    }
    let publisher = KafkaPublisher::connect(kafka(&cluster.bootstrap_servers(), by)).await?;
    assert!(all_ok(&publisher.publish(&[outgoing("t-1", Outcome::Approved)], soon()).await));
    // The broker has lost count of the producer's sequence: librdkafka's producer ends, the lean one asks for another id.
    cluster
        .request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER; 3]);
    let results = publisher.publish(&[outgoing("t-2", Outcome::Approved)], soon()).await;
    assert!(all_ok(&results) == (by == KafkaClient::Lean), "{results:?}");
    cluster.clear_request_errors(RDKafkaApiKey::Produce);
    let results = publisher.publish(&[outgoing("t-2", Outcome::Approved)], soon()).await;
    assert!(all_ok(&results), "{results:?}");
    Ok(())
}

async fn a_producer_without_a_sequence_repeats_what_the_broker_refused_for_a_while(by: KafkaClient) -> TestResult {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    let cluster = MockCluster::new(1)?;
    for topic in TOPICS {
        cluster.create_topic(topic, 2, 1)?;
    }
    let config = KafkaConfig { idempotent: false, ..kafka(&cluster.bootstrap_servers(), by) };
    let publisher = KafkaPublisher::connect(config).await?;
    // A broker that is not the leader any more, and one that has too few followers.
    let refusals = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let results = publisher.publish(&[outgoing("t-1", Outcome::Approved)], soon()).await;
    assert!(all_ok(&results), "{results:?}");
    Ok(())
}
