//! Puts every record of every business topic into the lake.

mod config;
mod handler;
mod metrics;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::ArchiveRecords>().await
}
