//! What people do to a running system.

use std::sync::Arc;

use centinela_contracts::dead_letter_v1::{self, DeadLetterReason, FIRST_TOPIC};
use centinela_contracts::kafka_event::Record;
use centinela_domain::{Coordinates, Millis, UserId};
use rand::RngExt;

use super::state::{RING, STEPS_TO_REST, World};
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

    /// An operator drives a record again that the mapping gave up, or that was dead-lettered because of a broken item.
    pub(super) fn redrive(&mut self) {
        self.look_through_parked();
        if self.given_up.is_empty() {
            return;
        }
        let record = self.given_up.swap_remove(self.rng.random_range(0..self.given_up.len()));
        let partition = self.rng.random_range(0..self.partitions.len());
        let timestamp = self.pass(0);
        let value = record.value.unwrap_or_default();
        let is_redriven = record.headers.iter().any(|(name, _)| name == FIRST_TOPIC);
        let headers = if is_redriven {
            record.headers
        } else {
            dead_letter_v1::first_headers(TOPIC, record.coordinates, &value, &builders::key())
        };
        self.happened.redriven += 1;
        // The place after the one it was given up at.
        let timestamp = timestamp.max(Millis(record.coordinates.timestamp.0 + 1));
        self.append(partition, timestamp, value, headers);
    }

    pub(super) fn look_through_parked(&mut self) {
        let shared = self.fakes.shared();
        for parked in &shared.dead_letters[self.looked_through..] {
            if let (DeadLetterReason::StateUnreadable, Some(offset), Some(timestamp)) =
                (parked.reason_code, parked.offset, parked.timestamp)
            {
                let coordinates = Coordinates { partition: parked.partition, offset, timestamp };
                let (value, headers) = (parked.value.clone(), parked.headers.clone());
                self.given_up.push(Record { coordinates, key: None, value, headers });
            }
        }
        self.looked_through = shared.dead_letters.len();
    }
}
