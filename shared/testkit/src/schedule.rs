//! Polling by hand.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Gives the scheduler a chance to run something else, or to drop the caller.
pub fn yield_once() -> impl Future<Output = ()> + Send {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        // Futures that run side by side in one are polled only when they have been woken.
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Runs a future to its end without interruption.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

/// Runs a future up to its `steps`-th await and drops it there: a crash. Returns the output if it ended before.
pub fn run_and_crash<F: Future>(future: F, steps: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=steps {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(output);
        }
    }
    None
}

/// One step of a boxed future.
pub fn step<T>(future: &mut Pin<Box<dyn Future<Output = T>>>) -> Option<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
