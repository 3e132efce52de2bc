//! Makes every hour of the lake exact: few sorted files, each record once, behind one manifest.

mod config;
mod handler;
mod metrics;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::CompactLake>().await
}
