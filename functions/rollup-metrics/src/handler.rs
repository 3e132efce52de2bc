//! One invocation: records of a window, or its end.

use std::collections::HashMap;

use aws_lambda_events::kinesis::KinesisTimeWindowEvent;
use centinela_adapters::{DynamoLimits, DynamoRollups, aws};
use centinela_contracts::window_state::WindowState;
use centinela_delivery::Causes;
use centinela_domain::Millis;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_rollup::{RollUp, WindowOf, fold};
use centinela_telemetry::emf::Metrics;
use serde::Serialize;
use tracing::info;

use crate::config::Config;
use crate::metrics::{self, Counts};

/// The function between two invocations.
pub struct RollupMetrics(RollUp<DynamoRollups>);

/// What the next invocation of the window gets. Lambda takes an answer without a state for a failure.
#[derive(Serialize)]
struct Response {
    state: HashMap<String, String>,
}

impl Function for RollupMetrics {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(Config { table, remembered }: Config) -> Result<Self, Error> {
        let sdk = aws::config().await;
        Ok(Self(RollUp::new(DynamoRollups::new(&sdk, &table, DynamoLimits::default()), remembered)))
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let event: KinesisTimeWindowEvent = invocation.event()?;
        let (records, of) = (&event.kinesis_event.records, &event.time_window_properties);
        let state = WindowState::decode(&of.state).map_err(|problem| {
            Failure::new("Centinela.StateUnreadable", "the window's state is not what this release returned", &problem)
        })?;
        let records = records.iter().map(|record| &record.kinesis);
        let values = records.map(|record| (record.sequence_number.as_str(), record.data.0.as_slice()));
        let (state, report) = fold(state, values);
        let mut counts = metrics::of(&report);
        if !of.is_final_invoke_for_window {
            let state = state.map(|state| state.encode()).unwrap_or_default();
            return Answer::of(&Response { state }, Metrics { counts, ..Metrics::default() });
        }
        if of.is_window_terminated_early {
            info!("a window ended early: its state is too large; the rest of it has an item of its own");
            counts.early = 1;
        }
        let window = WindowOf {
            start: Millis(of.window.start.timestamp_millis()),
            shard: of.shard_id.as_deref().unwrap_or_default(),
        };
        let kept = self.0.end(window, state, invocation.deadline().work).await.map_err(|problem| {
            let cause = Causes(&problem).to_string();
            info!(cause, "a roll-up was not kept; the end of its window is delivered again");
            Failure::new("Centinela.RollupNotKept", "the roll-up of a window is not known to be kept", &problem)
        })?;
        counts.windows = u64::from(kept);
        Answer::of(&Response { state: HashMap::new() }, Metrics { counts, ..Metrics::default() })
    }
}
