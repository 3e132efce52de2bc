//! Handles every record of a Kinesis batch.

mod handler;
mod metrics;
mod use_case;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::ExampleName>().await
}
