//! Faults that are drawn per call and per delivery.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use centinela_local::aws::{Fault, FaultSource, RequestInfo};
use centinela_local::mapping::faults::{AnswerFault, DeliveryFault, DuplicateOutcome};
use centinela_local::mapping::{MappingFaultSource, PartialReading};
use centinela_local::platform::{FaultsOfMappings, MappingKey};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::kinds::{Kind, Kinds};
use super::tally::Tally;

/// Shares of the calls. Together they are rare enough that a run still moves, and frequent enough that each happens many times in
/// a minute at a few hundred transactions a second.
const THROTTLED: f64 = 0.004;
const UNPROCESSED: f64 = 0.005;
const SLOW: f64 = 0.003;
const REPLY_LOST: f64 = 0.001;
const KINESIS_REFUSED: f64 = 0.01;
const SLOW_MS: Range<u64> = 20..400;
/// Shares of the batches.
const AGAIN: f64 = 0.01;
const OLD_BATCH: f64 = 0.004;
const TWICE: f64 = 0.0015;
const OVERLAP: f64 = 0.003;
const SPLIT: f64 = 0.02;
const ANSWER_LOST: f64 = 0.003;
/// How much more often faults come where calls or batches are rare: of S3, and of mappings that gather records first.
const RARE_CALLS: f64 = 8.0;
const RARE_BATCHES: f64 = 8.0;

/// Decides on faults from a seed, while it is switched on.
pub struct Sources {
    kinds: Kinds,
    on: AtomicBool,
    calls: Mutex<ChaCha8Rng>,
    batches: Mutex<ChaCha8Rng>,
    held_back: RwLock<Vec<(MappingKey, i32)>>,
    every_batch_again: bool,
    tally: Arc<Tally>,
}

impl Sources {
    /// No draws; if asked, every batch once more after it succeeded.
    pub(super) fn even(every_batch_again: bool, tally: Arc<Tally>) -> Self {
        Self { every_batch_again, ..Self::new(0, Kinds::default(), tally) }
    }

