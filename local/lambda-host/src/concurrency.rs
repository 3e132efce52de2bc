//! How many invocations of a function may run at a time, which can be changed while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Permits for invocations. Lowering it takes permits as they come free: what runs runs on.
pub(super) struct Concurrency {
    permits: Arc<Semaphore>,
    most: usize,
    state: Mutex<State>,
}

struct State {
    allowed: usize,
    withheld: Vec<OwnedSemaphorePermit>,
    taking: Option<AbortHandle>,
}

impl Concurrency {
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        let state = State { allowed: most, withheld: Vec::new(), taking: None };
        Self { permits: Arc::new(Semaphore::new(most)), most, state: Mutex::new(state) }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        Arc::clone(&self.permits).acquire_owned().await
    }

    /// Gives no turns any more.
    pub(super) fn close(&self) {
        self.permits.close();
    }

    /// Whether nobody gets a turn until more is allowed.
    pub(super) fn is_none_allowed(&self) -> bool {
        self.state().allowed == 0
    }

    /// How many may run at a time now.
    pub(super) fn allowed(&self) -> usize {
        self.state().allowed
    }

    /// Allows so many from now on, at most what it began with.
    pub(super) fn allow(self: &Arc<Self>, allowed: usize) {
        let mut state = self.state();
        if let Some(taking) = state.taking.take() {
            taking.abort();
        }
        state.allowed = allowed.min(self.most);
        let wanted = self.most - state.allowed;
        state.withheld.truncate(wanted);
        while state.withheld.len() < wanted {
            let Ok(free) = Arc::clone(&self.permits).try_acquire_owned() else { break };
            state.withheld.push(free);
        }
        if state.withheld.len() < wanted {
            state.taking = Some(tokio::spawn(Arc::clone(self).withhold()).abort_handle());
        }
    }

    async fn withhold(self: Arc<Self>) {
        loop {
            // Closed: the function is stopped.
            let Ok(permit) = self.turn().await else { return };
            let mut state = self.state();
            let wanted = self.most - state.allowed;
            if state.withheld.len() < wanted {
                state.withheld.push(permit);
            }
            if wanted <= state.withheld.len() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn what_runs_runs_on_and_nothing_more_is_let_in() {
        let concurrency = Arc::new(Concurrency::new(3));
        let (first, second) = (concurrency.turn().await, concurrency.turn().await);
        concurrency.allow(1);
        // The free permit is taken at once, the second when it comes back.
        assert!(concurrency.turn().now_or_never().is_none());
        drop(second);
        while concurrency.state().withheld.len() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(concurrency.turn().now_or_never().is_none(), "one runs, and one is allowed");
        drop(first);
        let only = concurrency.turn().await;
        assert!(only.is_ok() && concurrency.turn().now_or_never().is_none());
        concurrency.allow(usize::MAX);
        let more = [concurrency.turn().await, concurrency.turn().await];
        assert!(more.iter().all(Result::is_ok) && concurrency.turn().now_or_never().is_none());
        assert_eq!(concurrency.allowed(), 3);
    }
}
