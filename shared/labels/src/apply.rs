//! A batch of events on its way: labels by user, users side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_contracts::event_v1;
use centinela_delivery::{Batch, Causes, Clock, Rejection, UseCase};
use centinela_domain::risk::Label;
use centinela_domain::{Coordinates, DecisionId, DeviceId, Millis, UserId};
use futures::{StreamExt, stream};
use tracing::warn;

use crate::ports::{Known, LabelRequest, Labels};
use crate::user::{Candidate, Fate, Task};

const NO_USER: &str = "the label does not say whose transaction it is about, and transactions are known by their user only: send it \
                       again with user_id";
const NO_DEVICE: &str = "the label does not say on which device the transaction was made, and no earlier label of the transaction does: \
                         send it again with device_id";
const UNREADABLE: &str =
    "the stored label, or the risk of its user or device, cannot be read: repair the item, then redrive this record";

/// Bounds of the work on labels.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Users that are worked on at a time.
    pub users_at_once: usize,
    /// Attempts at one label in one batch, the first included.
    pub attempts: u32,
    /// Longest pause between such attempts; the real one is a random part of it.
    pub pause: Duration,
    /// How long a record waits for the repair of an item before it is dead-lettered.
    pub repair_patience: Duration,
    /// How long a label is remembered, from the broker's time of its record. One that comes again later counts again.
    pub remembered: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users_at_once: 16,
            attempts: 12,
            pause: Duration::from_millis(40),
            repair_patience: Duration::from_secs(600),
            remembered: Duration::from_secs(400 * 86_400),
        }
    }
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A label.
    Label(NewLabel),
    /// An event that nothing is derived from.
    Other,
}

/// A label that came.
#[derive(Clone, Debug, PartialEq)]
pub struct NewLabel {
    /// The decision that it is about.
    pub decision: DecisionId,
    /// Whose transaction it was.
    pub user: UserId,
    /// The device, where the label names it.
    pub device: Option<DeviceId>,
    /// What it says.
    pub label: Label,
    /// The broker's time of its record.
    pub ingested_at: Millis,
}

/// Figures of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelReport {
    /// Labels that were written.
    pub applied: usize,
    /// Of these, in the place of an earlier one.
    pub corrected: usize,
    /// Labels that changed nothing: redelivered ones, and those that a later one stands above.
    pub unchanged: usize,
    /// Events that are no labels.
    pub others: usize,
    /// Labels that were planned again because somebody else wrote first.
    pub lost_races: usize,
    /// Labels without a user or a device, dead-lettered.
    pub incomplete: usize,
    /// Labels of which a stored item cannot be read.
    pub unreadable: usize,
}

/// Applies labels.
#[derive(Debug)]
pub struct ApplyLabels<S, C> {
    pub(crate) store: S,
    pub(crate) clock: C,
    pub(crate) limits: Limits,
}

impl<S: Labels, C: Clock> UseCase for ApplyLabels<S, C> {
    type Content = Content;
    type Handled = LabelReport;
    type Report = LabelReport;
    type Error = Infallible;

    fn decode(&self, value: &[u8], source: Coordinates) -> Result<Content, Rejection> {
        let event = event_v1::parse(value)?;
        let (Some(label), Some(transaction)) = (event.label(source.timestamp), &event.transaction_id) else {
            return Ok(Content::Other);
        };
        let Some(user) = event.user_id else {
            return Err(Rejection { code: DeadLetterReason::LabelWithoutUser, reason: NO_USER.to_owned() });
        };
        let decision = DecisionId::derive(&user, transaction);
        let ingested_at = source.timestamp;
        Ok(Content::Label(NewLabel { decision, user, device: event.device_id, label, ingested_at }))
    }

    async fn handle(&self, batch: &mut Batch<Content>) -> Result<LabelReport, Infallible> {
        let mut report = LabelReport::default();
        let users = candidates(batch, &mut report);
        if users.is_empty() {
            return Ok(report);
        }
        let deadline = batch.deadline.work;
        let (known, problem) = self.store.read(request(&users), deadline).await;
        if let Some(problem) = problem {
            warn!(error = %Causes(&problem), "part of the labels and of the risk was not read");
            batch.note_refusal(problem.is_refusal());
        }
        let tasks = users.into_iter().map(|(user, candidates)| Task::new(user, candidates, &known));
        let done =
            stream::iter(tasks).map(|task| task.work(self, deadline)).buffer_unordered(self.limits.users_at_once);
        let done: Vec<_> = done.collect().await;
        for (records, outcome) in done.into_iter().flatten() {
            report.lost_races += outcome.lost_races;
            self.conclude(records, outcome.fate, batch, &mut report);
        }
        Ok(report)
    }

