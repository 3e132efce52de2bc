//! Delivery reports of one batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::error::KafkaError;
use tokio::sync::Notify;

type Report = Result<(), KafkaError>;

/// Collects the reports of a batch and wakes its owner once, with the last.
#[derive(Debug)]
pub(super) struct Delivery {
    reports: Mutex<Vec<Option<Report>>>,
    outstanding: AtomicUsize,
    complete: Notify,
}

/// One message's place in its batch; travels through librdkafka and comes back with the report.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) delivery: Arc<Delivery>,
    pub(super) index: usize,
}

impl Delivery {
    pub(super) fn of(messages: usize) -> Self {
        let delivery = Self {
            reports: Mutex::new((0..messages).map(|_| None).collect()),
            outstanding: AtomicUsize::new(messages),
            complete: Notify::new(),
        };
        if messages == 0 {
            delivery.complete.notify_one();
        }
        delivery
    }

    /// Waits for the last report.
    pub(super) async fn finished(&self) {
        self.complete.notified().await;
    }

    /// What was reported so far.
    pub(super) fn results(&self) -> Vec<Option<Report>> {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = (0..reports.len()).map(|_| None).collect();
        std::mem::replace(&mut *reports, empty)
    }
}

impl Slot {
    pub(super) fn resolve(&self, report: Report) {
        let mut reports = self.delivery.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports[self.index] = Some(report);
        drop(reports);
        if self.delivery.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.delivery.complete.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_owner_wakes_with_the_last_report_and_finds_each_in_its_place() {
        let delivery = Arc::new(Delivery::of(2));
        let slot = |index| Slot { delivery: Arc::clone(&delivery), index };
        slot(1).resolve(Err(KafkaError::Canceled));
        slot(0).resolve(Ok(()));
        delivery.finished().await;
        assert_eq!(delivery.results(), [Some(Ok(())), Some(Err(KafkaError::Canceled))]);
    }

    #[tokio::test]
    async fn an_empty_batch_is_finished() {
        Delivery::of(0).finished().await;
    }
}
