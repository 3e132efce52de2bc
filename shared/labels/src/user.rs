//! One user's labels, one after the other: what was written is known to the next.

use std::collections::HashSet;

use centinela_delivery::{Clock, StoreError, Versioned, Write};
use centinela_domain::risk::Label;
use centinela_domain::{DeviceId, Millis, Risk, UserId};

use crate::apply::{ApplyLabels, NewLabel, part_of};
use crate::ports::{Applied, Known, LabelRequest, LabelWrite, Labels, Standing};

/// Of a decision's labels in a batch the greatest, with the records of all.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub records: Vec<usize>,
    pub new: NewLabel,
}

impl Candidate {
    pub fn new(index: usize, new: &NewLabel) -> Self {
        Self { records: vec![index], new: new.clone() }
    }

    /// Takes another label of the same decision in. A device that only one of them names is that of both.
    pub fn join(&mut self, index: usize, other: &NewLabel) {
        self.records.push(index);
        if other.label > self.new.label {
            let before = self.new.device.take();
            self.new = other.clone();
            self.new.device = self.new.device.take().or(before);
        } else if self.new.device.is_none() {
            self.new.device.clone_from(&other.device);
        }
    }
}

/// What became of a decision's labels.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The greatest is written.
    Applied { corrects: bool },
    /// As great a one stands already.
    Known,
    /// Nobody says on which device.
    NoDevice,
    /// A stored item cannot be read.
    Unreadable,
    /// To be delivered again.
    Failed(Option<StoreError>),
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub fate: Fate,
    pub lost_races: usize,
}

/// What to do with a label, by what is known.
enum Step {
    Write(Box<LabelWrite>),
    /// Something that it needs is not known yet.
    Read,
    End(Fate),
}

/// A user's labels on their way.
pub(crate) struct Task {
    user: UserId,
    candidates: Vec<Candidate>,
    known: Known,
    /// Devices whose risk was asked for: one that has none is not asked for again.
    asked: HashSet<DeviceId>,
}

impl Task {
    pub fn new(user: UserId, candidates: Vec<Candidate>, known: &Known) -> Self {
        let known = part_of(known, &user, &candidates);
        let asked = candidates.iter().filter_map(|candidate| candidate.new.device.clone()).collect();
        Self { user, candidates, known, asked }
    }

    /// Applies them; the outcome of each decision's, with its records.
    pub async fn work<S: Labels, C: Clock>(
        mut self,
        labels: &ApplyLabels<S, C>,
        deadline: Millis,
    ) -> Vec<(Vec<usize>, Outcome)> {
        let mut outcomes = Vec::with_capacity(self.candidates.len());
        for Candidate { records, new } in std::mem::take(&mut self.candidates) {
            outcomes.push((records, self.apply(&new, labels, deadline).await));
        }
        outcomes
    }

    async fn apply<S: Labels, C: Clock>(
        &mut self,
        new: &NewLabel,
        labels: &ApplyLabels<S, C>,
        deadline: Millis,
    ) -> Outcome {
        let ended = |fate, lost_races| Outcome { fate, lost_races };
        let mut lost_races = 0;
        let mut fresh = false;
        for _ in 0..labels.limits.attempts {
            if labels.clock.now() >= deadline {
                break;
            }
            match self.step(new, labels, fresh) {
                Step::End(fate) => return ended(fate, lost_races),
                Step::Read => {}
                Step::Write(write) => {
                    let corrects = write.replaces.is_some();
                    match labels.store.apply(LabelWrite::clone(&write), deadline).await {
                        Applied::Done => {
                            self.learn(*write);
                            return ended(Fate::Applied { corrects }, lost_races);
                        }
                        Applied::Failed(problem) => return ended(Fate::Failed(Some(problem)), lost_races),
                        Applied::Lost => {
                            lost_races += 1;
                            if fresh {
                                labels.clock.pause(labels.limits.pause).await;
                            }
                        }
                    }
                }
            }
            if let Err(problem) = self.read_again(new, labels, deadline).await {
                return ended(Fate::Failed(Some(problem)), lost_races);
            }
            fresh = true;
        }
        ended(Fate::Failed(None), lost_races)
    }

