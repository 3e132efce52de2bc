//! Decides every transaction of a Kafka batch once and publishes the decisions.

mod config;
mod handler;

use std::time::Instant;

use lambda_runtime::{Error, run, service_fn};
use tracing::error;

use crate::config::Config;
use crate::handler::Handler;

// One thread: an invocation waits for the network nearly all the time, and the Kafka client brings its own threads.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let started = Instant::now();
    centinela_telemetry::init()?;
    let handler = start(started).await.inspect_err(|error| error!(error = &**error, "the function cannot start"))?;
    run(service_fn(|event| handler.handle(event))).await
}

async fn start(started: Instant) -> Result<Handler, Error> {
    Handler::connect(Config::from_env()?, started).await
}
