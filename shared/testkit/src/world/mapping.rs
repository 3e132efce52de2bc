//! The mapping: delivers, is cut off, and reads answers in one of three ways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use centinela_contracts::kafka_event::Record;
use centinela_domain::Millis;
use centinela_scoring::BatchReport;
use rand::RngExt;
use rand::seq::SliceRandom;

use super::state::{Invocation, RING, Reading, Running, World};
use crate::bench::FOREVER;
use crate::builders::{self, TOPIC};
use crate::schedule::step;

impl World {
    /// Starts an invocation with what some idle partitions have. Returns whether there was anything.
    pub(super) fn deliver(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.partitions.len()).collect();
        order.shuffle(&mut self.rng);
        let mut batch = BTreeMap::new();
        for index in order {
            let at_most = self.rng.random_range(1..=4);
            let listed_now = self.rng.random_bool(0.5);
            let partition = &self.partitions[index];
            if partition.in_flight.is_some() {
                continue;
            }
            let end = partition.log.len().min(partition.committed + at_most);
            let fresh: Vec<usize> = (partition.committed..end).collect();
            let listed_first = self.reading != Reading::ListedAnyTime || listed_now || fresh.is_empty();
            let places = if !partition.again.is_empty() && listed_first { partition.again.clone() } else { fresh };
            if places.is_empty() {
                continue;
            }
            batch.insert(index, places);
            if self.rng.random_bool(0.5) {
                break;
            }
        }
        if batch.is_empty() {
            return false;
        }
        if self.rng.random_bool(0.1) {
            self.paused.push(batch.clone());
        }
        let id = self.invoke(batch.clone(), false);
        for index in batch.into_keys() {
            self.partitions[index].in_flight = Some(id);
        }
        true
    }

    pub(super) fn invoke(&mut self, delivered: BTreeMap<usize, Vec<usize>>, zombie: bool) -> usize {
        let records = delivered.iter().flat_map(|(&index, places)| {
            let log = &self.partitions[index].log;
            places.iter().map(move |&place| log[place].clone())
        });
        let batch = builders::batch(records.collect::<Vec<_>>());
        let engine = Arc::clone(&self.environments[self.rng.random_range(0..self.environments.len())]);
        let future: Running = Box::pin(async move { engine.process(batch, FOREVER).await });
        self.next_id += 1;
        self.invocations.push(Invocation { id: self.next_id, future, delivered, zombie });
        self.next_id
    }

    pub(super) fn any_invocation(&mut self) -> Option<usize> {
        let running = self.invocations.len();
        (running > 0).then(|| self.rng.random_range(0..running))
    }

    pub(super) fn step(&mut self) {
        let Some(index) = self.any_invocation() else { return };
        if let Some(outcome) = step(&mut self.invocations[index].future) {
            let invocation = self.invocations.swap_remove(index);
            self.finish(&invocation, outcome.ok());
        }
    }

    pub(super) fn crash(&mut self) {
        let Some(index) = self.any_invocation() else { return };
        let invocation = self.invocations.swap_remove(index);
        self.happened.crashed += 1;
        self.finish(&invocation, None);
    }

    /// A rebalance: the invocation goes on, its batch is delivered again elsewhere.
    pub(super) fn orphan(&mut self) {
        let Some(index) = self.any_invocation() else { return };
        let invocation = &mut self.invocations[index];
        if !invocation.zombie {
            invocation.zombie = true;
            for partition in invocation.delivered.keys() {
                self.partitions[*partition].in_flight = None;
            }
        }
    }

    pub(super) fn wake_paused_poller(&mut self) {
        if self.paused.is_empty() {
            return;
        }
        let batch = self.paused.swap_remove(self.rng.random_range(0..self.paused.len()));
        self.invoke(batch, true);
    }

    pub(super) fn finish(&mut self, invocation: &Invocation, report: Option<BatchReport>) {
        let is_poisoned = invocation.delivered.iter().any(|(&index, places)| {
            let poison = &self.partitions[index].poison;
            places.iter().any(|place| poison.contains(place))
        });
        let report = report.filter(|_| !is_poisoned);
        if let Some(report) = &report {
            self.happened.count(report);
        }
        if invocation.zombie {
            return;
        }
        for (&index, places) in &invocation.delivered {
            let gives_up = self.gives_up && self.rng.random_bool(if is_poisoned { 0.5 } else { 0.04 });
            let partition = &mut self.partitions[index];
            assert_eq!(partition.in_flight, Some(invocation.id), "one batch per partition");
            partition.in_flight = None;
            let key = format!("{TOPIC}-{index}");
            let failed: BTreeSet<usize> = match &report {
                Some(report) => {
                    let offsets = report.response.failures.iter().filter(|(failed_key, _)| *failed_key == key);
                    let place_of = |offset: u64| {
                        places.iter().copied().find(|&place| partition.log[place].coordinates.offset == offset)
                    };
                    offsets.filter_map(|(_, offset)| place_of(*offset)).collect()
                }
                None => places.iter().copied().collect(),
            };
            if gives_up {
                self.happened.given_up += failed.len();
                self.given_up.extend(failed.iter().map(|&place| partition.log[place].clone()));
                failed.iter().for_each(|place| {
                    partition.poison.remove(place);
                });
            }
            if report.is_none() && !gives_up {
                continue;
            }
            let failed = if gives_up { BTreeSet::new() } else { failed };
            let after = places.iter().max().map_or(0, |last| last + 1);
            if self.reading == Reading::Resume {
                partition.committed = match failed.first() {
                    Some(&first) => first,
                    None => partition.committed.max(after),
                };
            } else {
                partition.again.retain(|place| !places.contains(place));
                partition.again.extend(failed);
                partition.again.sort_unstable();
                partition.committed = partition.committed.max(after);
            }
        }
    }

    /// Whatever is still open is older than the mapping delivers: its invocations have timed out, its records are given up.
    pub(super) fn everything_gets_too_old(&mut self) {
        self.gives_up = false;
        self.invocations.clear();
        self.paused.clear();
        for partition in &mut self.partitions {
            let open = partition.again.drain(..).chain(partition.committed..partition.log.len());
            let open: Vec<Record> = open.map(|place| partition.log[place].clone()).collect();
            self.happened.given_up += open.len();
            self.given_up.extend(open);
            partition.committed = partition.log.len();
            partition.in_flight = None;
            partition.poison.clear();
        }
        self.latest = Millis(self.latest.0 + RING.delivered_within_ms + 1);
        self.fakes.shared().now = self.latest;
    }
}
