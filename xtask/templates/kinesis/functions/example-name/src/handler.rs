//! One invocation: from the event to the answer.

use aws_lambda_events::kinesis::KinesisEvent;
use aws_lambda_events::streams::KinesisEventResponse;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_telemetry::emf::Metrics;
use tracing::warn;

use crate::metrics::Counts;
use crate::use_case;

/// The function between two invocations.
pub struct ExampleName;

impl Function for ExampleName {
    type Config = ();
    type Counts = Counts;

    fn configure(_: &mut Environment<'_>) -> Option<()> {
        Some(())
    }

    async fn connect((): ()) -> Result<Self, Error> {
        Ok(Self)
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let event: KinesisEvent = invocation.event()?;
        let mut counts = Counts { records: event.records.len() as u64, ..Counts::default() };
        let mut response = KinesisEventResponse::default();
        for record in &event.records {
            match use_case::handle(&record.kinesis.data) {
                Ok(()) => counts.handled += 1,
                Err(error) => {
                    warn!(sequence_number = record.kinesis.sequence_number, %error, "a record is to be delivered again");
                    // The mapping begins again here, so what comes behind it keeps its place.
                    response.add_failure(&record.kinesis.sequence_number);
                    break;
                }
            }
        }
        Answer::of(&response, Metrics { counts, ..Metrics::default() })
    }
}
