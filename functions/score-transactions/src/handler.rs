//! One invocation: from the event's bytes to the answer's bytes, with one metric line.

use std::error::Error as StdError;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use centinela_adapters::dynamo_state::DynamoLimits;
use centinela_adapters::{
    DynamoConfig, DynamoStateStore, KafkaConfig, KafkaPublisher, KinesisConfig, KinesisStream, SystemClock, aws,
};
use centinela_contracts::kafka_event::{EnvelopeError, KafkaBatch};
use centinela_domain::Millis;
use centinela_engine::ports::Clock;
use centinela_engine::{BatchReport, Crash, Engine, Limits};
use centinela_inference::ModelScorer;
use centinela_telemetry::{BatchMetrics, Counts, StageMicros, emf};
use lambda_runtime::{Context, Diagnostic, Error, LambdaEvent};
use serde_json::value::RawValue;
use tracing::{info, warn};

use crate::config::Config;

/// Kept back from Lambda's deadline at most, to note what is unsettled and to answer.
const MARGIN_MAX: Duration = Duration::from_secs(3);
/// How long the Kafka client tries to deliver a message; within the function's time.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A timestamp type that leaves the time to the producer. Record contents are in base64, which has no underscore.
const PRODUCERS_TIME: &str = "CREATE_TIME";

type Protocol = Engine<DynamoStateStore, KafkaPublisher, KinesisStream, KafkaPublisher, ModelScorer, SystemClock>;

/// The function between two invocations.
pub struct Handler {
    engine: Protocol,
    init_us: u64,
    warm: AtomicBool,
}

