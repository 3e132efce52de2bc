//! The way back, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use centinela_contracts::dead_letter_v1;
use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::{Coordinates, DecisionId, Millis};

use crate::handled::Handled;
use crate::letter::{Letter, Original, Proof, REDRIVEN_FROM, Settings};
use crate::ports::{Found, Outgoing, PortError, Surroundings};
use crate::report::Report;
use crate::request::Plan;
use crate::rounds::Reading;

/// Records that are sent at once.
const CHUNK_MAX: usize = 500;
/// Marks older than this are read again, and what was published since is looked through: a mark that is old proves less of busy users.
const MARKS_FRESH_MS: i64 = 30_000;

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

/// The open letters that are meant.
///
/// # Errors
/// When they cannot be read.
pub async fn list<W: Surroundings>(
    world: &mut W,
    settings: &Settings,
    plan: &Plan,
) -> Result<(Vec<Letter>, bool), RedriveError> {
    let handled = world.handled().await?;
    let mut reading = Reading { world, settings, plan, met: 0, ended: false };
    let mut letters = Vec::new();
    while let Some(letter) = reading.next(&handled).await? {
        letters.push(letter);
    }
    Ok((letters, !reading.ended))
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
    let mut reading = Reading { world, settings, plan, met: 0, ended: false };
    let mut report = Report { dry_run: plan.dry_run, ..Report::default() };
    let mut dropped = Vec::new();
    while let Some(letter) = reading.next(&handled).await? {
        dropped.push(letter.place);
    }
    report.unfinished = !reading.ended;
    report.letters = dropped.len() as u64;
    report.dropped = report.letters;
    if !plan.dry_run && !dropped.is_empty() {
        dropped.into_iter().for_each(|place| handled.insert(place));
        note(world, &handled, &mut report).await?;
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
    let (mut met, mut ended) = (0, false);
    while !ended && met < plan.limit {
        let mut reading = Reading { world: &mut *world, settings, plan, met, ended: false };
        let letters = reading.round(&handled, &mut report).await?;
        (met, ended) = (reading.met, reading.ended);
        let mut round = Round { world: &mut *world, settings, plan, key, ends: BTreeMap::new() };
        if !round.run(letters, &mut handled, &mut report).await? {
            report.unfinished = true;
            return Ok(report);
        }
    }
    report.unfinished = !ended;
    Ok(report)
}

async fn note<W: Surroundings>(world: &mut W, handled: &Handled, report: &mut Report) -> Result<(), PortError> {
    report.forgetful |= handled.partitions().any(|(_, spans)| !spans.text().2);
    world.note_handled(handled).await
}

/// What is known of the decisions of a round.
#[derive(Default)]
struct Known {
    wanted: BTreeSet<DecisionId>,
    found: BTreeMap<DecisionId, Found>,
    marks: BTreeMap<u32, Coordinates>,
    read_at: Millis,
    /// Everything that was published since is found.
    covers: Option<Millis>,
}

struct Round<'a, W> {
    world: &'a mut W,
    settings: &'a Settings,
    plan: &'a Plan,
    key: &'a DeploymentKey,
    /// Where the partitions of a topic end.
    ends: BTreeMap<String, Vec<u64>>,
}