    /// `fresh` says that what is known is not stale.
    fn step<S, C>(&self, new: &NewLabel, labels: &ApplyLabels<S, C>, fresh: bool) -> Step {
        let standing = self.known.labels.get(&new.decision);
        let devices: Vec<&DeviceId> = new.device.iter().chain(standing.map(|standing| &standing.device)).collect();
        if self.known.unreadable.concern(new.decision, &self.user, &devices) {
            return Step::End(Fate::Unreadable);
        }
        if self.known.unread.concern(new.decision, &self.user, &devices) {
            return Step::Read;
        }
        if standing.is_some_and(|standing| standing.label >= new.label) {
            return Step::End(Fate::Known);
        }
        if devices.iter().any(|device| !self.asked.contains(*device)) {
            return Step::Read;
        }
        // A stale risk that lacks what is to be taken back would not change, so no condition would show that it is stale.
        if !fresh && standing.is_some_and(|standing| !self.counts(standing)) {
            return Step::Read;
        }
        let Some(&device) = devices.first() else {
            // An earlier label that names it may have been written a moment ago.
            return if fresh { Step::End(Fate::NoDevice) } else { Step::Read };
        };
        let standing_now = Standing { label: new.label.clone(), device: device.clone() };
        let remembered_s = i64::try_from(labels.limits.remembered.as_secs()).unwrap_or(i64::MAX);
        Step::Write(Box::new(LabelWrite {
            decision: new.decision,
            user: self.user.clone(),
            replaces: standing.map(|standing| standing.label.clone()),
            expires_s: (new.ingested_at.0 / 1_000).saturating_add(remembered_s),
            user_risk: self.user_risk(standing.map(|standing| &standing.label), &new.label),
            device_risks: self.device_risks(standing, &standing_now),
            standing: standing_now,
        }))
    }

    /// Whether the risks as they are known have the label in them.
    fn counts(&self, standing: &Standing) -> bool {
        let Standing { label, device } = standing;
        let has = |known: Option<&Versioned<Risk>>| {
            known.is_some_and(|known| known.item.clone().remove(label.day(), label.verdict))
        };
        label.verdict.is_fraud().is_none()
            || has(self.known.users.get(&self.user)) && has(self.known.devices.get(device))
    }

    fn user_risk(&self, replaced: Option<&Label>, label: &Label) -> Option<Write<UserId, Risk>> {
        changed(self.user.clone(), self.known.users.get(&self.user), |risk| {
            if let Some(replaced) = replaced {
                risk.remove(replaced.day(), replaced.verdict);
            }
            risk.add(label.day(), label.verdict);
        })
    }

    fn device_risks(&self, replaced: Option<&Standing>, standing: &Standing) -> Vec<Write<DeviceId, Risk>> {
        let other = replaced.map(|replaced| &replaced.device).filter(|device| **device != standing.device);
        let of = |device: &DeviceId| {
            changed(device.clone(), self.known.devices.get(device), |risk| {
                if let Some(replaced) = replaced.filter(|replaced| replaced.device == *device) {
                    risk.remove(replaced.label.day(), replaced.label.verdict);
                }
                if standing.device == *device {
                    risk.add(standing.label.day(), standing.label.verdict);
                }
            })
        };
        [Some(&standing.device), other].into_iter().flatten().filter_map(of).collect()
    }

    /// Reads what the label needs as it is now.
    async fn read_again<S: Labels, C: Clock>(
        &mut self,
        new: &NewLabel,
        labels: &ApplyLabels<S, C>,
        deadline: Millis,
    ) -> Result<(), StoreError> {
        let standing = self.known.labels.get(&new.decision).map(|standing| &standing.device);
        let devices: HashSet<DeviceId> = new.device.iter().chain(standing).cloned().collect();
        let request = LabelRequest {
            decisions: vec![new.decision],
            users: vec![self.user.clone()],
            devices: devices.iter().cloned().collect(),
            consistent: true,
        };
        let (read, problem) = labels.store.read(request, deadline).await;
        self.known.labels.remove(&new.decision);
        self.known.users.remove(&self.user);
        self.known.unread.decisions.remove(&new.decision);
        self.known.unread.users.remove(&self.user);
        for device in &devices {
            self.known.devices.remove(device);
            self.known.unread.devices.remove(device);
        }
        let Known { labels: standing, users, devices: risks, unread, unreadable } = read;
        self.known.labels.extend(standing);
        self.known.users.extend(users);
        self.known.devices.extend(risks);
        self.known.unreadable.decisions.extend(unreadable.decisions);
        self.known.unreadable.users.extend(unreadable.users);
        self.known.unreadable.devices.extend(unreadable.devices);
        self.asked.extend(devices);
        let is_missing = !(unread.decisions.is_empty() && unread.users.is_empty() && unread.devices.is_empty());
        if is_missing { Err(problem.unwrap_or(StoreError::OutOfTime)) } else { Ok(()) }
    }

    /// What was written is known to the user's next label.
    fn learn(&mut self, write: LabelWrite) {
        self.known.labels.insert(write.decision, write.standing);
        if let Some(Write { key, expected, item }) = write.user_risk {
            self.known.users.insert(key, written(expected, item));
        }
        for Write { key, expected, item } in write.device_risks {
            self.known.devices.insert(key, written(expected, item));
        }
    }
}

fn written(expected: Option<u64>, item: Risk) -> Versioned<Risk> {
    Versioned { version: expected.map_or(1, |version| version + 1), item }
}

/// The write of a risk, if `change` makes another of it.
fn changed<K>(key: K, known: Option<&Versioned<Risk>>, change: impl FnOnce(&mut Risk)) -> Option<Write<K, Risk>> {
    let before = known.map(|known| known.item.clone()).unwrap_or_default();
    let mut risk = before.clone();
    change(&mut risk);
    (risk != before).then(|| Write { key, expected: known.map(|known| known.version), item: risk })
}
