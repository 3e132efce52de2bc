//! Publishes what is committed, completes what waited for it, and lets the devices learn of it.

use std::collections::{BTreeMap, HashMap};

use centinela_contracts::dead_letter_v1::DeadLetterReason;
use centinela_delivery::{Batch, Causes, Clock, Deadline};
use centinela_domain::{DeviceId, DeviceState, Millis, Outcome};
use futures::future::join;
use tracing::warn;

use crate::pending_failures::{self, Fate};
use crate::plan::{Answer, Plan, Reply, Visit};
use crate::ports::{Commit, DecisionPublisher, KnownDevices, Outgoing, Ports, Write};
use crate::process::{Progress, Scoring};
use crate::report::BatchReport;
use crate::work::{Decoded, Work};

impl<P: Ports> Scoring<P> {
    /// Publishes what the plans say, and completes each of their records or reports it as failed.
    pub(crate) async fn publish(&self, mut plans: Vec<Plan>, batch: &mut Batch<Decoded>, progress: &mut Progress) {
        let mut out: Vec<Outgoing> = Vec::new();
        let mut place_of_decision = HashMap::new();
        for answer in plans.iter_mut().flat_map(|plan| &mut plan.answers) {
            if let Some(decision) = answer.outgoing.take() {
                place_of_decision.entry(batch.records[answer.index].content.decision_id).or_insert_with(|| {
                    out.push(decision);
                    out.len() - 1
                });
            }
        }
        let learned = std::mem::take(&mut progress.devices.learned);
        let seen = std::mem::take(&mut progress.devices.seen);
        let ((published, refused), dropped) = join(
            self.publish_everywhere(&out, batch.deadline.work),
            self.write_devices(learned, seen, batch.deadline.work),
        )
        .await;
        batch.note_refusal(refused);
        progress.report.device_notes_dropped += dropped;
        let now = self.clock.now();
        for plan in plans {
            let is_published = |answer: &Answer| {
                let decision_id = batch.records[answer.index].content.decision_id;
                place_of_decision.get(&decision_id).is_none_or(|&place| published[place])
            };
            let complete = plan.answers.iter().position(|answer| !is_published(answer)).unwrap_or(plan.answers.len());
            for answer in &plan.answers[..complete] {
                match answer.reply {
                    Reply::Undecidable => self.dead_letter_undecidable(answer.index, batch, now),
                    Reply::OtherContent => {
                        progress.report.id_conflicts += 1;
                        self.dead_letter_other_content(answer.index, batch, now);
                    }
                    Reply::New | Reply::Replay | Reply::Stale => {
                        count(&mut progress.report, answer, &batch.records[answer.index], now);
                    }
                }
            }
            batch.fail(plan.answers[complete..].iter().map(|answer| answer.index));
            for answer in &plan.answers[complete..] {
                let position = batch.records[answer.index].position();
                progress.reported.unpublished.extend(answer.stands_at.map(|mark| (position, mark)));
            }
            if let Some(full_from) = plan.full_from {
                warn!(unproved = plan.unproved, "a user's ring is full of unpublished decisions");
                progress.report.full_rings += 1;
                batch.fail(plan.works[full_from..].iter().copied());
            }
        }
    }

    fn dead_letter_undecidable(&self, index: usize, batch: &mut Batch<Decoded>, now: Millis) {
        let work = &batch.records[index];
        let reason = format!(
            "the mapping gave this record up at offset {} of partition {}, and the user's newer decisions have passed that place: \
             whether it was decided cannot be told any more; look for decision {} on the decision topics",
            work.source.offset, work.source.partition, work.content.decision_id
        );
        batch.dead_letter(index, DeadLetterReason::BadFirstCoordinates, reason, now);
    }

    fn dead_letter_other_content(&self, index: usize, batch: &mut Batch<Decoded>, now: Millis) {
        let reason = format!(
            "this transaction_id of this user was decided before with another amount, currency, merchant or device, as decision {}: \
             this record is not answered; send it with an id of its own if it is another transaction",
            batch.records[index].content.decision_id
        );
        batch.dead_letter(index, DeadLetterReason::TransactionIdReused, reason, now);
    }

