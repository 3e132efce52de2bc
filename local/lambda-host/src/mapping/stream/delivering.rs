//! The batches of one shard on their way to the function: windows, retries, halves, and what is given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::event::{self, OfWindow};
use super::response::{self, StreamVerdict};
use super::shared::Shared;
use super::source::Held;
use super::window::{Open, STATE_BYTES_MAX, Slot, Step, Window, Windows};
use crate::error::InvokeError;
use crate::mapping::destination::now_ms;
use crate::mapping::faults::{AnswerFault, DeliveryFault, DuplicateOutcome};
use crate::mapping::in_flight::{Condition, with_jitter};

/// Pause before the first retry; doubles with each failed delivery.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Between two looks at a mapping that is disabled.
const DISABLED_LOOK: Duration = Duration::from_millis(20);
/// Earlier events that are kept where faults want them, and how many come between two that are.
const OLD_EVENTS: usize = 16;
const KEEP_EVERY: u64 = 61;

/// Records of one invocation.
struct Piece {
    records: Vec<Held>,
    /// Deliveries that failed.
    failed: u32,
    /// Delivered once more on purpose.
    is_repeated: bool,
}

/// The deliveries of one shard.
pub(super) struct Deliveries {
    shard: String,
    shared: Arc<Shared>,
    windows: Windows,
    old: Vec<(Bytes, usize)>,
    delivered: u64,
}

impl Deliveries {
    pub(super) fn new(shard: &str, shared: &Arc<Shared>) -> Self {
        Self {
            shard: shard.to_owned(),
            shared: Arc::clone(shared),
            windows: Windows::default(),
            old: Vec::new(),
            delivered: 0,
        }
    }

    /// When the last open window is over.
    pub(super) fn windows_over_at_ms(&self) -> Option<u64> {
        self.windows.over_at_ms()
    }

    /// Delivers records of one window until all of them are handled or given up. False when the mapping was stopped before.
    pub(super) async fn deliver(&mut self, records: Vec<Held>) -> bool {
        let mut pieces = VecDeque::from([Piece { records, failed: 0, is_repeated: false }]);
        let mut pause = RETRY_BACKOFF;
        while let Some(piece) = pieces.pop_front() {
            let Some(mut piece) = self.still_wanted(piece) else { continue };
            let Some(slot) = self.window_of(&piece).await else { return false };
            let fault = self.shared.counted.faults().delivery(piece.records.len());
            if fault == DeliveryFault::Split && piece.records.len() > 1 {
                let rest = piece.records.split_off(piece.records.len() / 2);
                pieces.push_front(Piece { records: rest, failed: piece.failed, is_repeated: piece.is_repeated });
            }
            let event = self.event(&piece.records, slot.and_then(|slot| self.windows.get(slot)), false, false);
            let Some(verdict) = self.invoke(event, &piece.records, fault).await else { return false };
            match verdict {
                StreamVerdict::Throttled => pieces.push_front(piece),
                StreamVerdict::Failed { reason } => {
                    self.failed(reason);
                    self.again(piece, &mut pieces);
                }
                StreamVerdict::HandledTo { .. } if !piece.is_repeated && self.is_delivered_again() => {
                    // As if the place and the state had not been kept.
                    self.shared.counted.counters().totals.replayed_batches += 1;
                    pieces.push_front(Piece { is_repeated: true, ..piece });
                    continue;
                }
                StreamVerdict::HandledTo { index, state } => {
                    let rest = piece.records.split_off(index);
                    let was_all = rest.is_empty();
                    if !self.handled(&piece.records, slot.zip(state)).await {
                        return false;
                    }
                    if was_all {
                        pause = RETRY_BACKOFF;
                        continue;
                    }
                    self.shared.counted.counters().totals.retried_batches += 1;
                    // Where something was handled, it is another batch that begins here.
                    let failed = if index == 0 { piece.failed + 1 } else { 1 };
                    pieces.push_front(Piece { records: rest, failed, is_repeated: false });
                }
            }
            if !self.rest(pause).await {
                return false;
            }
            pause = (pause * 2).min(RETRY_BACKOFF_MAX);
        }
        true
    }

