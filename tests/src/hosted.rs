//! The embedded services and one host with the function's real binary; no mapping, so that a case is exactly one invocation.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use bytes::Bytes;
use centinela_contracts::dead_letter_v1::{self, ReceivedDeadLetter};
use centinela_contracts::{decision_v1, stored_user};
use centinela_domain::{Outcome, UserId};
use centinela_infra::Infrastructure;
use centinela_local::lambda::{FunctionHost, FunctionStats, InvokeError, LogLine};
use centinela_local::platform::{Platform, PlatformConfig};
use centinela_verdict::{Answer, Fate, Totals};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

const SCORE_TRANSACTIONS: &str = "score-transactions";
const DECISIONS: [&str; 2] = ["approved", "blocked"];
const DEAD_LETTERS: &str = "dead-letters";
const PATIENCE: Duration = Duration::from_secs(60);
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const PUTS_PER_CALL: usize = 25;

/// What runs when it is awaited. Boxed, because a plain `async fn` of this size is compiled again in every test that awaits it.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A running platform without mappings.
pub struct Hosted {
    platform: Platform,
    host: Arc<FunctionHost>,
    dynamodb: Client,
    logs: Receiver<Arc<LogLine>>,
    /// The source topic, as the stacks name it; empty when the function reads none.
    pub topic: String,
    /// The consumer group of its mapping; empty without a mapping.
    pub group: String,
}

/// Everything on the topics.
#[derive(Debug, Default)]
pub struct Published {
    /// From `approved` and `blocked`.
    pub decisions: Vec<Value>,
    /// What these come to, by user and transaction.
    pub fates: BTreeMap<(String, String), Fate>,
    /// From `dead-letters`.
    pub dead_letters: Vec<ReceivedDeadLetter>,
}

impl Published {
    fn take(&mut self, topic: &str, payload: &[u8]) {
        if topic == DEAD_LETTERS {
            self.dead_letters.push(dead_letter_v1::parse(payload).expect("a dead letter"));
            return;
        }
        let decision = decision_v1::parse(payload).expect("a decision");
        let key = (decision.user_id.as_str().to_owned(), decision.transaction_id.as_str().to_owned());
        let answer = Answer::new(decision.outcome, decision.evidence.is_some(), payload);
        let fate = self.fates.entry(key).or_default();
        fate.answered(answer);
        // Both what is blocked and what a person should look at go to `blocked`.
        if (topic == DECISIONS[0]) != (decision.outcome == Outcome::Approved) {
            fate.contradicted();
        }
        self.decisions.push(serde_json::from_slice(payload).expect("a decision is JSON"));
    }
}

