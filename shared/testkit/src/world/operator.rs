//! What people do to a running system.

use std::sync::Arc;

use centinela_contracts::dead_letter_v1::{self, DeadLetterReason, FIRST_TOPIC};
use centinela_contracts::decision_v1;
use centinela_contracts::kafka_event::Record;
use centinela_contracts::keyed::SIGNATURE_BYTES;
use centinela_contracts::transaction_v1;
use centinela_domain::{Coordinates, Mark, Millis, UserId};
use rand::RngExt;

use super::state::{Looking, Made, RING, STEPS_TO_REST, World};
use crate::builders::{self, TOPIC};

impl World {
    /// A fresh process knows nothing.
    pub(super) fn restart_environment(&mut self) {
        let index = self.rng.random_range(0..self.environments.len());
        self.environments[index] = Arc::new(self.fakes.engine_with(RING));
        self.happened.restarted += 1;
    }

    /// As an operator must do it: everything is delivered, the mapping is off and its invocations have ended.
    pub(super) fn recreate_partition(&mut self) {
        let index = self.rng.random_range(0..self.partitions.len());
        self.fakes.shared().outage = false;
        self.paused.retain(|batch| !batch.contains_key(&index));
        for _ in 0..STEPS_TO_REST {
            let touched = self.invocations.iter().any(|invocation| invocation.delivered.contains_key(&index));
            if !touched && self.partitions[index].is_at_rest() {
                break;
            }
            if self.invocations.is_empty() && self.deliver() {
                self.paused.retain(|batch| !batch.contains_key(&index));
            } else {
                self.step();
            }
        }
        let touched = self.invocations.iter().any(|invocation| invocation.delivered.contains_key(&index));
        if touched || !self.partitions[index].is_at_rest() {
            return;
        }
        let partition = &mut self.partitions[index];
        self.happened.recreated += usize::from(partition.base < partition.log.len());
        partition.base = partition.log.len();
        self.latest = Millis(self.latest.0 + 20_000);
        self.fakes.shared().now = self.latest;
    }

    /// Somebody's item cannot be read for a while.
    pub(super) fn break_or_repair_an_item(&mut self) {
        let user = UserId::new(format!("user-{}", self.rng.random_range(0..self.users)));
        let Ok(user) = user else { return };
        let mut shared = self.fakes.shared();
        if !shared.unreadable.remove(&user) {
            shared.unreadable.insert(user);
        }
    }

    /// An operator drives a record again that the mapping gave up, or that was dead-lettered for something that was repaired since or
    /// could not be told then: as it is, or after its decision was looked for.
    pub(super) fn redrive(&mut self) {
        if let Some(looking) = self.looking.take() {
            if self.invocations.iter().any(|invocation| looking.running.contains(&invocation.id)) {
                self.looking = Some(looking);
            } else {
                self.look_up(looking);
            }
            return;
        }
        self.look_through_parked();
        if self.given_up.is_empty() {
            return;
        }
        let record = self.given_up.swap_remove(self.rng.random_range(0..self.given_up.len()));
        if self.rng.random_bool(0.05) {
            // The operator's own position was lost: the record will be sent once more.
            self.given_up.push(record.clone());
        }
        if self.rng.random_bool(0.3) {
            self.send_again(record, None);
        } else {
            let from = self.mark_of(first_of(&record).partition);
            let running = self.invocations.iter().map(|invocation| invocation.id).collect();
            self.looking = Some(Looking { record, from, running });
        }
    }

    /// What was running when the mark was read has ended: what stands before the mark is published by now, or never will be.
    fn look_up(&mut self, looking: Looking) {
        let Looking { record, from, .. } = looking;
        let value = record.value.as_deref().unwrap_or_default();
        let made = self.made.iter().find(|made| made.values.iter().any(|known| known == value));
        let Some((_, id)) = made.map(Made::ids) else {
            self.send_again(record, None);
            return;
        };
        let [on_topics, on_stream] = {
            let shared = self.fakes.shared();
            [&shared.on_topics, &shared.on_stream].map(|published| {
                let mine = published.iter().filter(|decision| decision.decision_id == id);
                mine.map(|decision| decision.payload.clone()).collect::<Vec<_>>()
            })
        };
        let is_on_one = on_topics.is_empty() != on_stream.is_empty();
        let published = [on_topics, on_stream].concat();
        if published.is_empty() {
            self.verified.insert(id);
            self.happened.verified += 1;
            self.send_again(record, Some(from));
        } else if !is_on_one && published.iter().any(|payload| amount_of_decision(payload) == amount_of(value)) {
            self.happened.found += 1;
        } else {
            // Another transaction under the same id was decided, or what remains of the decision does not say; or a crash let only one of
            // the two places have it: a person has the record.
            self.left.insert(value.to_vec());
        }
    }

