//! The way back, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use centinela_contracts::dead_letter_v1;
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::{Coordinates, Millis};

use crate::handled::Handled;
use crate::known::Known;
use crate::letter::{Letter, Original, Proof, REDRIVEN_FROM, Settings};
use crate::ports::{Outgoing, PortError, Surroundings};
use crate::report::Report;
use crate::request::Plan;
use crate::rounds::Reading;

/// Records that are sent at once.
const CHUNK_MAX: usize = 500;
/// Asked again it would read the same again.
const NO_TIME_TO_LOOK: &str = "there was no time to look through what was published since the oldest of these records: ask for those \
     since a later time, without the look-up, or by the command, which takes its time";

/// Why it could not go on. What was handled before is noted.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// Something outside did not answer.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Nothing can be signed.
    #[error("records cannot be sent back without the deployment's key, which signs where they were first")]
    NoKey,
}

/// Hands the open letters that are meant on, one by one; says whether there may be more.
///
/// `take` says whether it had room for the letter; the first for which there is none is the last.
///
/// # Errors
/// When they cannot be read.
pub async fn list<W: Surroundings>(
    world: &mut W,
    settings: &Settings,
    plan: &Plan,
    mut take: impl FnMut(&Letter) -> bool,
) -> Result<bool, RedriveError> {
    let handled = world.handled().await?;
    let mut reading = Reading::new(settings, plan);
    while let Some(letter) = reading.next(world, &handled, None).await? {
        if !take(&letter) {
            return Ok(true);
        }
    }
    Ok(!reading.ended)
}

/// Handles the open letters that are meant without sending them.
///
/// # Errors
/// When they cannot be read, or it cannot be noted.
pub async fn drop_letters<W: Surroundings>(
    world: &mut W,
    settings: &Settings,
    plan: &Plan,
) -> Result<Report, RedriveError> {
    let mut handled = world.handled().await?;
    let mut reading = Reading::new(settings, plan);
    let mut report = Report { dry_run: plan.dry_run, ..Report::default() };
    let mut dropped = Vec::new();
    while let Some(letter) = reading.next(world, &handled, None).await? {
        dropped.push(letter.place);
    }
    report.unfinished = !reading.ended;
    report.letters = dropped.len() as u64;
    report.dropped = report.letters;
    if !plan.dry_run && !dropped.is_empty() {
        dropped.into_iter().for_each(|place| handled.insert(place));
        note(world, &mut handled, &mut report).await?;
    }
    Ok(report)
}

/// Sends the open letters that are meant back to where their records came from, those of which no decision is found.
///
/// # Errors
/// When something outside does not answer; what was sent before is noted.
pub async fn redrive<W: Surroundings>(world: &mut W, settings: &Settings, plan: &Plan) -> Result<Report, RedriveError> {
    let key = settings.key.as_ref().ok_or(RedriveError::NoKey)?;
    let mut handled = world.handled().await?;
    let mut report = Report { dry_run: plan.dry_run, ..Report::default() };
    let mut reading = Reading::new(settings, plan);
    while !reading.is_over(world.now()) {
        let mut part = reading.part(world, &handled).await?;
        let mut known = Known::begin(world, plan, &mut part).await?;
        while let Some(letters) = reading.round(world, &mut part, &handled, &mut report).await? {
            let mut round = Round { world: &mut *world, settings, plan, key, ends: &reading.ends };
            if !round.run(&letters, &mut known, &mut handled, &mut report).await? {
                report.unfinished = true;
                return Ok(report);
            }
        }
    }
    report.unfinished = !reading.ended;
    Ok(report)
}

async fn note<W: Surroundings>(world: &mut W, handled: &mut Handled, report: &mut Report) -> Result<(), PortError> {
    world.note_handled(handled).await?;
    report.forgetful |= handled.partitions().any(|(_, spans)| !spans.text().2);
    Ok(())
}

struct Round<'a, W> {
    world: &'a mut W,
    settings: &'a Settings,
    plan: &'a Plan,
    key: &'a DeploymentKey,
    /// Where the partitions of a topic end.
    ends: &'a BTreeMap<String, Vec<u64>>,
}

