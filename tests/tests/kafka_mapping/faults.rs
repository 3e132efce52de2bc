//! What a mapping does at worst, on purpose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use centinela_e2e::fixture::offsets_of;
use centinela_local::mapping::KafkaMappingSpec;
use centinela_local::mapping::faults::{AnswerFault, DeliveryFault, DuplicateOutcome, MappingFaultSource};

use crate::world::{PATIENCE, World, distinct, spec};

/// Every batch once more after it succeeded.
struct EveryBatchAgain;

impl MappingFaultSource for EveryBatchAgain {
    fn answer(&self) -> AnswerFault {
        AnswerFault::DeliverAgain
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicating_delivers_every_batch_twice_and_counts_it_once() {
    let world = World::start(2).await;
    let mapping = world.map(spec()).await;
    mapping.set_faults(Arc::new(EveryBatchAgain));
    for partition in 0..2 {
        world.send_all(partition, &["ok"; 10]).await;
    }
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!((world.fixture.handled().len(), distinct(&world.fixture.handled()).len()), (40, 20));
    let stats = mapping.stats();
    assert_eq!((stats.records, stats.retried_batches), (20, 0));
    assert_eq!(stats.replayed_batches * 2, stats.batches);
    world.finish(&mapping).await;
}

/// One fault for every delivery, and what came of those that nobody read.
#[derive(Default)]
struct Always {
    fault: DeliveryFault,
    held_back: AtomicBool,
    duplicates: Mutex<Vec<DuplicateOutcome>>,
}

impl MappingFaultSource for Always {
    fn remembers(&self) -> bool {
        true
    }

    fn delivery(&self, _records: usize) -> DeliveryFault {
        self.fault
    }

    fn holds_back(&self, partition: i32) -> bool {
        partition == 0 && self.held_back.load(Ordering::SeqCst)
    }

    fn duplicate_delivery(&self, _fault: DeliveryFault, outcome: DuplicateOutcome) {
        self.duplicates.lock().expect("no panic").push(outcome);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_deliveries_come_beside_the_batches_and_commit_nothing() {
    for fault in [DeliveryFault::Twice, DeliveryFault::WithOldBatch { pick: 0 }, DeliveryFault::WithOverlap] {
        let world = World::start(2).await;
        let mapping = world.map(KafkaMappingSpec { batch_size: 4, ..spec() }).await;
        let always = Arc::new(Always { fault, ..Always::default() });
        mapping.set_faults(always.clone());
        for partition in 0..2 {
            world.send_all(partition, &["ok"; 12]).await;
        }
        mapping.drain(PATIENCE).await.expect("drained");
        mapping.disable().await.expect("every duplicate delivery has ended");
        let stats = mapping.stats();
        assert_eq!(stats.records, 24, "{fault:?}: a duplicate delivery's records count for nothing");
        assert!(stats.duplicate_deliveries > 0, "{fault:?}");
        let duplicates = always.duplicates.lock().expect("no panic").clone();
        assert_eq!(duplicates.len() as u64, stats.duplicate_deliveries);
        assert!(
            duplicates.iter().all(|one| matches!(one, DuplicateOutcome::Handled { records } if *records > 0)),
            "{duplicates:?}"
        );
        assert_eq!(distinct(&world.fixture.handled()).len(), 24);
        assert!(world.fixture.handled().len() > 24, "{fault:?} came again");
        world.finish(&mapping).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_batch_keeps_its_order() {
    let world = World::start(1).await;
    let mapping = world.map(KafkaMappingSpec { batch_size: 9, ..spec() }).await;
    let always =
        Arc::new(Always { fault: DeliveryFault::Split, held_back: AtomicBool::new(true), ..Always::default() });
    mapping.set_faults(always.clone());
    world.send_all(0, &["ok"; 9]).await;
    always.held_back.store(false, Ordering::SeqCst);
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), (0..9).collect::<Vec<_>>());
    assert!(world.fixture.deliveries().len() > 1);
    world.finish(&mapping).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_held_back_does_not_hold_up_the_others() {
    let world = World::start(2).await;
    let mapping = world.map(spec()).await;
    let always = Arc::new(Always { held_back: AtomicBool::new(true), ..Always::default() });
    mapping.set_faults(always.clone());
    for partition in 0..2 {
        world.send_all(partition, &["ok"; 5]).await;
    }
    let deadline = Instant::now() + PATIENCE;
    while offsets_of(&world.fixture.handled(), "orders-1").len() < 5 {
        assert!(Instant::now() < deadline, "the other partition goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(mapping.stats().lag, 5);
    always.held_back.store(false, Ordering::SeqCst);
    mapping.drain(PATIENCE).await.expect("drained");
    assert_eq!(offsets_of(&world.fixture.handled(), "orders-0"), [0, 1, 2, 3, 4]);
    world.finish(&mapping).await;
}