    /// Switched off.
    pub(super) fn new(seed: u64, kinds: Kinds, tally: Arc<Tally>) -> Self {
        Self {
            kinds,
            on: AtomicBool::new(false),
            calls: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 0xca11)),
            batches: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 0xba7c4)),
            held_back: RwLock::default(),
            every_batch_again: false,
            tally,
        }
    }

    /// Switches it on or off.
    pub(super) fn switch(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    /// Lets a mapping leave a partition alone, or not any more.
    pub(super) fn hold_back(&self, mapping: &MappingKey, partition: i32, held: bool) {
        let mut partitions = self.held_back.write().unwrap_or_else(PoisonError::into_inner);
        partitions.retain(|(key, known)| key != mapping || *known != partition);
        if held {
            partitions.push((mapping.clone(), partition));
        }
    }

    /// The faults of each mapping.
    pub fn of_mappings(self: &Arc<Self>) -> FaultsOfMappings {
        let sources = Arc::clone(self);
        Arc::new(move |key, window| {
            let often = if window.is_zero() { 1.0 } else { RARE_BATCHES };
            Arc::new(MappingFaults { sources: Arc::clone(&sources), key: key.clone(), often })
        })
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Draws one of some faults by their shares; those that nobody asked for are none.
    fn draw(
        &self,
        mut rng: MutexGuard<'_, ChaCha8Rng>,
        shares: &[(Kind, f64)],
        often: f64,
        function: Option<&str>,
    ) -> Option<(Kind, u64)> {
        let (mut place, number): (f64, u64) = (rng.random(), rng.random());
        drop(rng);
        for &(kind, share) in shares {
            let share = share * often;
            if place < share {
                return self.kinds.has(kind).then(|| {
                    match function {
                        Some(function) => self.tally.happened_to(kind, function),
                        None => self.tally.happened(kind),
                    }
                    (kind, number)
                });
            }
            place -= share;
        }
        None
    }

    fn calls(&self) -> MutexGuard<'_, ChaCha8Rng> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batches(&self) -> MutexGuard<'_, ChaCha8Rng> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultSource for Sources {
    fn decide(&self, request: &RequestInfo<'_>) -> Fault {
        if !self.is_on() {
            return Fault::None;
        }
        let some_undone = match request.operation {
            "BatchGetItem" | "BatchExecuteStatement" | "TransactWriteItems" => (Kind::Unprocessed, UNPROCESSED),
            "PutRecords" => (Kind::Kinesis, KINESIS_REFUSED),
            _ => (Kind::Unprocessed, 0.0),
        };
        let shares = [(Kind::Throttle, THROTTLED), (Kind::Slow, SLOW), (Kind::ReplyLost, REPLY_LOST), some_undone];
        let often = if request.service == "s3" { RARE_CALLS } else { 1.0 };
        let drawn = self.draw(self.calls(), &shares, often, request.caller);
        let Some((kind, number)) = drawn else { return Fault::None };
        let effect = match request.service {
            "dynamodb" => "calls of dynamodb",
            "s3" => "calls of s3",
            _ => "calls of kinesis",
        };
        self.tally.led_to(kind, 1, effect);
        match kind {
            Kind::Throttle => Fault::Throttle,
            Kind::Slow => Fault::Delay(Duration::from_millis(SLOW_MS.start + number % (SLOW_MS.end - SLOW_MS.start))),
            Kind::ReplyLost => Fault::ReplyLost,
            _ => Fault::Partial { every: 1 + usize::try_from(number % 3).unwrap_or(0) },
        }
    }
}

/// The faults of one mapping.
struct MappingFaults {
    sources: Arc<Sources>,
    key: MappingKey,
    /// How much more often than usual they come.
    often: f64,
}

impl MappingFaults {
    fn draw(&self, shares: &[(Kind, f64)]) -> Option<(Kind, u64)> {
        let sources = &self.sources;
        sources.draw(sources.batches(), shares, self.often, Some(&self.key.function))
    }
}

impl MappingFaultSource for MappingFaults {
    fn remembers(&self) -> bool {
        self.sources.kinds.has(Kind::OldBatch) || self.sources.kinds.has(Kind::Overlap)
    }

    fn delivery(&self, records: usize) -> DeliveryFault {
        if !self.sources.is_on() {
            return DeliveryFault::None;
        }
        let split = if records > 1 { SPLIT } else { 0.0 };
        let shares =
            [(Kind::OldBatch, OLD_BATCH), (Kind::Twice, TWICE), (Kind::Overlap, OVERLAP), (Kind::Split, split)];
        match self.draw(&shares) {
            None => DeliveryFault::None,
            Some((Kind::OldBatch, pick)) => DeliveryFault::WithOldBatch { pick },
            Some((Kind::Twice, _)) => DeliveryFault::Twice,
            Some((Kind::Overlap, _)) => DeliveryFault::WithOverlap,
            Some(_) => {
                self.sources.tally.led_to(Kind::Split, records as u64, "records");
                DeliveryFault::Split
            }
        }
    }

    fn answer(&self) -> AnswerFault {
        if self.sources.every_batch_again {
            return AnswerFault::DeliverAgain;
        }
        if !self.sources.is_on() {
            return AnswerFault::None;
        }
        match self.draw(&[(Kind::Again, AGAIN), (Kind::AnswerLost, ANSWER_LOST)]) {
            None => AnswerFault::None,
            Some((Kind::Again, _)) => AnswerFault::DeliverAgain,
            Some(_) => AnswerFault::Lost,
        }
    }

    fn reading(&self, usual: PartialReading) -> PartialReading {
        if !self.sources.is_on() || !self.sources.kinds.has(Kind::Partial) {
            return usual;
        }
        self.sources.tally.happened_to(Kind::Partial, &self.key.function);
        if self.sources.batches().random() {
            self.sources.tally.led_to(Kind::Partial, 1, "resumed at the first record named");
            PartialReading::ResumeAtFirst
        } else {
            self.sources.tally.led_to(Kind::Partial, 1, "delivered only the records named");
            PartialReading::RedeliverListed
        }
    }

    fn holds_back(&self, partition: i32) -> bool {
        let held_back = self.sources.held_back.read().unwrap_or_else(PoisonError::into_inner);
        held_back.iter().any(|(key, held)| *held == partition && *key == self.key)
    }

    fn duplicate_delivery(&self, fault: DeliveryFault, outcome: DuplicateOutcome) {
        let kind = match fault {
            DeliveryFault::WithOldBatch { .. } => Kind::OldBatch,
            DeliveryFault::Twice => Kind::Twice,
            DeliveryFault::WithOverlap => Kind::Overlap,
            DeliveryFault::None | DeliveryFault::Split => return,
        };
        match outcome {
            DuplicateOutcome::Handled { records } => {
                self.sources.tally.led_to(kind, records as u64, "records answered")
            }
            DuplicateOutcome::Reported { records, failed } => {
                self.sources.tally.led_to(kind, (records - failed) as u64, "records answered");
                self.sources.tally.led_to(kind, failed as u64, "records reported to nobody");
            }
            DuplicateOutcome::Failed { records } => {
                self.sources.tally.led_to(kind, records as u64, "records in failed invocations")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64) -> Vec<Fault> {
        let sources = Sources::new(seed, "all".parse().unwrap(), Arc::default());
        sources.switch(true);
        let request =
            RequestInfo { service: "dynamodb", operation: "BatchGetItem", path: "/", body: b"", caller: None };
        (0..5_000).map(|_| sources.decide(&request)).collect()
    }

    fn mapping(sources: Sources) -> Arc<dyn MappingFaultSource> {
        let key = MappingKey { topic: "t".to_owned(), function: "f".to_owned() };
        (Arc::new(sources).of_mappings())(&key, Duration::ZERO)
    }

    #[test]
    fn a_mapping_that_gathers_records_has_more_of_its_few_batches_disturbed() {
        let sources = Arc::new(Sources::new(7, "all".parse().unwrap(), Arc::default()));
        sources.switch(true);
        let key = |function: &str| MappingKey { topic: "t".to_owned(), function: function.to_owned() };
        let [busy, rare] = [("busy", Duration::ZERO), ("rare", Duration::from_secs(60))]
            .map(|(function, window)| sources.of_mappings()(&key(function), window));
        let disturbed = |mapping: &Arc<dyn MappingFaultSource>| {
            (0..5_000).filter(|_| mapping.delivery(9) != DeliveryFault::None).count()
        };
        assert!(disturbed(&rare) > 5 * disturbed(&busy));
        let table = sources.tally.lines(&"split".parse().unwrap());
        assert!(table[0].functions["rare"] > 5 * table[0].functions["busy"], "{table:?}");
        sources.hold_back(&key("rare"), 3, true);
        assert!(rare.holds_back(3) && !rare.holds_back(2) && !busy.holds_back(3));
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let faults = drawn(7);
        assert!(faults.contains(&Fault::Throttle) && faults.contains(&Fault::ReplyLost));
        assert!(faults.iter().any(|fault| matches!(fault, Fault::Partial { .. })));
    }

    #[test]
    fn nothing_happens_while_it_is_off_or_that_nobody_asked_for() {
        let sources = Sources::new(7, "kill".parse().unwrap(), Arc::default());
        sources.switch(true);
        let request = RequestInfo { service: "kinesis", operation: "PutRecords", path: "/", body: b"", caller: None };
        assert!((0..5_000).all(|_| sources.decide(&request) == Fault::None));
        assert!((0..5_000).all(|_| sources.decide(&request) == Fault::None));
        let of_mapping = mapping(sources);
        assert!((0..5_000).all(|_| of_mapping.delivery(9) == DeliveryFault::None));
        let sources = Sources::new(7, "all".parse().unwrap(), Arc::default());
        let of_mapping = mapping(sources);
        assert!((0..5_000).all(|_| of_mapping.answer() == AnswerFault::None));
    }

    #[test]
    fn every_batch_comes_again_and_nothing_else_happens() {
        let sources = mapping(Sources::even(true, Arc::default()));
        assert!((0..50).all(|_| sources.answer() == AnswerFault::DeliverAgain));
        assert!((0..5_000).all(|_| sources.delivery(9) == DeliveryFault::None));
    }
}