    /// Asks the rings of their users about the markers that the batch started above, and takes off those of complete records. What is
    /// left is an ordering violation. The proof itself waits for the next batch.
    pub(crate) async fn ask_about_markers(&self, deadline: Deadline, progress: &mut Progress) {
        let Deadline { work: deadline, answer: answer_by } = deadline;
        for (partition, above) in &progress.proof.above {
            if self.clock.now() >= deadline {
                return;
            }
            let start = self.with_knowledge(|knowledge| knowledge.next_to_ask);
            let asked: Vec<_> = pending_failures::in_turn(above, start).collect();
            self.with_knowledge(|knowledge| knowledge.next_to_ask = start.wrapping_add(asked.len()));
            let asking = asked
                .iter()
                .map(|marker| pending_failures::ask(&self.store, *partition, marker, &progress.committed, deadline));
            let fates = futures::future::join_all(asking).await;
            let mut complete = Vec::new();
            let mut out = Vec::new();
            let mut published_at = Vec::new();
            let mut unknown = 0;
            for (marker, fate) in asked.into_iter().zip(fates) {
                match fate {
                    Fate::Complete => complete.push(marker.at),
                    Fate::Decided(decision) => {
                        out.push(*decision);
                        published_at.push(marker.at);
                    }
                    Fate::Unknown => unknown += 1,
                }
            }
            let (published, _) = self.publish_everywhere(&out, deadline).await;
            complete.extend(published_at.into_iter().zip(published).filter_map(|(at, done)| done.then_some(at)));
            if !complete.is_empty() {
                pending_failures::take_off(&self.store, *partition, &complete, answer_by).await;
            }
            progress.report.markers_complete += complete.len();
            progress.report.order_violations += usize::from(unknown > 0);
        }
    }

    /// Whether each decision is acknowledged by both places, and whether one was refused.
    async fn publish_everywhere(&self, out: &[Outgoing], deadline: Millis) -> (Vec<bool>, bool) {
        if out.is_empty() {
            return (Vec::new(), false);
        }
        let (topics, stream) = join(self.topics.publish(out, deadline), self.stream.publish(out, deadline)).await;
        let mut refused = false;
        let published = topics
            .iter()
            .zip(&stream)
            .map(|(topic, stream)| {
                for problem in [topic, stream].into_iter().filter_map(|result| result.as_ref().err()) {
                    warn!(error = %Causes(problem), "a decision was not published");
                    refused |= problem.is_refusal();
                }
                topic.is_ok() && stream.is_ok()
            })
            .collect();
        (published, refused)
    }

    /// Writes what the devices learned; returns how many notes were dropped. A dropped note comes again with the user's next
    /// transaction on the device, because the device's item still does not know the user.
    async fn write_devices(
        &self,
        learned: BTreeMap<DeviceId, (Option<u64>, DeviceState)>,
        seen: Vec<Visit>,
        deadline: Millis,
    ) -> usize {
        if learned.is_empty() {
            return 0;
        }
        let writes: Vec<_> = learned.into_iter().map(|(key, (expected, item))| Write { key, expected, item }).collect();
        let keys: Vec<DeviceId> = writes.iter().map(|write| write.key.clone()).collect();
        let commits = self.store.commit_devices(writes, deadline).await;
        let mut again = Vec::new();
        let mut dropped = 0;
        for (key, commit) in keys.into_iter().zip(commits) {
            match commit {
                Commit::Done => {}
                Commit::Lost(Some(mut winner)) => {
                    let here = seen.iter().filter(|visit| visit.device == key);
                    let changed =
                        here.fold(false, |changed, visit| winner.item.observe(visit.user, visit.at) | changed);
                    if changed {
                        again.push(Write { key, expected: Some(winner.version), item: winner.item });
                    }
                }
                Commit::Lost(None) | Commit::Failed(_) => dropped += 1,
            }
        }
        if !again.is_empty() {
            let commits = self.store.commit_devices(again, deadline).await;
            dropped += commits.iter().filter(|commit| !matches!(commit, Commit::Done)).count();
        }
        dropped
    }
}

fn count(report: &mut BatchReport, answer: &Answer, work: &Work, now: Millis) {
    match answer.reply {
        Reply::Replay => {
            report.replayed += 1;
            report.duplicates += usize::from(answer.duplicate);
        }
        Reply::Stale => report.stale += 1,
        Reply::Undecidable | Reply::OtherContent => {}
        Reply::New => {
            report.decided += 1;
            report.late += usize::from(answer.late);
            report.ahead += usize::from(answer.ahead);
            report.guarded += usize::from(answer.guarded);
            report.degraded += usize::from(answer.degraded);
            report.latencies_ms.push(now.since(work.at.timestamp).clamp(0, i64::from(u32::MAX)) as u32);
            match answer.outcome {
                Some(Outcome::Approved) => report.approved += 1,
                Some(Outcome::Review) => report.review += 1,
                Some(Outcome::Blocked) => report.blocked += 1,
                None => {}
            }
        }
    }
}
