//! The same function as one writes it from the shelf: events by `aws_lambda_events`, JSON by `serde_json`, the AWS SDK, tract as shipped,
//! and an idempotency record that is put before a transaction is worked on and updated after it, as the well-known libraries do.
//!
//! It is a contender of `bench/run` and no part of the product: two environments that work on one user at a time overwrite each other.

mod features;
mod model;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::kafka::KafkaEvent;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde::{Deserialize, Serialize};

use features::State;
use model::Model;
use table::Table;

/// Users that are worked on at a time.
const AT_ONCE: usize = 16;
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(4);

/// What is read of a transaction.
#[derive(Clone, Debug, Deserialize)]
struct Transaction {
    transaction_id: String,
    user_id: String,
    timestamp: i64,
    amount: f64,
    device_id: String,
    device_type: String,
}

/// What goes out.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Decision {
    transaction_id: String,
    user_id: String,
    decision: String,
    score: f32,
}

struct Function {
    model: Model,
    table: Table,
    producer: FutureProducer,
    approved: String,
    blocked: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let named = |name: &str| std::env::var(name).map_err(|_| Error::from(format!("{name} is not set")));
    let mut kafka = ClientConfig::new();
    kafka.set("bootstrap.servers", named("KAFKA_BOOTSTRAP")?).set("acks", "all").set("linger.ms", "1");
    let sdk = aws_config::load_from_env().await;
    let function = Arc::new(Function {
        model: Model::bundled()?,
        table: Table::new(aws_sdk_dynamodb::Client::new(&sdk), named("USER_TABLE")?),
        producer: kafka.create()?,
        approved: named("APPROVED_TOPIC")?,
        blocked: named("BLOCKED_TOPIC")?,
    });
    // The first call opens the connection.
    function.table.state("nobody").await?;
    lambda_runtime::run(service_fn(|event: LambdaEvent<KafkaEvent>| {
        let function = Arc::clone(&function);
        async move { function.handle(event.payload).await }
    }))
    .await
}

impl Function {
    async fn handle(&self, event: KafkaEvent) -> Result<serde_json::Value, Error> {
        let mut by_user: BTreeMap<String, Vec<Transaction>> = BTreeMap::new();
        for record in event.records.into_values().flatten() {
            let value = base64_simd::STANDARD.decode_to_vec(record.value.unwrap_or_default())?;
            let transaction: Transaction = serde_json::from_slice(&value)?;
            by_user.entry(transaction.user_id.clone()).or_default().push(transaction);
        }
        let users = by_user.into_values().map(|transactions| self.user(transactions));
        stream::iter(users).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        Ok(serde_json::json!({ "batchItemFailures": [] }))
    }

    async fn user(&self, transactions: Vec<Transaction>) -> Result<(), Error> {
        for transaction in transactions {
            let decision = match self.table.begin(&transaction.transaction_id).await? {
                Some(done) => done,
                None => self.decide(&transaction).await?,
            };
            self.publish(&decision).await?;
            self.table.complete(&decision).await?;
        }
        Ok(())
    }

    async fn decide(&self, transaction: &Transaction) -> Result<Decision, Error> {
        let mut state: State = self.table.state(&transaction.user_id).await?.unwrap_or_default();
        let score = self.model.score(&state.row(transaction, &self.model))?;
        state.apply(transaction);
        self.table.put_state(&transaction.user_id, &state).await?;
        let decision = if self.model.blocks(score) { "BLOCKED" } else { "APPROVED" };
        Ok(Decision {
            transaction_id: transaction.transaction_id.clone(),
            user_id: transaction.user_id.clone(),
            decision: decision.to_owned(),
            score,
        })
    }

    async fn publish(&self, decision: &Decision) -> Result<(), Error> {
        let payload = serde_json::to_vec(decision)?;
        let topic = if decision.decision == "BLOCKED" { &self.blocked } else { &self.approved };
        let record = FutureRecord::to(topic).key(&decision.transaction_id).payload(&payload);
        self.producer.send(record, MESSAGE_TIMEOUT).await.map_err(|(problem, _)| problem)?;
        Ok(())
    }
}