impl Hosted {
    /// Builds `score-transactions` where needed and starts everything.
    ///
    /// # Panics
    /// When a part does not start.
    pub fn start() -> Boxed<'static, Self> {
        Self::start_function(SCORE_TRANSACTIONS)
    }

    /// Builds a function where needed and starts everything.
    ///
    /// # Panics
    /// When no stack declares it, or a part does not start.
    pub fn start_function(name: &str) -> Boxed<'static, Self> {
        let name = name.to_owned();
        Box::pin(async move {
            let binaries = crate::built(&[&name]);
            let mut infrastructure = Infrastructure::bundled("local").expect("the stacks in infra/ can be read");
            let mapping = infrastructure.mappings.iter().find(|mapping| mapping.function == name);
            let mapped = mapping.map(|mapping| (mapping.topic.clone(), mapping.consumer_group.clone()));
            let (topic, group) = mapped.unwrap_or_default();
            infrastructure.mappings.clear();
            infrastructure.stream_mappings.clear();
            infrastructure.triggers.clear();
            infrastructure.functions.retain(|function| function.name == name);
            let platform =
                Platform::start(PlatformConfig::new(infrastructure, &binaries)).await.expect("the platform starts");
            let host = Arc::clone(platform.function(&name).expect("a stack declares the function"));
            let endpoints = platform.endpoints();
            let credentials =
                Credentials::new(&endpoints.access_key_id, &endpoints.secret_access_key, None, None, "the platform");
            let dynamodb = Client::from_conf(
                aws_sdk_dynamodb::Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .endpoint_url(&endpoints.dynamodb)
                    .region(Region::new(endpoints.region.clone()))
                    .credentials_provider(credentials)
                    .build(),
            );
            let logs = host.logs();
            Self { platform, host, dynamodb, logs, topic, group }
        })
    }

    /// One invocation.
    ///
    /// # Errors
    /// What the function failed with.
    ///
    /// # Panics
    /// When the answer is not JSON.
    pub fn invoke(&self, event: Vec<u8>) -> Boxed<'_, Result<Value, InvokeError>> {
        Box::pin(async move {
            let answer = self.host.invoke(Bytes::from(event)).await?;
            Ok(serde_json::from_slice(&answer).expect("the function answers JSON"))
        })
    }

    /// Stores items as they are.
    ///
    /// # Panics
    /// When one is not stored.
    pub fn put<'a>(&'a self, table: &'a str, items: Vec<(String, BTreeMap<String, AttributeValue>)>) -> Boxed<'a, ()> {
        Box::pin(async move {
            let mut puts: Vec<WriteRequest> =
                items.into_iter().map(|(key, attributes)| put_request(key, attributes)).collect();
            while !puts.is_empty() {
                let chunk = puts.split_off(puts.len().saturating_sub(PUTS_PER_CALL));
                let answer = self.dynamodb.batch_write_item().request_items(table, chunk).send().await;
                let left = answer.expect("the items are stored").unprocessed_items.unwrap_or_default();
                assert!(left.is_empty(), "items of {table} were not stored");
            }
        })
    }

    /// All attributes of an item; none without an item.
    ///
    /// # Panics
    /// When the table does not answer.
    pub fn item<'a>(&'a self, table: &'a str, key: &'a str) -> Boxed<'a, Option<HashMap<String, AttributeValue>>> {
        Box::pin(async move {
            let call = self.dynamodb.get_item().table_name(table).key("pk", AttributeValue::S(key.to_owned()));
            call.consistent_read(true).send().await.expect("the table answers").item
        })
    }

    /// What a user's item counts; nothing without an item.
    ///
    /// # Panics
    /// When the item cannot be read.
    pub fn totals_of<'a>(&'a self, user: &'a str) -> Boxed<'a, Totals> {
        Box::pin(async move {
            let call = self.dynamodb.get_item().table_name("user_state").key("pk", AttributeValue::S(user.to_owned()));
            let item = call.consistent_read(true).send().await.expect("the table answers").item;
            let Some(item) = item else { return Totals::default() };
            let content = item["s"].as_b().expect("the content is binary");
            let id = UserId::new(user).expect("a user that was decided has a valid id");
            let state = stored_user::decode(content.as_ref(), &id).expect("the function reads what it wrote").state;
            Totals { transactions: state.transactions, amount_minor: state.amount_total_minor }
        })
    }

    /// Reads the topics up to where they end now.
    ///
    /// # Panics
    /// When they cannot be read to their end.
    pub fn published(&self) -> Published {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.platform.endpoints().kafka)
            .set("group.id", "judge")
            .set("enable.auto.commit", "false")
            .create()
            .expect("a consumer");
        let mut ends = assign_all(&consumer);
        let mut published = Published::default();
        let deadline = Instant::now() + PATIENCE;
        while ends.values().any(|left| *left > 0) {
            assert!(Instant::now() < deadline, "the topics are never read to their end: {ends:?}");
            let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
            let message = message.expect("a record");
            let place = (message.topic().to_owned(), message.partition());
            *ends.get_mut(&place).expect("an assigned partition") -= 1;
            let payload = message.payload().expect("a value");
            published.take(message.topic(), payload);
        }
        published
    }

    /// Ends the function and returns everything that it printed, and its figures.
    ///
    /// # Panics
    /// When something does not end in order.
    pub fn end(mut self) -> Boxed<'static, (Vec<String>, FunctionStats)> {
        Box::pin(async move {
            self.host.stop(Duration::from_secs(10)).await;
            let stats = self.host.stats();
            drop(self.host);
            self.platform.stop(Duration::from_secs(10)).await.expect("the platform ends in order");
            let mut lines = Vec::new();
            while let Some(line) =
                tokio::time::timeout(PATIENCE, self.logs.recv()).await.expect("the function's output ends")
            {
                lines.push(line.text.clone());
            }
            (lines, stats)
        })
    }
}

fn put_request(key: String, mut attributes: BTreeMap<String, AttributeValue>) -> WriteRequest {
    attributes.insert("pk".to_owned(), AttributeValue::S(key));
    let put = PutRequest::builder().set_item(Some(attributes.into_iter().collect())).build();
    WriteRequest::builder().put_request(put.expect("an item")).build()
}

/// Assigns every partition from its beginning; returns how many records each holds.
fn assign_all(consumer: &BaseConsumer) -> BTreeMap<(String, i32), i64> {
    let metadata = consumer.fetch_metadata(None, PATIENCE).expect("the broker knows its topics");
    let (mut list, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for topic in
        metadata.topics().iter().filter(|topic| topic.name() == DEAD_LETTERS || DECISIONS.contains(&topic.name()))
    {
        for partition in topic.partitions() {
            let (low, high) = consumer.fetch_watermarks(topic.name(), partition.id(), PATIENCE).expect("a partition");
            list.add_partition_offset(topic.name(), partition.id(), Offset::Beginning).expect("an offset");
            ends.insert((topic.name().to_owned(), partition.id()), high - low);
        }
    }
    consumer.assign(&list).expect("an assignment");
    ends
}
