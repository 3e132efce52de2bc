//! One poller, event by event.

use std::collections::VecDeque;

use serde::Serialize;

use super::fit::sigma;
use super::random::Random;
use super::{CALLS, INVOCATIONS_PER_POLLER, Question};

/// Records that are looked at, after those that fill the queue. Enough for a 99.9 % quantile.
const RECORDS: usize = 60_000;
const WARM_UP: usize = 5_000;
const SEED: u64 = 20_261_129;

/// What is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// Invocations at once.
    pub slots: u32,
    /// Mean records of a batch.
    pub batch: f64,
    /// Mean partitions that a batch has records of.
    pub partitions_per_batch: f64,
    /// Invocations a second, over all pollers.
    pub invocations_per_second: f64,
    /// Mean milliseconds of an invocation.
    pub invocation_ms: f64,
    /// Share of the time in which a slot is busy.
    pub busy: f64,
    /// From a record's arrival to the end of its invocation, in milliseconds: median.
    pub latency_ms_p50: f64,
    /// 99 % of the records.
    pub latency_ms_p99: f64,
    /// 99.9 % of them.
    pub latency_ms_p999: f64,
    /// Whether the load is below the capacity.
    pub keeps_up: bool,
}

struct Batch {
    ends_ms: f64,
    partitions: Vec<usize>,
    arrived_ms: Vec<f64>,
}

struct Cell<'a> {
    question: &'a Question,
    random: Random,
    waiting: Vec<VecDeque<f64>>,
    in_flight: Vec<bool>,
    slots: Vec<Option<Batch>>,
    latencies: Vec<f64>,
    batches: f64,
    records: f64,
    partitions: f64,
    busy_ms: f64,
    counts: bool,
}

pub(super) fn run(question: &Question) -> Prediction {
    let pollers = question.pollers.clamp(1, question.partitions.max(1));
    let share = f64::from(pollers);
    let slots = question.slots().div_ceil(pollers).clamp(1, INVOCATIONS_PER_POLLER);
    let partitions = question.partitions.div_ceil(pollers).max(1);
    let gap_ms = 1_000.0 * share / question.per_second.max(f64::MIN_POSITIVE);
    let mut cell = Cell {
        question,
        random: Random::new(SEED),
        waiting: (0..partitions).map(|_| VecDeque::new()).collect(),
        in_flight: vec![false; partitions as usize],
        slots: (0..slots).map(|_| None).collect(),
        latencies: Vec::with_capacity(RECORDS),
        batches: 0.0,
        records: 0.0,
        partitions: 0.0,
        busy_ms: 0.0,
        counts: false,
    };
    let mut now_ms = 0.0;
    let mut arrives_ms = cell.random.exponential() * gap_ms;
    let mut began_ms = 0.0;
    let mut arrived = 0;
    while arrived < WARM_UP + RECORDS {
        match cell.first_end().filter(|(_, ends_ms)| *ends_ms <= arrives_ms) {
            Some((slot, ends_ms)) => {
                now_ms = ends_ms;
                cell.end(slot);
            }
            None => {
                now_ms = arrives_ms;
                let partition = cell.random.below(cell.waiting.len());
                cell.waiting[partition].push_back(now_ms);
                arrives_ms = now_ms + cell.random.exponential() * gap_ms;
                arrived += 1;
                if arrived == WARM_UP {
                    (cell.counts, began_ms) = (true, now_ms);
                }
            }
        }
        cell.dispatch(now_ms);
    }
    cell.sum_up(now_ms - began_ms, share)
}

impl Cell<'_> {
    /// The slot that becomes free first, and when.
    fn first_end(&self) -> Option<(usize, f64)> {
        let busy = self.slots.iter().enumerate();
        let ends = busy.filter_map(|(slot, batch)| batch.as_ref().map(|batch| (slot, batch.ends_ms)));
        ends.min_by(|one, other| one.1.total_cmp(&other.1))
    }

    fn end(&mut self, slot: usize) {
        let Some(batch) = self.slots[slot].take() else { return };
        for partition in batch.partitions {
            self.in_flight[partition] = false;
        }
        if self.counts {
            self.latencies.extend(batch.arrived_ms.iter().map(|arrived_ms| batch.ends_ms - arrived_ms));
        }
    }

    fn dispatch(&mut self, now_ms: f64) {
        while let Some(free) = self.slots.iter().position(Option::is_none) {
            let (partitions, arrived_ms) = self.gather();
            if arrived_ms.is_empty() {
                return;
            }
            let takes_ms = self.takes_ms(arrived_ms.len());
            if self.counts {
                self.batches += 1.0;
                self.records += count(arrived_ms.len());
                self.partitions += count(partitions.len());
                self.busy_ms += takes_ms;
            }
            self.slots[free] = Some(Batch { ends_ms: now_ms + takes_ms, partitions, arrived_ms });
        }
    }

    /// What waits in partitions without a batch in flight: the partition whose first record is the oldest, then the next, as the mapping of
    /// one machine does. By record instead, a backlog would lock every partition for one batch.
    fn gather(&mut self) -> (Vec<usize>, Vec<f64>) {
        let free = self.waiting.iter().enumerate().filter(|(partition, _)| !self.in_flight[*partition]);
        let mut order: Vec<(usize, f64)> =
            free.filter_map(|(partition, waiting)| Some((partition, *waiting.front()?))).collect();
        order.sort_by(|one, other| one.1.total_cmp(&other.1));
        let (mut partitions, mut arrived_ms) = (Vec::new(), Vec::new());
        for (partition, _) in order {
            let left = (self.question.batch_max.max(1) as usize).saturating_sub(arrived_ms.len());
            if left == 0 {
                break;
            }
            let waiting = &mut self.waiting[partition];
            let taken = left.min(waiting.len());
            arrived_ms.extend(waiting.drain(..taken));
            self.in_flight[partition] = true;
            partitions.push(partition);
        }
        (partitions, arrived_ms)
    }

    fn takes_ms(&mut self, records: usize) -> f64 {
        let Question { base_ms, record_ms, call_ms_p50, call_ms_p99, .. } = *self.question;
        let mut takes_ms = base_ms + count(records) * record_ms;
        if call_ms_p50 > 0.0 {
            let sigma = sigma(call_ms_p50, call_ms_p99);
            for _ in 0..CALLS {
                takes_ms += call_ms_p50 * (sigma * self.random.normal()).exp();
            }
        }
        // A batch that takes no time would never let the clock go on.
        takes_ms.max(1e-6)
    }

    fn sum_up(mut self, lasted_ms: f64, pollers: f64) -> Prediction {
        self.latencies.sort_unstable_by(f64::total_cmp);
        let per_batch = |sum: f64| if self.batches > 0.0 { sum / self.batches } else { 0.0 };
        let lasted_ms = lasted_ms.max(f64::MIN_POSITIVE);
        Prediction {
            slots: self.question.slots(),
            batch: per_batch(self.records),
            partitions_per_batch: per_batch(self.partitions),
            invocations_per_second: self.batches * 1_000.0 / lasted_ms * pollers,
            invocation_ms: per_batch(self.busy_ms),
            busy: (self.busy_ms / lasted_ms / count(self.slots.len())).min(1.0),
            latency_ms_p50: self.at(0.5),
            latency_ms_p99: self.at(0.99),
            latency_ms_p999: self.at(0.999),
            keeps_up: self.question.per_second < self.question.capacity(),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some ten thousand values")]
    fn at(&self, quantile: f64) -> f64 {
        let place = (count(self.latencies.len()) * quantile).ceil() as usize;
        self.latencies.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn count(count: usize) -> f64 {
    count as f64
}
