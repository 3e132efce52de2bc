//! The failure destination: a topic of the same cluster that receives the records that a mapping gives up.
//!
//! One message per record, with the record's key. Shape:
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure-destination.html>. Two differences, on purpose: `requestId` is null
//! (a record may have failed in many requests), and a destination that is down holds the partition instead of losing the record.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use rdkafka::util::Timeout;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::event::{CLUSTER_ARN, Envelope};
use super::in_flight::{Condition, GivenUp, with_jitter};
use super::spec::KafkaMappingSpec;
use centinela_kafka_client::{bootstrap_again, iam_token};

/// Pause before a record is sent to an unwilling destination again.
const RESEND_PAUSE: Duration = Duration::from_secs(1);

const PRODUCER_SETTINGS: [(&str, &str); 5] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("linger.ms", "0"),
    ("message.timeout.ms", "10000"),
    // The broker's own limit decides; a failed record carries its event and is larger than the record was.
    ("message.max.bytes", "10485760"),
];

/// Where the given up records went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeadLettered {
    pub(super) delivered: u64,
    pub(super) dropped: u64,
}

/// What the producer asks its owner for.
#[derive(Clone)]
struct Tokens;

impl ClientContext for Tokens {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        iam_token(config)
    }
}

/// A producer for the failure topic, which connects with the first record that is given up: mostly there is none, and a client costs
/// something even when it has nothing to do.
pub(super) struct Destination {
    config: ClientConfig,
    bootstrap: String,
    producer: OnceLock<FutureProducer<Tokens>>,
    topic: String,
    function_arn: String,
}

impl Destination {
    /// None where the mapping has none.
    pub(super) fn of(
        spec: &KafkaMappingSpec,
        bootstrap: &str,
        extra: &BTreeMap<String, String>,
    ) -> Option<Arc<Destination>> {
        let topic = spec.on_failure_topic.clone()?;
        let consumer_only = ["fetch.", "session.", "queued.", "max.poll.", "auto.offset.", "isolation."];
        let shared_settings =
            extra.iter().filter(|(name, _)| !consumer_only.iter().any(|prefix| name.starts_with(prefix)));
        let mut config = ClientConfig::new();
        config.extend(shared_settings.map(|(name, value)| (name.clone(), value.clone())));
        config.extend(PRODUCER_SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        config.set("bootstrap.servers", bootstrap);
        let function_arn = format!("arn:aws:lambda:us-east-1:000000000000:function:{}", spec.function);
        let bootstrap = bootstrap.to_owned();
        Some(Arc::new(Destination { config, bootstrap, producer: OnceLock::new(), topic, function_arn }))
    }

    fn producer(&self) -> Result<&FutureProducer<Tokens>, KafkaError> {
        if let Some(producer) = self.producer.get() {
            return Ok(producer);
        }
        let producer = self.config.create_with_context(Tokens)?;
        Ok(self.producer.get_or_init(|| producer))
    }

    /// Sends every record until the topic has it. `None` when `stopped` first: nothing may count as complete then.
    pub(super) async fn dead_letter(
        &self,
        given_up: &[GivenUp],
        envelope: &Envelope,
        stopped: &CancellationToken,
    ) -> Option<DeadLettered> {
        let sends = join_all(given_up.iter().map(|given_up| self.send(given_up, envelope)));
        let outcomes = stopped.run_until_cancelled(sends).await?;
        let delivered = outcomes.iter().filter(|delivered| **delivered).count() as u64;
        Some(DeadLettered { delivered, dropped: outcomes.len() as u64 - delivered })
    }

    /// False when the topic can never take it.
    async fn send(&self, given_up: &GivenUp, envelope: &Envelope) -> bool {
        let key = given_up.record.key();
        let payload = document(given_up, envelope, &self.function_arn);
        loop {
            let mut message: FutureRecord<'_, [u8], str> = FutureRecord::to(&self.topic).payload(&payload);
            if let Some(key) = &key {
                message = message.key(key);
            }
            let sent = match self.producer() {
                Ok(producer) => {
                    producer.send(message, Timeout::After(Duration::from_secs(10))).await.map_err(|(error, _)| error)
                }
                Err(error) => Err(error),
            };
            let Err(error) = sent else { return true };
            let (partition, offset) = given_up.record.coordinates();
            if let KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge) = error {
                tracing::error!(
                    topic = self.topic,
                    partition,
                    offset,
                    "the failure topic does not take a record of this size; dropped"
                );
                return false;
            }
            if let Some(producer) = self.producer.get() {
                bootstrap_again(producer.client(), &self.bootstrap);
            }
            tracing::warn!(topic = self.topic, partition, offset, %error, "the failure destination does not answer; trying again");
            tokio::time::sleep(with_jitter(RESEND_PAUSE)).await;
        }
    }
}

fn document(given_up: &GivenUp, envelope: &Envelope, function_arn: &str) -> String {
    let record = &given_up.record;
    let event = envelope.event(std::slice::from_ref(record));
    let delivered = given_up.condition != Condition::MaximumPayloadSizeExceeded;
    let metadata = json!({
        "requestContext": {
            "requestId": null,
            "functionArn": function_arn,
            "condition": given_up.condition.name(),
            "approximateInvokeCount": record.failed_attempts,
        },
        "responseContext": delivered.then(|| json!({
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        })),
        "version": "1.0",
        "timestamp": iso_8601(now_ms()),
        "KafkaBatchInfo": {
            "batchSize": 1,
            "eventSourceArn": CLUSTER_ARN,
            "bootstrapServers": envelope.bootstrap(),
            "payloadSize": event.len(),
            "recordInfo": { "offset": record.offset.to_string(), "timestamp": iso_8601(record.timestamp_ms) },
        },
    });
    let metadata = metadata.to_string();
    let open = metadata.strip_suffix('}').unwrap_or(&metadata);
    format!("{open},\"payload\":{}}}", String::from_utf8_lossy(&event))
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// UTC with milliseconds.
pub(super) fn iso_8601(time_ms: i64) -> String {
    let (days, ms) = (time_ms.div_euclid(86_400_000), time_ms.rem_euclid(86_400_000));
    let (year, month, day) = centinela_calendar::date(days);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::iso_8601;

    #[test]
    fn times_are_written_as_aws_writes_them() {
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_8601(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
        assert_eq!(iso_8601(-1), "1969-12-31T23:59:59.999Z");
    }
}
