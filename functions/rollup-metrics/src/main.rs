//! Adds up what was decided in every window of ten seconds.

mod config;
mod handler;
mod metrics;

// One thread: an invocation waits for the network nearly all the time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::RollupMetrics>().await
}
