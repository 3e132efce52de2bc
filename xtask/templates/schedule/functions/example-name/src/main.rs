//! Does one run of a schedule.

mod handler;
mod metrics;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), centinela_function::Error> {
    centinela_function::run::<handler::ExampleName>().await
}
