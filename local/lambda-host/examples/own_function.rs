//! Runs a function binary of your own on a Kafka topic, as Lambda would, until Ctrl-C:
//!
//! ```text
//! cargo run --release --example own_function -- target/release/bootstrap orders localhost:9092
//! ```
//!
//! Without the last argument it starts the embedded broker and says where that is.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use centinela_broker::{Broker, BrokerConfig};
use centinela_kafka_client::{TopicSpec, create_topics};
use centinela_lambda_host::mapping::{KafkaMapping, KafkaMappingSpec, StartingPosition};
use centinela_lambda_host::{FunctionHost, FunctionSpec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(binary), Some(topic)) = (arguments.next(), arguments.next()) else {
        return Err("usage: own_function BINARY TOPIC [HOST:PORT of a Kafka that has the topic]".into());
    };
    let (bootstrap, embedded) = match arguments.next() {
        Some(bootstrap) => (bootstrap, None),
        None => {
            let broker = Broker::start(BrokerConfig::default()).await?;
            create_topics(
                &broker.bootstrap(),
                &[TopicSpec { name: topic.clone(), partitions: 4, config: BTreeMap::new() }],
            )
            .await?;
            (broker.bootstrap(), Some(broker))
        }
    };

    // What `AWS::Lambda::Function` says.
    let host = FunctionHost::start(FunctionSpec {
        name: "own-function".to_owned(),
        binary: PathBuf::from(&binary),
        environment: BTreeMap::from([("RUST_LOG".to_owned(), "info".to_owned())]),
        timeout: Duration::from_secs(30),
        memory_mb: 256,
        concurrency_max: 4,
        nice: 0,
    })
    .await?;
    let mut logs = host.logs();
    tokio::spawn(async move {
        while let Some(line) = logs.recv().await {
            println!("[{}] {}", line.pid, line.text);
        }
    });
    // Ends with the function's own words when it does not start.
    host.warm(1).await?;

    // What `AWS::Lambda::EventSourceMapping` says.
    let spec = KafkaMappingSpec {
        batch_size: 500,
        window: Duration::from_millis(500),
        starting_position: StartingPosition::TrimHorizon,
        report_batch_item_failures: true,
        ..KafkaMappingSpec::new("own-function", &topic, "own-function")
    };
    let mapping = KafkaMapping::start(spec, &bootstrap, &BTreeMap::new(), Arc::clone(&host)).await?;
    println!("topic {topic} at {bootstrap} invokes {binary}; Ctrl-C ends it");
    tokio::signal::ctrl_c().await?;

    mapping.stop().await?;
    let stats = mapping.stats();
    println!("{} records in {} invocations, {} of them retried", stats.records, stats.batches, stats.retried_batches);
    host.stop(Duration::from_secs(10)).await;
    if let Some(broker) = embedded {
        broker.shutdown().await?;
    }
    Ok(())
}