    /// The mark as it is written; where there is none, everything is still to come.
    fn mark_of(&self, partition: u32) -> Coordinates {
        let mark = self.fakes.shared().partitions.get(&partition).and_then(|stored| stored.item.mark);
        let mark = mark.unwrap_or(Mark { offset: 0, timestamp: Millis(0) });
        Coordinates { partition, offset: mark.offset, timestamp: mark.timestamp }
    }

    /// Always to the partition that it came from: there its producer's duplicates are, and there the mark speaks of all of them.
    fn send_again(&mut self, record: Record, verified: Option<Coordinates>) {
        let timestamp = self.pass(6_000);
        let first = first_of(&record);
        if is_forged(&record) {
            // Nobody signs for a place that somebody made up.
            let value = record.value.unwrap_or_default();
            self.append(first.partition as usize, timestamp, value, record.headers);
            return;
        }
        let value = record.value.unwrap_or_default();
        let mut headers = dead_letter_v1::first_headers(TOPIC, first, &value, &builders::key());
        let at = verified.unwrap_or_else(|| self.mark_of(first.partition));
        let mut mark = dead_letter_v1::verified_header(TOPIC, first, &value, at, &builders::key());
        if verified.is_none() {
            // Whoever has not the key can do no better than to guess.
            let signature = mark.1.len() - 2 * SIGNATURE_BYTES;
            mark.1[signature..].fill(b'0');
        }
        headers.push(mark);
        self.happened.redriven += 1;
        // The place after the one it was given up at.
        let timestamp = timestamp.max(Millis(record.coordinates.timestamp.0 + 1));
        self.append(first.partition as usize, timestamp, value, headers);
    }

    pub(super) fn look_through_parked(&mut self) {
        let shared = self.fakes.shared();
        for parked in &shared.dead_letters[self.looked_through..] {
            let (Some(offset), Some(timestamp)) = (parked.offset, parked.timestamp) else { continue };
            let coordinates = Coordinates { partition: parked.partition, offset, timestamp };
            let (value, headers) = (parked.value.clone(), parked.headers.clone());
            let record = Record { coordinates, key: None, value, headers };
            let is_told = match parked.reason_code {
                DeadLetterReason::StateUnreadable => true,
                // Whoever forged one is not helped.
                DeadLetterReason::BadFirstCoordinates => signed_first(&record).is_some(),
                _ => false,
            };
            if is_told {
                self.given_up.push(record);
            }
        }
        self.looked_through = shared.dead_letters.len();
    }
}

fn amount_of(value: &[u8]) -> Option<u64> {
    transaction_v1::parse(value).ok().map(|transaction| transaction.amount.minor())
}

fn amount_of_decision(payload: &[u8]) -> Option<u64> {
    decision_v1::parse(payload).ok()?.evidence.map(|evidence| evidence.amount.minor())
}

/// Where the record was first delivered.
fn first_of(record: &Record) -> Coordinates {
    signed_first(record).unwrap_or(record.coordinates)
}

/// Whether the record says where it was first, and nobody has signed that.
fn is_forged(record: &Record) -> bool {
    record.headers.iter().any(|(name, _)| name == FIRST_TOPIC) && signed_first(record).is_none()
}

fn signed_first(record: &Record) -> Option<Coordinates> {
    let value = record.value.as_deref().unwrap_or_default();
    let first = dead_letter_v1::first_coordinates(&record.headers, value, record.coordinates, &builders::key());
    first.and_then(Result::ok).map(|(_, first)| first)
}