impl<W: Surroundings> Round<'_, W> {
    /// False when there was no time for all.
    async fn run(
        &mut self,
        letters: &[Letter],
        known: &mut Known,
        handled: &mut Handled,
        report: &mut Report,
    ) -> Result<bool, PortError> {
        let chunk = (self.plan.rate.ceil() as usize).clamp(1, CHUNK_MAX);
        for letters in letters.chunks(chunk) {
            if self.plan.is_late(self.world.now()) {
                return Ok(false);
            }
            if !known.look(self.world, self.plan).await? {
                let is_nothing_done = report.sent + report.found == 0;
                report.stopped = is_nothing_done.then(|| NO_TIME_TO_LOOK.to_owned());
                return Ok(false);
            }
            let began = self.world.now();
            let sent = self.send(letters, known, handled, report).await;
            if self.plan.dry_run {
                continue;
            }
            note(self.world, handled, report).await?;
            let due = Duration::from_secs_f64(sent as f64 / self.plan.rate);
            let now = self.world.now();
            let due = due.saturating_sub(Duration::from_millis(now.since(began).max(0).unsigned_abs()));
            let due = self.plan.time_left(now).map_or(due, |left| due.min(left));
            if !due.is_zero() {
                self.world.pause(due).await;
            }
        }
        Ok(true)
    }

    /// Sends what has no decision; what is found or acknowledged is handled. Returns how many records were sent.
    async fn send(&mut self, letters: &[Letter], known: &Known, handled: &mut Handled, report: &mut Report) -> usize {
        let (mut out, mut owners, mut failed) = (Vec::new(), Vec::new(), BTreeSet::new());
        for letter in letters {
            // Somebody has dropped or sent it since it was read.
            if handled.contains(letter.place) {
                continue;
            }
            if letter.broken > 0 {
                report.cannot += 1;
                report.name(
                    letter.place,
                    format!("{} of its records cannot be read; the others are sent", letter.broken),
                );
                failed.insert(letter.place);
            }
            for original in &letter.originals {
                if let Some(found) = original.decision.and_then(|decision| known.found.get(&decision)) {
                    if found.amount.is_some() && found.amount != original.amount {
                        report.cannot += 1;
                        let why = "another transaction of this user was decided under its id: repair it with an id of its own";
                        report.name(letter.place, why.to_owned());
                        failed.insert(letter.place);
                    } else {
                        report.found += 1;
                    }
                    continue;
                }
                let (record, is_verified) = self.outgoing(letter, original, known);
                report.verified += u64::from(is_verified);
                out.push(record);
                owners.push(letter.place);
            }
        }
        let count = out.len();
        report.sent += count as u64;
        if self.plan.dry_run {
            return count;
        }
        let answers = if out.is_empty() { Vec::new() } else { self.world.send(out).await };
        for (answer, owner) in answers.into_iter().zip(owners) {
            if let Err(problem) = answer {
                report.sent -= 1;
                report.failed += 1;
                if failed.insert(owner) {
                    let cause = &problem.source;
                    report.name(owner, format!("{problem}: {cause}"));
                }
            }
        }
        letters.iter().filter(|letter| !failed.contains(&letter.place)).for_each(|letter| handled.insert(letter.place));
        count
    }

    fn outgoing(&self, letter: &Letter, original: &Original, known: &Known) -> (Outgoing, bool) {
        let Original { topic, at, key, value, headers, .. } = original;
        let partitions = self.ends.get(topic).map_or(1, |ends| ends.len().max(1)) as u32;
        let partition = at.partition % partitions;
        let value = value.clone().unwrap_or_default();
        let mut headers = headers.clone();
        let as_new = original.proof == Proof::None;
        if !as_new {
            headers.extend(dead_letter_v1::first_headers(topic, *at, &value, self.key));
        }
        let is_transaction = *topic == self.settings.topics.transactions && original.decision.is_some();
        let is_covered = known.covers.is_some_and(|covers| covers <= at.timestamp) && !known.marks.is_empty();
        let was_looked_for = original.decision.is_some_and(|decision| known.was_looked_for(&decision));
        let is_verified = !as_new && is_transaction && is_covered && was_looked_for;
        if is_verified {
            let nothing_yet = Coordinates { partition, offset: 0, timestamp: Millis(0) };
            let from = known.marks.get(&partition).copied().unwrap_or(nothing_yet);
            headers.push(dead_letter_v1::verified_header(topic, *at, &value, from, self.key));
        }
        headers.push((REDRIVEN_FROM.to_owned(), letter.place.to_string().into_bytes()));
        (Outgoing { topic: topic.clone(), partition, key: key.clone(), value, headers }, is_verified)
    }
}
