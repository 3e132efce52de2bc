//! One invocation: from the event to the answer.

use aws_lambda_events::kinesis::KinesisEvent;
use aws_lambda_events::streams::KinesisEventResponse;
use centinela_adapters::aws::{self, Services};
use centinela_adapters::{DynamoLimits, DynamoLookup, SystemClock};
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_lookup::{IndexDecisions as UseCase, Limits};
use centinela_telemetry::emf::Metrics;
use tracing::warn;

use crate::config::Config;
use crate::metrics::{self, Counts};

/// Attempts at one item in one batch.
const ATTEMPTS: u32 = 8;

/// The function between two invocations.
pub struct IndexDecisions(UseCase<DynamoLookup, SystemClock>);

impl Function for IndexDecisions {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(Config { table, remembered, client }: Config) -> Result<Self, Error> {
        let tables = Services::new(&aws::config().await, client)?.tables().await?;
        let store = DynamoLookup::connect(tables, &table, DynamoLimits::default()).await?;
        Ok(Self(UseCase::new(store, SystemClock, Limits { attempts: ATTEMPTS, remembered })))
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let event: KinesisEvent = invocation.event()?;
        let values: Vec<&[u8]> = event.records.iter().map(|record| record.kinesis.data.0.as_slice()).collect();
        let fold = self.0.handle(&values, invocation.deadline().work).await;
        let mut response = KinesisEventResponse::default();
        if let Some(record) = fold.first_failed.and_then(|index| event.records.get(index)) {
            let sequence_number = &record.kinesis.sequence_number;
            warn!(sequence_number, "records are to be delivered again from here on");
            // What comes behind it and was written changes nothing when it comes again.
            response.add_failure(sequence_number);
        }
        let is_partial = !response.batch_item_failures.is_empty();
        Answer::of(&response, Metrics { counts: metrics::of(&fold.report, is_partial), ..Metrics::default() })
    }
}
