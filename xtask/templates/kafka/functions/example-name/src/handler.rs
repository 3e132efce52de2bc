//! One invocation: from the event to the answer.

use centinela_adapters::{KafkaPublisher, SystemClock};
use centinela_delivery::Delivery;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_telemetry::emf::Metrics;

use crate::config::Config;
use crate::metrics::Counts;
use crate::use_case::HandleRecords;

/// The function between two invocations.
pub struct ExampleName {
    delivery: Delivery<KafkaPublisher, SystemClock>,
    source_topic: String,
}

impl Function for ExampleName {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(config: Config) -> Result<Self, Error> {
        let dead_letters = KafkaPublisher::connect(config.kafka).await?;
        let delivery = Delivery::new(dead_letters, SystemClock, config.settings);
        Ok(Self { delivery, source_topic: config.source_topic })
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let batch = invocation.kafka_batch(&self.source_topic)?;
        let outcome = self.delivery.deliver(&HandleRecords, batch, invocation.deadline()).await?;
        let counts = Counts {
            records: outcome.records as u64,
            handled: outcome.report as u64,
            dead_lettered: outcome.dead_lettered as u64,
            failed: outcome.response.failures.len() as u64,
        };
        let metrics = Metrics { counts, ..Metrics::default() };
        Ok(Answer { body: outcome.response.encode(), metrics })
    }
}
