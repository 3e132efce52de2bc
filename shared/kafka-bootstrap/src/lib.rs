//! Gives a client of librdkafka its brokers back.
//!
//! A broker that starts may know topics and, until it has registered, no broker. From such an answer librdkafka (2.12 and 2.13 at least)
//! takes it that every broker is gone, those of `bootstrap.servers` too. It means to begin with these again, but the end of the same answer
//! may call that off: then the client has nobody to ask, and never does anything again
//! (<https://github.com/confluentinc/librdkafka/issues/5301>). A single broker that is restarted is enough for it.

use std::ffi::CString;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// How long a client that has lost its brokers is left to find them by itself.
const BY_ITSELF: Duration = Duration::from_secs(1);

/// Tells a client of the brokers that its settings name, `host:port` with commas. Of those that it knows nothing changes, so an owner may
/// do this whenever a question was not answered. librdkafka keeps the text of every call as long as the client lives.
pub fn bootstrap_again<C: ClientContext>(client: &Client<C>, servers: &str) {
    let Ok(names) = CString::new(servers) else {
        tracing::error!(servers, "no kafka client can have such brokers");
        return;
    };
    #[expect(unsafe_code, reason = "rdkafka has no safe function for it")]
    // SAFETY: the client lives as long as it is borrowed, and the text ends with a zero byte. librdkafka copies the text, and takes calls
    // from every thread.
    let known = unsafe { rdkafka::bindings::rd_kafka_brokers_add(client.native_ptr(), names.as_ptr()) };
    tracing::debug!(servers, known, "a kafka client was told its brokers again");
}

/// Whether a client has lost its brokers: what a context that hears of it hands to the client's owner.
#[derive(Debug, Default)]
pub struct Lost(Mutex<Option<Instant>>);

impl Lost {
    /// Takes in an error of the client.
    pub fn heard(&self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.since().get_or_insert_with(Instant::now);
        }
    }

    /// Gives the client its brokers back, once, if it lost them a second ago. Cheap enough to be called with every record.
    pub fn mend<C: ClientContext>(&self, client: &Client<C>, servers: &str) {
        self.mend_at(client, servers, Instant::now());
    }

    /// From when on [`Lost::mend`] gives them back; none of a client that has its brokers.
    pub fn due(&self) -> Option<Instant> {
        self.since().map(|since| since + BY_ITSELF)
    }

    fn mend_at<C: ClientContext>(&self, client: &Client<C>, servers: &str, now: Instant) {
        let mut since = self.since();
        if since.is_some_and(|since| since + BY_ITSELF <= now) {
            *since = None;
            bootstrap_again(client, servers);
        }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};

    use super::*;

    const NOWHERE: &str = "127.0.0.1:1,127.0.0.1:2";

    fn client() -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", NOWHERE).create().unwrap()
    }

    #[test]
    fn only_the_loss_of_every_broker_is_noted_and_its_first_moment_counts() {
        let lost = Lost::default();
        lost.heard(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure));
        assert_eq!(*lost.since(), None);
        lost.heard(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown));
        let first = *lost.since();
        assert!(first.is_some());
        lost.heard(&KafkaError::MessageConsumption(RDKafkaErrorCode::AllBrokersDown));
        assert_eq!(*lost.since(), first);
    }

    #[test]
    fn a_client_has_a_second_to_find_its_brokers_by_itself_and_is_then_told_once() {
        let (client, lost) = (client(), Lost::default());
        assert_eq!(lost.due(), None);
        let before = Instant::now();
        lost.heard(&KafkaError::Global(RDKafkaErrorCode::AllBrokersDown));
        let due = lost.due().unwrap();
        assert!(before + BY_ITSELF <= due);
        lost.mend_at(client.client(), NOWHERE, before);
        assert_eq!(lost.due(), Some(due), "it may find them yet");
        lost.mend_at(client.client(), NOWHERE, due);
        assert_eq!(lost.due(), None);
    }

    #[test]
    fn what_cannot_be_a_name_is_no_reason_to_end() {
        bootstrap_again(client().client(), "127.0.0.1:1\0");
    }
}
