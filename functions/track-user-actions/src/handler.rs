//! One invocation: from the event to the answer.

use centinela_adapters::aws::{self, Services};
use centinela_adapters::{DynamoLimits, DynamoProfiles, KafkaPublisher, SystemClock};
use centinela_delivery::Delivery;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_profile::{Limits, TrackActions};
use tracing::warn;

use crate::config::Config;
use crate::metrics::{self, Counts};

/// The function between two invocations.
pub struct TrackUserActions {
    delivery: Delivery<KafkaPublisher, SystemClock>,
    actions: TrackActions<DynamoProfiles, SystemClock>,
    source_topic: String,
}

impl Function for TrackUserActions {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(config: Config) -> Result<Self, Error> {
        let Config { source_topic, user_table, name_for_logs, kafka, client, settings } = config;
        let tables = Services::new(&aws::config().await, client)?.tables().await?;
        let (dead_letters, profiles) = tokio::try_join!(
            KafkaPublisher::connect(kafka),
            DynamoProfiles::connect(tables, &user_table, name_for_logs, DynamoLimits::default()),
        )?;
        let delivery = Delivery::new(dead_letters, SystemClock, settings);
        let actions = TrackActions::new(profiles, SystemClock, Limits::default());
        Ok(Self { delivery, actions, source_topic })
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let batch = invocation.kafka_batch(&self.source_topic)?;
        let outcome = self.delivery.deliver(&self.actions, batch, invocation.deadline()).await?;
        let failed = outcome.response.failures.len();
        if failed > 0 {
            warn!(records = failed, "records are to be delivered again");
        }
        Ok(Answer { body: outcome.response.encode(), metrics: metrics::of(&outcome) })
    }
}
