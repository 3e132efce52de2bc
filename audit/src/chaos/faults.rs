//! Faults that go on beside a run's own work.

use std::future::poll_fn;
use std::pin::{Pin, pin};

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, MaybeDone, maybe_done};
use tokio_util::sync::CancellationToken;

use super::driver::Driver;
use super::surroundings::ChaosError;

type Running<'a> = LocalBoxFuture<'a, Result<(), ChaosError>>;

/// A driver at work, or none. It gets on only while its owner waits in one of these methods.
pub struct Faults<'a> {
    calm: CancellationToken,
    running: Pin<Box<MaybeDone<Running<'a>>>>,
}

impl<'a> Faults<'a> {
    /// Lets them begin.
    pub fn begin(driver: Option<Driver<'a>>) -> Self {
        let calm = driver.as_ref().map(|driver| driver.calm().clone()).unwrap_or_default();
        let faults = async move {
            match driver {
                Some(driver) => driver.run().await,
                None => Ok(()),
            }
        };
        Self { calm, running: Box::pin(maybe_done(faults.boxed_local())) }
    }

    /// Does some work while they go on.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let _pending_or_done = self.running.as_mut().poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Ends them, and waits until everything is undone.
    pub async fn end(&mut self) {
        self.calm.cancel();
        self.running.as_mut().await;
    }

    /// What they ended with; Ok while they go on.
    ///
    /// # Errors
    /// The first that could not be carried out or undone.
    pub fn outcome(&mut self) -> Result<(), ChaosError> {
        self.running.as_mut().take_output().unwrap_or(Ok(()))
    }
}
