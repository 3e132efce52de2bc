//! Decides every transaction of a Kafka batch once and publishes the decisions.

mod config;
mod handler;
mod metrics;
mod model;

// Stored users and decisions are made and dropped by the hundred thousand; why not the allocator of libc: docs/decisions/0038.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// One thread: an invocation waits for the network nearly all the time, and the Kafka client brings its own threads.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::ScoreTransactions>().await
}