    /// Ends every open window. False when the mapping was stopped before.
    pub(super) async fn end_windows(&mut self) -> bool {
        for slot in self.windows.open().collect::<Vec<_>>() {
            if !self.end(slot, false).await {
                return false;
            }
        }
        true
    }

    /// Takes away what is too old, and everything when it was tried too often.
    fn still_wanted(&mut self, mut piece: Piece) -> Option<Piece> {
        let spec = &self.shared.spec;
        if spec.maximum_retry_attempts.is_some_and(|most| piece.failed > most) {
            self.give_up(&piece.records, Condition::RetryAttemptsExhausted, piece.failed);
            return None;
        }
        if let Some(age) = spec.maximum_record_age {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let oldest = u64::try_from(now_ms()).unwrap_or(0).saturating_sub(age);
            let old = piece.records.iter().take_while(|held| held.record.arrived_ms < oldest).count();
            if old > 0 {
                let rest = piece.records.split_off(old);
                self.give_up(&piece.records, Condition::RecordAgeExceeded, piece.failed);
                piece.records = rest;
            }
        }
        (!piece.records.is_empty()).then_some(piece)
    }

    fn give_up(&self, records: &[Held], condition: Condition, invocations: u32) {
        self.shared.give_up(&self.shard, records, condition, invocations);
        if let Some(last) = records.last() {
            self.shared.handled(&self.shard, last);
        }
    }

    /// The window of a piece, after those before it have ended; `None` inside without windows. None when the mapping was stopped.
    async fn window_of(&mut self, piece: &Piece) -> Option<Option<Slot>> {
        let Some((length, first)) = self.shared.spec.tumbling_window.zip(piece.records.first()) else {
            return Some(None);
        };
        let window = Window::of(first.record.arrived_ms, length);
        loop {
            match self.windows.step(window) {
                Step::End(slot) => {
                    if !self.end(slot, false).await {
                        return None;
                    }
                }
                Step::Take(slot) => {
                    self.note_windows();
                    return Some(Some(slot));
                }
            }
        }
    }

    fn note_windows(&self) {
        if let Some(progress) = self.shared.progress().get_mut(&self.shard) {
            progress.open_windows = self.windows.open().count();
        }
    }

    /// Keeps the place behind these records and the state after them. False when the mapping was stopped.
    async fn handled(&mut self, records: &[Held], state: Option<(Slot, String)>) -> bool {
        let Some(last) = records.last() else { return true };
        let mut is_too_large = None;
        if let Some((slot, state)) = state {
            is_too_large = (state.len() > STATE_BYTES_MAX).then_some(slot);
            self.windows.keep(slot, state);
        }
        self.shared.handled(&self.shard, last);
        self.shared.counted.counters().totals.records += records.len() as u64;
        match is_too_large {
            Some(slot) => self.end(slot, true).await,
            None => true,
        }
    }

    /// A piece that failed comes again, in two halves if that is wanted: a half is not one more try.
    fn again(&mut self, mut piece: Piece, pieces: &mut VecDeque<Piece>) {
        let mut counters = self.shared.counted.counters();
        counters.totals.retried_batches += 1;
        if self.shared.spec.bisect_batch_on_function_error && piece.records.len() > 1 {
            counters.totals.bisected += 1;
            let rest = piece.records.split_off(piece.records.len() / 2);
            pieces.push_front(Piece { records: rest, failed: piece.failed, is_repeated: false });
            pieces.push_front(Piece { is_repeated: false, ..piece });
        } else {
            pieces.push_front(Piece { failed: piece.failed + 1, is_repeated: false, ..piece });
        }
    }

    /// The last invocation of a window, which comes until it succeeds. False when the mapping was stopped before.
    async fn end(&mut self, slot: Slot, early: bool) -> bool {
        let mut pause = RETRY_BACKOFF;
        let mut is_repeated = false;
        loop {
            let event = self.event(&[], self.windows.get(slot), true, early);
            let fault = self.shared.counted.faults().delivery(0);
            match self.invoke(event, &[], fault).await {
                None => return false,
                Some(StreamVerdict::HandledTo { .. }) if is_repeated || !self.is_delivered_again() => break,
                Some(StreamVerdict::HandledTo { .. }) => is_repeated = true,
                Some(StreamVerdict::Throttled) => {}
                Some(StreamVerdict::Failed { reason }) => self.failed(reason),
            }
            if !self.rest(pause).await {
                return false;
            }
            pause = (pause * 2).min(RETRY_BACKOFF_MAX);
        }
        self.windows.end(slot);
        self.note_windows();
        let mut counters = self.shared.counted.counters();
        counters.totals.windows += 1;
        counters.totals.windows_ended_early += u64::from(early);
        counters.totals.late_windows += u64::from(slot == Slot::Late);
        true
    }

