//! One invocation: from the event to the answer.

use std::time::Duration;

use centinela_delivery::Causes;
use centinela_function::{Answer, Environment, Error, Failure, Function, Invocation};
use centinela_lake::archive::{self, Archived};
use centinela_lake::rows::Reading;
use centinela_lake::table::Table;
use centinela_object_store::S3Lake;
use centinela_telemetry::emf::Metrics;
use tracing::warn;

use crate::config::Config;
use crate::metrics::Counts;

/// Pause before a batch is answered of which something was refused: a missing grant or a missing key refuses at once and again.
const REFUSED_PAUSE: Duration = Duration::from_secs(4);

/// The function between two invocations.
pub struct ArchiveRecords {
    store: S3Lake,
    reading: Reading,
    topics: [&'static str; Table::ALL.len()],
}

impl Function for ArchiveRecords {
    type Config = Config;
    type Counts = Counts;

    fn configure(environment: &mut Environment<'_>) -> Option<Config> {
        Config::read(environment)
    }

    async fn connect(config: Config) -> Result<Self, Error> {
        let store = S3Lake::from_environment(&config.bucket).await?;
        Ok(Self { store, reading: config.reading, topics: Table::ALL.map(Table::topic) })
    }

    async fn handle(&self, invocation: &Invocation<'_>) -> Result<Answer<Counts>, Failure> {
        let deadline = invocation.deadline();
        let batch = invocation.kafka_batch_of_one(&self.topics)?;
        let archived = match batch.and_then(|(topic, batch)| Some((Table::of_topic(topic)?, batch))) {
            Some((table, batch)) => {
                let archived = archive::archive(&self.store, &self.reading, table, &batch, deadline.work).await;
                archived.map_err(|error| Failure::of_batch("Centinela.BatchUnsettled", &error))?
            }
            None => Archived::default(),
        };
        if let Some((partitions, error)) = &archived.failed {
            warn!(partitions, error = %Causes(error), "partitions are not in the lake and will be delivered again");
        }
        if archived.refused {
            let left_ms = deadline.answer.since(deadline.work).max(0).unsigned_abs();
            tokio::time::sleep(REFUSED_PAUSE.min(Duration::from_millis(left_ms))).await;
        }
        let metrics = Metrics { counts: counts(&archived), ..Metrics::default() };
        Ok(Answer { body: archived.response.encode(), metrics })
    }
}

fn counts(archived: &Archived) -> Counts {
    Counts {
        records: archived.records,
        rows: archived.rows,
        objects: archived.objects,
        bytes: archived.bytes,
        unreadable: archived.unreadable,
        unplaced: archived.unplaced,
        failed: archived.response.failures.len() as u64,
    }
}
