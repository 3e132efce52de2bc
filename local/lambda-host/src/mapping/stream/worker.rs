//! One shard: its records in order, one batch at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::delivering::Deliveries;
use super::event;
use super::shared::{Control, Shared};
use super::source::{Held, Place};
use super::window::{STATE_BYTES_MAX, Window};
use crate::mapping::destination::now_ms;
use crate::spec::PAYLOAD_BYTES_MAX;

/// Bytes of an event that are not records.
const ENVELOPE_BYTES: usize = 4 * 1024;
/// Between two looks at a shard that a fault keeps from being delivered, or that cannot be read.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Between two reads while a window gathers records: what is written meanwhile is read together. Lambda itself reads a shard once a second.
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>
const PACE: Duration = Duration::from_millis(50);
/// Sleep when nothing is planned.
const IDLE: Duration = Duration::from_secs(60);

/// Reads one shard.
pub(super) struct Worker {
    shard: String,
    /// What faults know the shard by.
    number: i32,
    place: Place,
    queue: VecDeque<Held>,
    is_last: bool,
    deliveries: Deliveries,
    shared: Arc<Shared>,
    control: watch::Receiver<Control>,
    written: watch::Receiver<u64>,
}

/// What a shard needs next.
enum Next {
    Deliver(Vec<Held>),
    /// The time of its windows is over.
    EndWindows,
    /// It is closed, and everything was delivered.
    Finished,
    Stopped,
}

impl Worker {
    pub(super) fn new(shard: &str, place: Place, shared: &Arc<Shared>) -> Self {
        Self {
            shard: shard.to_owned(),
            number: shard.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0),
            place,
            queue: VecDeque::new(),
            is_last: false,
            deliveries: Deliveries::new(shard, shared),
            shared: Arc::clone(shared),
            control: shared.control.subscribe(),
            written: shared.source.written(),
        }
    }

    /// Works until the shard is finished, or the mapping stopped.
    pub(super) async fn run(mut self) {
        loop {
            let goes_on = match self.next().await {
                Next::Deliver(records) => self.deliveries.deliver(records).await,
                Next::EndWindows => self.deliveries.end_windows().await,
                Next::Finished => {
                    if self.deliveries.end_windows().await
                        && let Some(progress) = self.shared.progress().get_mut(&self.shard)
                    {
                        progress.is_finished = true;
                    }
                    false
                }
                Next::Stopped => false,
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn next(&mut self) -> Next {
        loop {
            let control = self.control.borrow_and_update().clone();
            if control.stopped {
                return Next::Stopped;
            }
            if control.disabled || self.shared.counted.faults().holds_back(self.number) {
                self.wait_until(Instant::now() + LOOK_AGAIN, false).await;
                continue;
            }
            // Before it is read: what is written from now on arrives later than this.
            let time = u64::try_from(now_ms()).unwrap_or(0);
            self.written.borrow_and_update();
            let is_readable = self.fill(&control);
            if let Some(oldest) = self.queue.front() {
                let due = oldest.received + self.shared.spec.window;
                let at_once = self.shared.spec.window.is_zero() || control.hurried || self.is_last;
                if at_once || self.is_full() || due <= Instant::now() {
                    return Next::Deliver(self.take());
                }
                self.wait_until(due.min(Instant::now() + PACE), false).await;
                continue;
            }
            if self.is_last {
                return Next::Finished;
            }
            let over_at = self.deliveries.windows_over_at_ms();
            if is_readable && over_at.is_some_and(|over| over <= time || control.hurried) {
                return Next::EndWindows;
            }
            let over_in = over_at.map_or(IDLE, |over| Duration::from_millis(over.saturating_sub(time)));
            let pause = if is_readable { over_in } else { LOOK_AGAIN };
            self.wait_until(Instant::now() + pause, true).await;
        }
    }

    /// Waits until then, until the owner wants something else or, if that is to be heard, until something is written.
    async fn wait_until(&mut self, at: Instant, hears_writes: bool) {
        // A sender that is gone has nothing to say any more: then only the clock counts.
        tokio::select! {
            Ok(()) = self.control.changed() => {}
            Ok(()) = self.written.changed(), if hears_writes => {}
            () = tokio::time::sleep_until(at.into()) => {}
        }
    }

    /// Reads on, up to a full batch and up to the cut. False when the stream does not answer.
    fn fill(&mut self, control: &Control) -> bool {
        let wanted = self.shared.spec.batch_size.saturating_sub(self.queue.len());
        if wanted == 0 || self.is_last {
            return true;
        }
        let page = match self.shared.source.read(&self.shard, &self.place, wanted) {
            Ok(page) => page,
            Err(error) => {
                let mut counters = self.shared.counted.counters();
                counters.totals.poll_errors += 1;
                counters.totals.last_failure = Some(error.to_string());
                return false;
            }
        };
        if page.lost > 0 {
            self.shared.counted.counters().totals.lost_by_retention += page.lost;
            let (shard, records) = (&self.shard, page.lost);
            tracing::error!(
                stream = self.shared.spec.stream,
                shard,
                records,
                "the stream deleted records before they were read"
            );
        }
        let cut = control.cut.as_ref().map(|cut| cut.get(&self.shard).cloned().flatten());
        let received = Instant::now();
        for record in page.records {
            let is_behind = |last: &Option<String>| last.as_ref().is_none_or(|last| record.sequence_number > *last);
            if cut.as_ref().is_some_and(is_behind) {
                return true;
            }
            self.place = Place::After(record.sequence_number.clone());
            self.queue.push_back(Held { record, received });
        }
        self.is_last = page.is_last;
        true
    }

    fn is_full(&self) -> bool {
        self.shared.spec.batch_size <= self.queue.len() || self.fitting() < self.queue.len()
    }

    /// How many of the records fit into one event.
    fn fitting(&self) -> usize {
        let windows = self.shared.spec.tumbling_window;
        let state = windows.map_or(0, |_| STATE_BYTES_MAX);
        let mut room = PAYLOAD_BYTES_MAX - ENVELOPE_BYTES - state;
        let fits = self.queue.iter().take_while(|held| {
            let bytes = event::bytes(&held.record);
            let fits = bytes <= room;
            room = room.saturating_sub(bytes);
            fits
        });
        fits.count().max(1)
    }

    /// The next batch: one event, of one window.
    fn take(&mut self) -> Vec<Held> {
        let mut count = self.fitting().min(self.shared.spec.batch_size).min(self.queue.len());
        if let Some(length) = self.shared.spec.tumbling_window {
            let window = |held: &Held| Window::of(held.record.arrived_ms, length);
            let first = self.queue.front().map(window);
            count = self.queue.iter().take(count).take_while(|held| Some(window(held)) == first).count();
        }
        self.queue.drain(..count).collect()
    }
}
