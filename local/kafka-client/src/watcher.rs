//! A first contact with a cluster that says why it failed.
//!
//! librdkafka retries nearly everything without end and says why only in its log; a person who starts a command wants the reason.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::error::ClusterError;
use crate::{KafkaAccess, REACH_LIMIT, iam_token};

/// One question; in between it is looked whether the cluster refused us.
const QUESTION: Duration = Duration::from_millis(1_000);
/// How long the client is listened to between two questions.
const SERVE: Duration = Duration::from_millis(50);

/// What a client was told, and how a record that it sent was answered.
#[derive(Clone, Debug, Default)]
pub struct Watcher(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    refusal: Option<Refusal>,
    complaint: Option<String>,
    is_group_refused: bool,
    delivery: Option<Result<(), RDKafkaErrorCode>>,
}

/// What no waiting changes, in the cluster's or in OpenSSL's words.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    Login(String),
    Encryption(String),
}

impl Watcher {
    fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the login or the encryption failed, which no waiting changes.
    fn refusal(&self) -> Option<Refusal> {
        self.heard(|heard| heard.refusal.clone())
    }

    /// The last complaint about a connection.
    fn complaint(&self) -> Option<String> {
        self.heard(|heard| heard.complaint.clone())
    }

    /// Whether the consumer group may not be used.
    pub(crate) fn is_group_refused(&self) -> bool {
        self.heard(|heard| heard.is_group_refused)
    }

    /// How the record was answered, once it was.
    pub(crate) fn delivery(&self) -> Option<Result<(), RDKafkaErrorCode>> {
        self.heard(|heard| heard.delivery)
    }
}

impl ClientContext for Watcher {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed) {
            return self.heard(|heard| heard.is_group_refused = true);
        }
        // Says nothing that the broker's own complaint has not said better.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        let reason = short(reason);
        self.heard(|heard| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
                heard.refusal = Some(Refusal::Login(reason));
            }
            Some(RDKafkaErrorCode::SSL) => heard.refusal = Some(Refusal::Encryption(reason)),
            _ => heard.complaint = Some(reason),
        });
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        iam_token(config).inspect_err(|error| {
            let reason = error.to_string();
            self.heard(|heard| heard.refusal = Some(Refusal::Login(reason)));
        })
    }
}

impl ConsumerContext for Watcher {
    /// A member of a group takes part in it and reads nothing.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, _partitions: &mut TopicPartitionList) {
        let answered = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => consumer.assign(&TopicPartitionList::new()),
            _ => consumer.unassign(),
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "a consumer group's partitions cannot be left alone");
        }
    }
}

impl ProducerContext for Watcher {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let answer = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.heard(|heard| heard.delivery = Some(answer));
    }
}

/// librdkafka repeats the broker's name and adds how long it took; a person needs the middle.
fn short(reason: &str) -> String {
    let text = reason.split_once(": ").map_or(reason, |(_, text)| text);
    text.split(" (after ").next().unwrap_or(text).trim().to_owned()
}

/// Connects and asks for all topics that this client may see. Blocks for up to [`REACH_LIMIT`].
///
/// # Errors
/// When nobody answers, or the login or the encryption is refused.
pub fn reach(access: &KafkaAccess) -> Result<(BaseConsumer<Watcher>, Metadata), ClusterError> {
    let watcher = Watcher::default();
    let mut config = access.client();
    config.set("client.id", "centinela-check").set("group.id", "centinela-check").set("enable.auto.commit", "false");
    let unusable = |source| ClusterError::Client { bootstrap: access.bootstrap.clone(), source };
    let consumer: BaseConsumer<Watcher> = config.create_with_context(watcher.clone()).map_err(unusable)?;
    let until = Instant::now() + REACH_LIMIT;
    loop {
        match consumer.fetch_metadata(None, QUESTION) {
            Ok(metadata) => return Ok((consumer, metadata)),
            Err(error) => {
                // Serves all that the client has to say: its logs come first, and the refusal behind them. There are no records.
                drop(consumer.poll(SERVE));
                if let Some(refusal) = watcher.refusal() {
                    return Err(refused(access, refusal));
                }
                if until <= Instant::now() {
                    return Err(ClusterError::Unreachable {
                        bootstrap: access.bootstrap.clone(),
                        waited_s: REACH_LIMIT.as_secs(),
                        reason: watcher.complaint().unwrap_or_else(|| error.to_string()),
                    });
                }
            }
        }
    }
}

/// Whether the cluster shows us a topic. Blocks for up to [`REACH_LIMIT`].
///
/// # Errors
/// When nobody answers, or the login or the encryption is refused.
pub fn shows(access: &KafkaAccess, topic: &str) -> Result<bool, ClusterError> {
    let (_, metadata) = reach(access)?;
    Ok(metadata.topics().iter().any(|known| known.name() == topic && !known.partitions().is_empty()))
}

fn refused(access: &KafkaAccess, refusal: Refusal) -> ClusterError {
    let bootstrap = access.bootstrap.clone();
    match (refusal, &access.ca) {
        (Refusal::Login(reason), _) => ClusterError::Login { bootstrap, who: access.who(), reason },
        (Refusal::Encryption(reason), ca) if reason.contains("certificate verify failed") => {
            let trusted = ca.as_ref().map_or_else(|| "this system".to_owned(), |ca| ca.display().to_string());
            ClusterError::Encryption {
                bootstrap,
                reason: format!("its certificate cannot be verified with the authorities of {trusted}"),
                advice: "give the one that signed it (PEM) with --kafka-ca, and the name that stands in it with --kafka",
            }
        }
        (Refusal::Encryption(reason), _) => ClusterError::Encryption {
            bootstrap,
            reason,
            advice: "check that this is the port for TLS, and what the brokers ask of their clients",
        },
    }
}