    async fn complete(&self, _batch: &mut Batch<Content>, report: LabelReport) -> Result<LabelReport, Infallible> {
        Ok(report)
    }
}

impl<S: Labels, C: Clock> ApplyLabels<S, C> {
    /// Puts it together.
    pub fn new(store: S, clock: C, limits: Limits) -> Self {
        Self { store, clock, limits }
    }

    /// Says of a transaction's records what became of the greatest of their labels.
    fn conclude(&self, records: Vec<usize>, fate: Fate, batch: &mut Batch<Content>, report: &mut LabelReport) {
        match fate {
            Fate::Applied { corrects } => {
                report.applied += 1;
                report.corrected += usize::from(corrects);
                report.unchanged += records.len() - 1;
            }
            Fate::Known => report.unchanged += records.len(),
            Fate::NoDevice => {
                report.incomplete += records.len();
                for index in records {
                    let now = self.clock.now();
                    batch.dead_letter(index, DeadLetterReason::LabelWithoutDevice, NO_DEVICE.to_owned(), now);
                }
            }
            Fate::Unreadable => {
                report.unreadable += records.len();
                let (patience, now) = (self.limits.repair_patience, self.clock.now());
                batch.await_repair(records, patience, now, DeadLetterReason::StateUnreadable, UNREADABLE);
            }
            Fate::Failed(problem) => {
                if let Some(problem) = problem {
                    warn!(error = %Causes(&problem), "a label was not applied");
                    batch.note_refusal(problem.is_refusal());
                }
                batch.fail(records);
            }
        }
    }
}

/// The labels of the batch by user, and of each decision the greatest, with the records of all of them. In the order of the broker's
/// time of the first record: within a user the labels are applied in order, which nothing depends on.
fn candidates(batch: &Batch<Content>, report: &mut LabelReport) -> BTreeMap<UserId, Vec<Candidate>> {
    let mut decisions: BTreeMap<DecisionId, Candidate> = BTreeMap::new();
    for (index, record) in batch.records.iter().enumerate() {
        let Content::Label(new) = &record.content else {
            report.others += 1;
            continue;
        };
        match decisions.get_mut(&new.decision) {
            Some(candidate) => candidate.join(index, new),
            None => drop(decisions.insert(new.decision, Candidate::new(index, new))),
        }
    }
    let mut users: BTreeMap<UserId, Vec<Candidate>> = BTreeMap::new();
    for candidate in decisions.into_values() {
        users.entry(candidate.new.user.clone()).or_default().push(candidate);
    }
    for candidates in users.values_mut() {
        candidates.sort_by_key(|candidate| candidate.records[0]);
    }
    users
}

fn request(users: &BTreeMap<UserId, Vec<Candidate>>) -> LabelRequest {
    let all = || users.values().flatten();
    let devices: BTreeSet<&DeviceId> = all().filter_map(|candidate| candidate.new.device.as_ref()).collect();
    LabelRequest {
        decisions: all().map(|candidate| candidate.new.decision).collect(),
        users: users.keys().cloned().collect(),
        devices: devices.into_iter().cloned().collect(),
        consistent: false,
    }
}

/// Part of what was read: what concerns one user's labels.
pub(crate) fn part_of(known: &Known, user: &UserId, candidates: &[Candidate]) -> Known {
    let mut part = Known { unread: known.unread.clone(), unreadable: known.unreadable.clone(), ..Known::default() };
    part.users.extend(known.users.get(user).map(|risk| (user.clone(), risk.clone())));
    for candidate in candidates {
        let NewLabel { decision, device, .. } = &candidate.new;
        part.labels.extend(known.labels.get(decision).map(|standing| (*decision, standing.clone())));
        if let Some(device) = device {
            part.devices.extend(known.devices.get(device).map(|risk| (device.clone(), risk.clone())));
        }
    }
    part
}