/// The whole batch is delivered again.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The event is not what a Kafka mapping sends.
    #[error("the event is no kafka batch")]
    Envelope(#[from] EnvelopeError),
    /// Not even a partial answer would be safe.
    #[error("the batch is not settled")]
    Batch(#[from] Crash),
    /// The answer is no JSON: a fault of ours.
    #[error("the answer is not valid json")]
    Answer(#[from] serde_json::Error),
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match error {
            InvocationError::Envelope(_) => "Centinela.EnvelopeUnreadable",
            InvocationError::Batch(Crash::Score(_)) => "Centinela.ModelFailed",
            InvocationError::Batch(_) => "Centinela.BatchUnsettled",
            InvocationError::Answer(_) => "Centinela.AnswerInvalid",
        };
        Diagnostic { error_type: error_type.to_owned(), error_message: with_causes(&error) }
    }
}

impl Handler {
    /// Makes every client and warms it, and loads the model meanwhile.
    pub async fn connect(config: Config, started: Instant) -> Result<Self, Error> {
        info!(?config, "starting");
        let model = tokio::task::spawn_blocking(ModelScorer::bundled);
        let sdk = aws::config().await;
        let (store, topics, stream) = tokio::try_join!(
            DynamoStateStore::connect(&sdk, dynamo(&config)),
            KafkaPublisher::connect(kafka(&config)),
            KinesisStream::connect(&sdk, KinesisConfig::new(&config.decisions_stream)),
        )?;
        let scorer = model.await??;
        let parking = topics.clone();
        let engine = Engine::new(store, topics, stream, parking, scorer, SystemClock, Limits::default());
        Ok(Self { engine, init_us: micros_since(started), warm: AtomicBool::new(false) })
    }

    /// Handles one event.
    pub async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Box<RawValue>, InvocationError> {
        let started = Instant::now();
        let LambdaEvent { payload, context } = event;
        let payload = payload.get();
        let cold = !self.warm.swap(true, Ordering::Relaxed);
        if cold && payload.contains(PRODUCERS_TIME) {
            warn!(
                "the source topic takes its records' times from producers; set message.timestamp.type to LogAppendTime"
            );
        }
        let batch = KafkaBatch::parse(payload.as_bytes())?;
        let decode_us = micros_since(started);
        let report = self.engine.process(batch, deadline(&context, SystemClock.now())).await?;
        if report.unsettled > 0 {
            warn!(records = report.unsettled, "records are to be delivered again");
        }
        let answer = String::from_utf8_lossy(&report.response.encode()).into_owned();
        let stages = StageMicros {
            decode_us,
            read_us: report.stages.read_us,
            decide_us: report.stages.decide_us,
            commit_us: report.stages.commit_us,
            publish_us: report.stages.publish_us,
            total_us: micros_since(started),
        };
        print_metrics(&BatchMetrics {
            function: &context.env_config.function_name,
            request_id: &context.request_id,
            at_ms: SystemClock.now().0,
            counts: counts(&report),
            processing_ms: report.latencies_ms,
            stages,
            init_us: cold.then_some(self.init_us),
        });
        Ok(RawValue::from_string(answer)?)
    }
}

fn dynamo(config: &Config) -> DynamoConfig {
    let key = config.pseudonym_key.clone();
    DynamoConfig {
        user_table: config.user_table.clone(),
        device_table: config.device_table.clone(),
        settled_table: config.settled_table.clone(),
        consumer_group: config.consumer_group.clone(),
        transactions_topic: config.transactions_topic.clone(),
        name_for_logs: Arc::new(move |identifier| key.pseudonym(identifier).to_string()),
        limits: DynamoLimits::default(),
    }
}

fn kafka(config: &Config) -> KafkaConfig {
    KafkaConfig {
        bootstrap: config.kafka_bootstrap.clone(),
        auth: config.kafka_auth.clone(),
        ca: config.kafka_ca.clone(),
        client_id: env!("CARGO_PKG_NAME").to_owned(),
        approved_topic: config.approved_topic.clone(),
        blocked_topic: config.blocked_topic.clone(),
        dead_letters_topic: config.dead_letters_topic.clone(),
        message_timeout: MESSAGE_TIMEOUT,
    }
}

/// Lambda's deadline less a quarter of the time left, at most [`MARGIN_MAX`].
fn deadline(context: &Context, now: Millis) -> Millis {
    let ends = i64::try_from(context.deadline).unwrap_or(i64::MAX);
    let margin = (Millis(ends).since(now).max(0) / 4).min(MARGIN_MAX.as_millis() as i64);
    Millis(ends - margin)
}

fn counts(report: &BatchReport) -> Counts {
    Counts {
        decided: report.decided as u64,
        approved: report.approved as u64,
        blocked: report.blocked as u64,
        review: report.review as u64,
        parked: report.parked as u64,
        replayed: report.replayed as u64,
        stale: report.stale as u64,
        late: report.late as u64,
        degraded: report.degraded as u64,
        unsettled: report.unsettled as u64,
        conflicts: report.conflicts as u64,
        order_tripwire: report.order_tripwire as u64,
        device_notes_dropped: report.device_notes_dropped as u64,
        batch_records: report.records as u64,
    }
}

/// In one write, so that no other line gets in between.
fn print_metrics(metrics: &BatchMetrics<'_>) {
    let mut line = emf::line(metrics);
    line.push('\n');
    if let Err(error) = std::io::stdout().lock().write_all(line.as_bytes()) {
        warn!(error = &error as &dyn StdError, "metrics were not printed");
    }
}

fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_engine::ports::PublishError;

    #[test]
    fn time_is_kept_back_to_answer_even_with_a_short_timeout() {
        let mut context = Context::default();
        context.deadline = 15_000;
        assert_eq!(deadline(&context, Millis(0)), Millis(12_000));
        assert_eq!(deadline(&context, Millis(14_000)), Millis(14_750));
        assert_eq!(deadline(&context, Millis(20_000)), Millis(15_000));
    }

    #[test]
    fn an_error_report_has_a_stable_type_and_every_cause() {
        let lost = PublishError::Unacknowledged("broker away".into());
        let diagnostic = Diagnostic::from(InvocationError::Batch(Crash::Unreportable(lost)));
        assert_eq!(diagnostic.error_type, "Centinela.BatchUnsettled");
        assert!(diagnostic.error_message.ends_with("broker away"), "{}", diagnostic.error_message);
    }
}
