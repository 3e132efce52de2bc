//! Parting from a Kafka client, within a limit.

use std::fmt;
use std::ops::Deref;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long the end of a client may hold up its owner.
const LIMIT: Duration = Duration::from_secs(3);

/// A client whose end holds nobody up for long.
///
/// A consumer with a group may never end when it is dropped after its broker went away
/// (<https://github.com/confluentinc/librdkafka/issues/4674>). So it is dropped in a thread of its own, which is left behind after 3 s and
/// ends with the process.
pub struct Parting<C: Send + 'static>(Option<C>);

impl<C: Send + 'static> From<C> for Parting<C> {
    fn from(client: C) -> Self {
        Self(Some(client))
    }
}

impl<C: Send + 'static> Deref for Parting<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<C: Send + 'static> Drop for Parting<C> {
    fn drop(&mut self) {
        let client = self.0.take();
        let (ended, end) = channel::<()>();
        let parting = thread::Builder::new().name("kafka-parting".to_owned()).spawn(move || {
            drop(client);
            drop(ended);
        });
        // A thread that cannot be started has dropped the client here.
        if parting.is_ok() && end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a kafka client did not end within {} s and is left behind", LIMIT.as_secs());
        }
    }
}

impl<C: Send + 'static> fmt::Debug for Parting<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Parting").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender};

    use super::*;

    /// Ends when it is allowed to, as a consumer does whose broker never comes back.
    struct Stuck {
        began: Sender<()>,
        allowed: Receiver<()>,
    }

    impl Drop for Stuck {
        fn drop(&mut self) {
            self.began.send(()).unwrap_or_default();
            self.allowed.recv().unwrap_or_default();
        }
    }

    #[test]
    fn a_client_that_does_not_end_is_left_behind() {
        let (began, beginning) = channel();
        let (allow, allowed) = channel();
        drop(Parting::from(Stuck { began, allowed }));
        assert_eq!(beginning.recv(), Ok(()), "its end began");
        assert_eq!(allow.send(()), Ok(()), "and it is still waiting");
    }

    #[test]
    fn a_client_that_ends_has_ended_when_its_owner_goes_on() {
        let (sender, receiver) = channel::<()>();
        let sender = Parting::from(sender);
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    }
}
