//! Lists, shows, sends back and drops dead letters, when an operator asks for it.

mod config;
mod handler;
mod metrics;

// With two threads: while one waits for Kafka's client the other goes on.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::RedriveDeadLetters>().await
}
