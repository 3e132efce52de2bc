//! The one task that owns a mapping: takes the owner's commands, what was read, and what comes back from invocations and questions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::deliveries::Deliveries;
use super::error::MappingError;
use super::reading::Reading;

/// Records taken from the client before invocations get their turn.
const READ_AT_ONCE: usize = 1_000;
/// Sleep when nothing is planned.
const IDLE: Duration = Duration::from_secs(60);

type Answered = oneshot::Sender<Result<(), MappingError>>;

/// A request of the mapping's owner.
pub(super) enum Command {
    Commit(oneshot::Sender<()>),
    /// Take nothing from these offsets on; the answer is where that is.
    Cut(Vec<i64>, oneshot::Sender<Vec<i64>>),
    /// Deliver what is below these offsets without waiting for the window.
    Hurry(Vec<i64>),
    Disable(Answered),
    Enable(Answered),
    Stop(Answered),
}

/// How a disabled mapping goes on.
enum Resumed {
    Enabled,
    Stopped(Option<Answered>),
}

/// A mapping at work.
pub(super) struct Poller {
    pub(super) reading: Reading,
    pub(super) deliveries: Deliveries,
}

impl Poller {
    /// Works until told to stop or until the mapping is dropped.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let source = Arc::clone(self.reading.source());
        let mut stream = source.stream();
        let done = loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                command = inbox.recv() => match command {
                    None => break None,
                    Some(Command::Stop(done)) => break Some(done),
                    Some(Command::Disable(done)) => {
                        let outcome = self.suspend().await;
                        done.send(outcome).unwrap_or_default();
                        match self.rest(&mut inbox).await {
                            Resumed::Enabled => {}
                            Resumed::Stopped(done) => break done,
                        }
                    }
                    // It is.
                    Some(Command::Enable(done)) => done.send(Ok(())).unwrap_or_default(),
                    Some(Command::Commit(done)) => {
                        self.reading.commit_reporting().await;
                        // Nobody waits any more: then nobody needs the answer.
                        done.send(()).unwrap_or_default();
                    }
                    Some(Command::Cut(ends, done)) => done.send(self.reading.cut(ends)).unwrap_or_default(),
                    Some(Command::Hurry(ends)) => self.reading.hurry(&ends),
                },
                finished = self.deliveries.next() => self.deliveries.take(finished, self.reading.partitions()),
                answer = self.reading.next_answer() => self.reading.hear(answer),
                Some(message) = stream.next() => {
                    self.reading.read(message);
                    for _ in 1..READ_AT_ONCE {
                        let Some(Some(message)) = stream.next().now_or_never() else { break };
                        self.reading.read(message);
                    }
                    self.reading.pause_full_partitions();
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            self.reading.ask_what_is_due();
            if self.deliveries.dispatch(self.reading.partitions()) {
                self.reading.resume_emptied_partitions();
            }
            self.reading.publish();
            self.reading.commit_when_due();
        };
        drop(stream);
        source.leave();
        if let Some(done) = done {
            let outcome = self.wind_down().await;
            done.send(outcome).unwrap_or_default();
        }
    }

    fn next_wake(&self) -> Instant {
        let delivery = self.deliveries.next_due(self.reading.known());
        self.reading.next_due().into_iter().chain(delivery).min().unwrap_or_else(|| Instant::now() + IDLE)
    }

    /// Ends reading, waits for what is in flight, commits, and forgets everything that was read.
    async fn suspend(&mut self) -> Result<(), MappingError> {
        self.reading.source().leave();
        let outcome = self.wind_down().await;
        // Partitions that joined meanwhile.
        self.reading.source().leave();
        self.deliveries.forget();
        self.reading.forget();
        outcome
    }

    /// Does nothing until it is enabled, stopped or dropped.
    async fn rest(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Resumed {
        loop {
            match inbox.recv().await {
                None => return Resumed::Stopped(None),
                Some(Command::Stop(done)) => return Resumed::Stopped(Some(done)),
                Some(Command::Commit(done)) => done.send(()).unwrap_or_default(),
                Some(Command::Cut(ends, done)) => done.send(self.reading.cut(ends)).unwrap_or_default(),
                // It begins anew where it is enabled.
                Some(Command::Hurry(_)) => {}
                Some(Command::Disable(done)) => done.send(Ok(())).unwrap_or_default(),
                Some(Command::Enable(done)) => match self.reading.source().begin().await {
                    Ok(starts) => {
                        self.reading.take_partitions(&starts);
                        done.send(Ok(())).unwrap_or_default();
                        return Resumed::Enabled;
                    }
                    Err(error) => done.send(Err(error)).unwrap_or_default(),
                },
            }
        }
    }

    /// Lets the invocations in flight end, without starting any, and commits.
    async fn wind_down(&mut self) -> Result<(), MappingError> {
        self.deliveries.end(self.reading.partitions()).await;
        self.reading.hear_the_rest().await;
        self.reading.publish();
        self.reading.commit().await
    }
}
