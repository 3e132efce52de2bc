#![doc = "A Kafka Lambda: it sums what customers order. A record is handled, dead-lettered with its reason, or delivered again."]

use centinela_adapters::{KafkaConfig, KafkaPublisher, SystemClock};
use centinela_delivery::{Batch, Delivery, Handler, Rejection, Settings};
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation, run};
use centinela_telemetry::{counts, emf::Metrics};

counts! { struct Counts { orders: always "Orders", failed: "Failed", } }

struct SumOrders(Delivery<KafkaPublisher, SystemClock>);

impl Handler for SumOrders {
    type Content = (String, u64);
    fn decode(&self, value: &[u8]) -> Result<(String, u64), Rejection> {
        serde_json::from_slice(value).map_err(|error| Rejection::not_json(&error))
    }
    async fn handle(&self, batch: &mut Batch<(String, u64)>) {
        for (customer, orders) in batch.by_key(|(customer, _)| customer) {
            let cents: u64 = orders.iter().map(|&order| batch.records[order].content.1).sum();
            tracing::info!(customer, cents, "ordered");
        }
    }
}

impl Function for SumOrders {
    type Config = KafkaConfig;
    type Counts = Counts;
    fn configure(environment: &mut Environment<'_>) -> Option<KafkaConfig> {
        let (access, dead_letters) = (environment.kafka(), environment.text("DEAD_LETTERS_TOPIC"));
        Some(KafkaConfig::of_dead_letters("sum-orders", access, dead_letters, environment.keys()?.deployment))
    }
    async fn connect(config: KafkaConfig) -> Result<Self, Error> {
        let settings = Settings::new(config.deployment_key.clone());
        Ok(Self(Delivery::new(KafkaPublisher::connect(config).await?, SystemClock, settings)))
    }
    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let outcome = self.0.deliver(self, invocation.kafka_batch("orders")?, invocation.deadline()).await?;
        let counts = Counts { orders: outcome.records as u64, failed: outcome.response.failures.len() as u64 };
        Ok(Answer { body: outcome.response.encode(), metrics: Metrics { counts, ..Metrics::default() } })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run::<SumOrders>().await
}
