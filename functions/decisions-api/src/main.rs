//! The HTTP API: look-ups, decisions on request, and records into Kafka.

mod caller;
mod config;
mod handler;
mod metrics;

// One thread: an invocation waits for the network nearly all the time, and the Kafka client brings its own threads.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::DecisionsApi>().await
}
