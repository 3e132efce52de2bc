//! From a batch to its answer.

use std::error::Error;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use centinela_contracts::batch_response::KafkaBatchResponse;
use centinela_contracts::dead_letter_v1::DeadLetter;
use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::Coordinates;
use tracing::warn;

use crate::batch::{Batch, Deadline, Position};
use crate::causes::Causes;
use crate::dead_letters::{DeadLettered, place};
use crate::intake::{Rejection, take_in};
use crate::ports::{Clock, DeadLetters, PublishError};

/// What a function does with the records of a batch.
pub trait UseCase: Send + Sync {
    /// What a record says.
    type Content: Send;
    /// What [`UseCase::handle`] leaves for [`UseCase::complete`].
    type Handled: Send;
    /// Figures for telemetry.
    type Report: Send;
    /// Why the whole batch must be delivered again.
    type Error: Error + Send;

    /// Reads a record's value. `source` is where the record was first delivered.
    ///
    /// # Errors
    /// When it can never be handled: it is dead-lettered with this reason.
    fn decode(&self, value: &[u8], source: Coordinates) -> Result<Self::Content, Rejection>;

    /// Handles the records that could be decoded: each is done when this returns, or said to have failed ([`Batch::fail`]), or
    /// dead-lettered ([`Batch::dead_letter`]).
    ///
    /// # Errors
    /// When not even a partial answer would be safe.
    fn handle(
        &self,
        batch: &mut Batch<Self::Content>,
    ) -> impl Future<Output = Result<Self::Handled, Self::Error>> + Send;

    /// The dead letters are written, and what failed is known: the last word before the answer.
    ///
    /// # Errors
    /// When not even a partial answer would be safe.
    fn complete(
        &self,
        batch: &mut Batch<Self::Content>,
        handled: Self::Handled,
    ) -> impl Future<Output = Result<Self::Report, Self::Error>> + Send;
}

/// The answer to a mapping, and figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<R> {
    /// Which records must be delivered again.
    pub response: KafkaBatchResponse,
    /// Records that were delivered.
    pub records: usize,
    /// Of these, dead-lettered.
    pub dead_lettered: usize,
    /// The use case's own.
    pub report: R,
}

/// The whole batch must be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum BatchError<E> {
    /// A record that cannot be reported alone could not be dead-lettered.
    #[error("a record without a readable offset could not be dead-lettered")]
    Unreportable(#[source] PublishError),
    /// The use case could not go on.
    #[error(transparent)]
    UseCase(#[from] E),
}

/// What a delivery goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Signed the first places of redriven records.
    pub key: DeploymentKey,
    /// Longest pause before a batch is answered of which nothing could be done because something refuses, a grant or a key: such an
    /// answer comes at once, and would use the mapping's attempts up in minutes. The real one is a random part of it.
    pub refused_pause: Duration,
}

impl Settings {
    /// The usual bounds.
    pub fn new(key: DeploymentKey) -> Self {
        Self { key, refused_pause: Duration::from_secs(4) }
    }
}

/// Takes batches through a use case.
#[derive(Debug)]
pub struct Delivery<D, C> {
    dead_letters: D,
    clock: C,
    settings: Settings,
    dead_lettered: Mutex<DeadLettered>,
}

impl<D: DeadLetters, C: Clock> Delivery<D, C> {
    /// What cannot be handled goes to `dead_letters`.
    pub fn new(dead_letters: D, clock: C, settings: Settings) -> Self {
        Self { dead_letters, clock, settings, dead_lettered: Mutex::default() }
    }

    /// Takes a batch through: every record is handled, dead-lettered, or named in the answer to be delivered again.
    ///
    /// # Errors
    /// The whole batch must be delivered again.
    pub async fn deliver<U: UseCase>(
        &self,
        use_case: &U,
        batch: KafkaBatch,
        deadline: Deadline,
    ) -> Result<Outcome<U::Report>, BatchError<U::Error>> {
        let decode = |value: &[u8], source| use_case.decode(value, source);
        let mut batch = take_in(batch, deadline, &self.settings.key, self.clock.now(), decode);
        let answered = self.answer(use_case, &mut batch).await;
        if batch.refused && (answered.is_err() || batch.failed.len() == batch.size) {
            let left_ms = deadline.answer.since(self.clock.now()).max(0) as u64;
            self.clock.pause(self.settings.refused_pause.min(Duration::from_millis(left_ms))).await;
        }
        answered
    }

    async fn answer<U: UseCase>(
        &self,
        use_case: &U,
        batch: &mut Batch<U::Content>,
    ) -> Result<Outcome<U::Report>, BatchError<U::Error>> {
        let handled = use_case.handle(batch).await?;
        self.dead_letter(batch).await.map_err(BatchError::Unreportable)?;
        let report = use_case.complete(batch, handled).await?;
        let (records, dead_lettered) = (batch.size, batch.dead_lettered);
        Ok(Outcome { response: batch.response(), records, dead_lettered, report })
    }

    /// Dead-letters last of all: a batch that fails as a whole comes again, and its bad records with it. What this environment
    /// dead-lettered before is not sent once more.
    async fn dead_letter<T>(&self, batch: &mut Batch<T>) -> Result<(), PublishError> {
        let mut dead = std::mem::take(&mut batch.dead);
        {
            let before = self.dead_lettered();
            dead.retain(|dead| !place(&dead.letter).is_some_and(|place| before.knows(place)));
        }
        if dead.is_empty() {
            return Ok(());
        }
        let (letters, positions): (Vec<DeadLetter>, Vec<Option<Position>>) =
            dead.into_iter().map(|dead| (dead.letter, dead.position)).unzip();
        let outcomes = self.dead_letters.send(&letters, batch.deadline.work).await;
        for ((outcome, position), letter) in outcomes.into_iter().zip(positions).zip(&letters) {
            match (outcome, position) {
                (Ok(()), _) => {
                    batch.dead_lettered += 1;
                    place(letter).into_iter().for_each(|place| self.dead_lettered().remember(place));
                }
                (Err(problem), Some(position)) => {
                    warn!(error = %Causes(&problem), "a record was not dead-lettered");
                    batch.note_refusal(problem.is_refusal());
                    batch.failed.insert(position);
                    batch.undelivered.insert(position);
                }
                (Err(problem), None) => {
                    batch.note_refusal(problem.is_refusal());
                    return Err(problem);
                }
            }
        }
        Ok(())
    }

    fn dead_lettered(&self) -> MutexGuard<'_, DeadLettered> {
        // A panic elsewhere leaves only places of records that were written.
        self.dead_lettered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
