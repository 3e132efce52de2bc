//! One invocation: from the event's bytes to the answer's bytes, with one metric line.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use centinela_adapters::{
    DynamoConfig, DynamoLimits, DynamoStateStore, KafkaConfig, KafkaPublisher, KinesisConfig, KinesisStream,
    SystemClock, aws,
};
use centinela_contracts::kafka_event::{EnvelopeError, KafkaBatch};
use centinela_delivery::{BatchError, Causes, Clock, Deadline};
use centinela_domain::ledger::RingSize;
use centinela_domain::{Millis, Outcome};
use centinela_inference::ModelScorer;
use centinela_scoring::{BatchReport, Engine, Limits, ScoringError, Settings};
use centinela_telemetry::{BatchMetrics, Counts, StageMicros, emf};
use lambda_runtime::{Context, Diagnostic, Error, LambdaEvent};
use serde_json::value::RawValue;
use tracing::{info, warn};

use crate::config::Config;

/// Kept back from Lambda's deadline at most, to note what is unsettled and to answer.
const MARGIN_MAX: Duration = Duration::from_secs(3);
/// A record is given up a while after its largest age, and the brokers' clocks are not ours.
const RECORD_AGE_MARGIN: Duration = Duration::from_secs(600);
/// The longest timeout of a function (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html>).
const TIMEOUT_MAX_MS: i64 = 900_000;
/// How long the Kafka client tries to deliver a message; within the function's time.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(4);
/// A timestamp type that leaves the time to the producer. Record contents are in base64, which has no underscore.
const PRODUCERS_TIME: &str = "CREATE_TIME";

type Protocol = Engine<(DynamoStateStore, KafkaPublisher, KinesisStream, ModelScorer, SystemClock), KafkaPublisher>;

/// The function between two invocations.
pub struct Handler {
    engine: Protocol,
    transactions_topic: String,
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
    Batch(#[from] BatchError<ScoringError>),
    /// The answer is no JSON: a fault of ours.
    #[error("the answer is not valid json")]
    Answer(#[from] serde_json::Error),
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match error {
            InvocationError::Envelope(_) => "Centinela.EnvelopeUnreadable",
            InvocationError::Batch(BatchError::UseCase(ScoringError::Score(_))) => "Centinela.ModelFailed",
            InvocationError::Batch(_) => "Centinela.BatchUnsettled",
            InvocationError::Answer(_) => "Centinela.AnswerInvalid",
        };
        Diagnostic { error_type: error_type.to_owned(), error_message: Causes(&error).to_string() }
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
        let dead_letters = topics.clone();
        let delivered_within = config.maximum_record_age.saturating_add(RECORD_AGE_MARGIN);
        let ring = RingSize {
            delivered_within_ms: i64::try_from(delivered_within.as_millis()).unwrap_or(i64::MAX),
            ..RingSize::DEFAULT
        };
        let limits = Limits { ring, ..Limits::default() };
        let settings = Settings { key: config.keys.deployment, default_currency: config.default_currency, limits };
        let engine = Engine::new(store, topics, stream, dead_letters, scorer, SystemClock, settings);
        let transactions_topic = config.transactions_topic;
        Ok(Self { engine, transactions_topic, init_us: micros_since(started), warm: AtomicBool::new(false) })
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
        let batch = KafkaBatch::parse(payload.as_bytes())?.of_topic(&self.transactions_topic)?;
        let decode_us = micros_since(started);
        let report = self.engine.process(batch, deadline(&context, SystemClock.now())).await?;
        if report.failed > 0 {
            warn!(records = report.failed, "records are to be delivered again");
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
    let key = config.keys.pseudonyms.clone();
    DynamoConfig {
        user_table: config.user_table.clone(),
        device_table: config.device_table.clone(),
        marks_table: config.settled_table.clone(),
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
        // What a person should look at is not approved.
        decision_topics: BTreeMap::from([
            (Outcome::Approved, config.approved_topic.clone()),
            (Outcome::Review, config.blocked_topic.clone()),
            (Outcome::Blocked, config.blocked_topic.clone()),
        ]),
        dead_letters_topic: config.dead_letters_topic.clone(),
        deployment_key: config.keys.deployment.clone(),
        message_timeout: MESSAGE_TIMEOUT,
    }
}

/// Lambda's deadline less a quarter of the time left, at most [`MARGIN_MAX`]; most of that is for noting what could not be done.
fn deadline(context: &Context, now: Millis) -> Deadline {
    let ends = match i64::try_from(context.deadline).unwrap_or(i64::MAX) {
        // `cargo lambda watch` says how much time is left, 600,000 ms, where Lambda says when it ends.
        left @ 0..=TIMEOUT_MAX_MS => now.0.saturating_add(left),
        ends => ends,
    };
    let margin = (Millis(ends).since(now).max(0) / 4).min(MARGIN_MAX.as_millis() as i64);
    Deadline { work: Millis(ends - margin), answer: Millis(ends - margin / 4) }
}

fn counts(report: &BatchReport) -> Counts {
    Counts {
        decided: report.decided as u64,
        approved: report.approved as u64,
        blocked: report.blocked as u64,
        review: report.review as u64,
        parked: report.dead_lettered as u64,
        replayed: report.replayed as u64,
        stale: report.stale as u64,
        late: report.late as u64,
        ahead: report.ahead as u64,
        degraded: report.degraded as u64,
        unsettled: report.failed as u64,
        conflicts: report.conflicts as u64,
        order_tripwire: report.order_violations as u64,
        id_conflicts: report.id_conflicts as u64,
        state_unreadable: report.state_unreadable as u64,
        markers_settled: report.markers_complete as u64,
        markers_retired: report.markers_retired as u64,
        device_notes_dropped: report.device_notes_dropped as u64,
        batch_records: report.records as u64,
    }
}

/// In one write, so that no other line gets in between.
fn print_metrics(metrics: &BatchMetrics<'_>) {
    let mut line = emf::line(metrics);
    line.push('\n');
    if let Err(error) = std::io::stdout().lock().write_all(line.as_bytes()) {
        warn!(error = %Causes(&error), "metrics were not printed");
    }
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_delivery::PublishError;

    const NOW: i64 = 1_795_357_920_000;

    #[test]
    fn time_is_kept_back_to_answer_even_with_a_short_timeout() {
        let mut context = Context::default();
        context.deadline = NOW as u64 + 15_000;
        let usual = Deadline { work: Millis(NOW + 12_000), answer: Millis(NOW + 14_250) };
        assert_eq!(deadline(&context, Millis(NOW)), usual);
        assert_eq!(deadline(&context, Millis(NOW + 14_000)).work, Millis(NOW + 14_750));
        assert_eq!(deadline(&context, Millis(NOW + 20_000)).work, Millis(NOW + 15_000));
    }

    #[test]
    fn a_host_that_tells_the_time_left_instead_of_the_end_is_understood() {
        let mut context = Context::default();
        context.deadline = 600_000;
        assert_eq!(deadline(&context, Millis(NOW)).work, Millis(NOW + 597_000));
    }

    #[test]
    fn an_error_report_has_a_stable_type_and_every_cause() {
        let lost = PublishError::Unacknowledged("broker away".into());
        let diagnostic = Diagnostic::from(InvocationError::Batch(BatchError::Unreportable(lost)));
        assert_eq!(diagnostic.error_type, "Centinela.BatchUnsettled");
        assert!(diagnostic.error_message.ends_with("broker away"), "{}", diagnostic.error_message);
    }
}
