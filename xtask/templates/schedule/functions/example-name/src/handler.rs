//! One invocation: from the event to the answer.

use aws_lambda_events::cloudwatch_events::CloudWatchEvent;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_telemetry::emf::Metrics;
use serde_json::json;
use tracing::info;

use crate::metrics::Counts;

/// The function between two runs.
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

    /// EventBridge delivers at least once: a run is known by the time for which it was scheduled.
    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let event: CloudWatchEvent = invocation.event()?;
        let scheduled_for = event.time.to_rfc3339();
        info!(scheduled_for, "a run");
        let metrics = Metrics { counts: Counts { runs: 1 }, ..Metrics::default() };
        Answer::of(&json!({ "scheduled_for": scheduled_for }), metrics)
    }
}
