//! Answers requests of an HTTP API.

mod handler;
mod metrics;
mod problem;
mod use_case;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::ExampleName>().await
}
