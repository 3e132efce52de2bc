//! The brake: at an alarm of spend or of something that runs away it disables mappings and lowers concurrency, as its plans say.

mod config;
mod handler;
mod metrics;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::GuardCosts>().await
}