    fn event(&self, records: &[Held], open: Option<&Open>, is_final: bool, early: bool) -> Bytes {
        let spec = &self.shared.spec;
        let of =
            open.map(|open| OfWindow { window: open.window, state: &open.state, is_final, is_terminated_early: early });
        event::event(&spec.stream, &spec.function, &self.shard, records, of)
    }

    /// None when the mapping or the function was stopped before the function had the event.
    async fn invoke(&mut self, event: Bytes, records: &[Held], fault: DeliveryFault) -> Option<StreamVerdict> {
        let shared = Arc::clone(&self.shared);
        let busy = loop {
            match shared.begin() {
                Some(busy) => break busy,
                None if shared.control.borrow().stopped => return None,
                None => tokio::time::sleep(DISABLED_LOOK).await,
            }
        };
        self.duplicate(fault, &event, records.len());
        shared.invoked(records);
        let answer = shared.host.invoke(event.clone()).await;
        shared.counted.counters().totals.in_flight -= 1;
        drop(busy);
        let spec = &shared.spec;
        let has_windows = spec.tumbling_window.is_some() && !records.is_empty();
        let verdict = match answer {
            Ok(_) if records.is_empty() => StreamVerdict::HandledTo { index: 0, state: None },
            Ok(body) => response::read(&body, records, spec.report_batch_item_failures, has_windows),
            // Not the records' fault: no attempt is counted.
            Err(InvokeError::Stopped) => return None,
            Err(InvokeError::Throttled) => StreamVerdict::Throttled,
            Err(error) => StreamVerdict::Failed { reason: error.to_string() },
        };
        self.remember(event, records.len());
        Some(verdict)
    }

    /// An answer may get lost on its way.
    fn is_delivered_again(&self) -> bool {
        self.shared.counted.faults().answer() != AnswerFault::None
    }

    /// Starts the delivery that a fault adds. Nobody reads its answer.
    fn duplicate(&self, fault: DeliveryFault, event: &Bytes, records: usize) {
        let copy = match fault {
            DeliveryFault::None | DeliveryFault::Split => None,
            DeliveryFault::Twice | DeliveryFault::WithOverlap => Some((event.clone(), records)),
            DeliveryFault::WithOldBatch { pick } => {
                let index = usize::try_from(pick).unwrap_or(usize::MAX).checked_rem(self.old.len());
                index.and_then(|index| self.old.get(index).cloned())
            }
        };
        let Some((event, records)) = copy else { return };
        self.shared.counted.counters().totals.duplicate_deliveries += 1;
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let outcome = match shared.host.invoke(event).await {
                Ok(_) => DuplicateOutcome::Handled { records },
                Err(_) => DuplicateOutcome::Failed { records },
            };
            shared.counted.faults().duplicate_delivery(fault, outcome);
        });
    }

    fn remember(&mut self, event: Bytes, records: usize) {
        self.delivered += 1;
        if !self.shared.counted.faults().remembers() || !self.delivered.is_multiple_of(KEEP_EVERY) {
            return;
        }
        if self.old.len() == OLD_EVENTS {
            self.old.remove(0);
        }
        self.old.push((event, records));
    }

    fn failed(&self, reason: String) {
        tracing::debug!(
            stream = self.shared.spec.stream,
            shard = self.shard,
            reason,
            "a batch failed and is delivered again"
        );
        self.shared.counted.counters().totals.last_failure = Some(reason);
    }

    /// False when the mapping was stopped meanwhile.
    async fn rest(&self, pause: Duration) -> bool {
        let mut control = self.shared.control.subscribe();
        let stopped = async {
            // The sender lives as long as the worker.
            let waited = control.wait_for(|control| control.stopped).await;
            waited.is_ok()
        };
        tokio::time::timeout(with_jitter(pause), stopped).await.is_err()
    }
}