impl<W: Surroundings> Round<'_, W> {
    /// False when there was no time for all.
    async fn run(
        &mut self,
        letters: Vec<Letter>,
        handled: &mut Handled,
        report: &mut Report,
    ) -> Result<bool, PortError> {
        let letters = self.believable(letters, report).await?;
        let mut known = self.begin(&letters).await?;
        let chunk = (self.plan.rate.ceil() as usize).clamp(1, CHUNK_MAX);
        for letters in letters.chunks(chunk) {
            if self.plan.deadline.is_some_and(|deadline| self.world.now() >= deadline) {
                return Ok(false);
            }
            let began = self.world.now();
            self.look(&mut known).await?;
            let sent = self.send(letters, &known, handled, report).await;
            if self.plan.dry_run {
                continue;
            }
            note(self.world, handled, report).await?;
            let due = Duration::from_secs_f64(sent as f64 / self.plan.rate);
            let spent = Duration::from_millis(self.world.now().since(began).max(0).unsigned_abs());
            if due > spent {
                self.world.pause(due - spent).await;
            }
        }
        Ok(true)
    }

    /// A mapping signs nothing: that a record was where it says is believed as far as the topic goes, for a place that never was would
    /// keep its user's ring waiting.
    async fn believable(&mut self, letters: Vec<Letter>, report: &mut Report) -> Result<Vec<Letter>, PortError> {
        let topics: BTreeSet<&String> =
            letters.iter().flat_map(|letter| &letter.originals).map(|original| &original.topic).collect();
        for topic in topics {
            if !self.ends.contains_key(topic) {
                let ends = self.world.ends(topic).await?;
                self.ends.insert(topic.clone(), ends);
            }
        }
        let mut believed = Vec::with_capacity(letters.len());
        for letter in letters {
            let never_was = |original: &&Original| {
                let end = self.ends[&original.topic].get(original.at.partition as usize);
                original.proof == Proof::OfTheMapping && end.is_none_or(|end| original.at.offset >= *end)
            };
            let gone = letter.originals.iter().find(|original| self.ends[&original.topic].is_empty());
            if let Some(original) = gone {
                report.cannot += 1;
                report.name(letter.place, format!("there is no topic `{}`", original.topic));
            } else if !self.plan.as_new && letter.originals.iter().any(|original| never_was(&original)) {
                report.cannot += 1;
                report
                    .name(letter.place, "its record cannot have been where it says: the topic ends before".to_owned());
            } else {
                believed.push(letter);
            }
        }
        Ok(believed)
    }

    async fn begin(&mut self, letters: &[Letter]) -> Result<Known, PortError> {
        let mut known = Known::default();
        if !self.plan.verify {
            return Ok(known);
        }
        let originals = || letters.iter().flat_map(|letter| &letter.originals);
        let transactions = || originals().filter_map(|original| Some((original.decision?, original.at.timestamp)));
        known.wanted = transactions().map(|(decision, _)| decision).collect();
        if let Some(since) = transactions().map(|(_, at)| at).min() {
            known.covers = Some(self.world.begin_search(since).await?);
        }
        Ok(known)
    }

    /// The marks first, then what was published by whoever was at work when they were read.
    async fn look(&mut self, known: &mut Known) -> Result<(), PortError> {
        let is_fresh = known.read_at != Millis::default() && self.world.now().since(known.read_at) < MARKS_FRESH_MS;
        if known.covers.is_none() || is_fresh {
            return Ok(());
        }
        known.marks = self.world.marks().await?;
        known.read_at = self.world.now();
        if !known.marks.is_empty() && !self.plan.dry_run {
            self.world.pause(self.plan.grace).await;
        }
        let found = self.world.search(&known.wanted).await?;
        known.found.extend(found);
        Ok(())
    }

    /// Sends what has no decision; what is found or acknowledged is handled. Returns how many records were sent.
    async fn send(&mut self, letters: &[Letter], known: &Known, handled: &mut Handled, report: &mut Report) -> usize {
        let (mut out, mut owners, mut failed) = (Vec::new(), Vec::new(), BTreeSet::new());
        for letter in letters {
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
        let is_verified = !as_new && is_transaction && is_covered;
        if is_verified {
            let nothing_yet = Coordinates { partition, offset: 0, timestamp: Millis(0) };
            let from = known.marks.get(&partition).copied().unwrap_or(nothing_yet);
            headers.push(dead_letter_v1::verified_header(topic, *at, &value, from, self.key));
        }
        headers.push((REDRIVEN_FROM.to_owned(), letter.place.to_string().into_bytes()));
        (Outgoing { topic: topic.clone(), partition, key: key.clone(), value, headers }, is_verified)
    }
}
