//! One invocation: from the event to the answer.

use centinela_adapters::aws::{self, Services};
use centinela_adapters::{DynamoStateStore, KafkaPublisher, KinesisStream, SystemClock};
use centinela_delivery::BatchError;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_inference::ModelScorer;
use centinela_scoring::{Engine, ScoringError};
use tracing::warn;

use crate::config::Config;
use crate::metrics::{self, Counts};
use crate::model;

type Protocol = Engine<(DynamoStateStore, KafkaPublisher, KinesisStream, ModelScorer, SystemClock), KafkaPublisher>;

/// The function between two invocations.
pub struct ScoreTransactions {
    engine: Protocol,
    transactions_topic: String,
}

impl Function for ScoreTransactions {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    /// Makes every client and warms it, and loads the model meanwhile.
    async fn connect(config: Config) -> Result<Self, Error> {
        let transactions_topic = config.state.transactions_topic.clone();
        let model = tokio::task::spawn_blocking(move || model::load(config.model_directory.as_deref()));
        let services = Services::new(&aws::config().await, config.client)?;
        let (store, topics, stream) = tokio::try_join!(
            async { DynamoStateStore::connect(services.tables().await?, config.state).await },
            KafkaPublisher::connect(config.kafka),
            async { KinesisStream::connect(services.streams().await?, config.stream).await },
        )?;
        let engine = Engine::new(store, topics.clone(), stream, topics, model.await??, SystemClock, config.settings);
        Ok(Self { engine, transactions_topic })
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let batch = invocation.kafka_batch(&self.transactions_topic)?;
        let decode_us = invocation.elapsed_us();
        let report = self.engine.process(batch, invocation.deadline()).await.map_err(failure)?;
        if report.failed > 0 {
            warn!(records = report.failed, "records are to be delivered again");
        }
        Ok(Answer { body: report.response.encode(), metrics: metrics::of(report, decode_us) })
    }
}

fn failure(error: BatchError<ScoringError>) -> Failure {
    match error {
        BatchError::UseCase(ScoringError::Score(_)) => Failure::of_batch("Centinela.ModelFailed", &error),
        error => error.into(),
    }
}
