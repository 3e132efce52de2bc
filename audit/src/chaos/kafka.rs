//! Faults of Kafka and of its topics.

use std::time::{Duration, Instant};

use centinela_local::kafka::TopicSpec;
use centinela_local::mapping::MappingError;

use super::driver::first_error;
use super::kinds::Kind;
use super::plan::PARTITIONS_ADDED;
use super::surroundings::{ChaosError, REST_LIMIT, Surroundings};

/// A recreated topic is told from a replay by its records' times: this much later than the deleted topic's last record.
const RECREATED_LATER: Duration = Duration::from_secs(11);
const LOOK: Duration = Duration::from_millis(10);

impl Surroundings<'_> {
    /// Lets topics refuse records for a while.
    pub(super) async fn refuse(&self, kind: Kind, topics: &[TopicSpec], lasts: Duration) -> Result<(), ChaosError> {
        let mut outcome = Ok(());
        for topic in topics {
            outcome = first_error(outcome, self.set_refusing(topic, true).await);
        }
        if outcome.is_ok() {
            self.tally.happened(kind);
            self.tally.led_to(kind, lasts.as_millis() as u64, "ms in all");
            self.wait(lasts).await;
            self.tally.led_to(kind, self.lag(), "records behind at the end of it");
        }
        for topic in topics {
            outcome = first_error(outcome, self.set_refusing(topic, false).await);
        }
        outcome
    }

    async fn set_refusing(&self, topic: &TopicSpec, refusing: bool) -> Result<(), ChaosError> {
        match self.platform.broker() {
            Some(broker) => {
                broker.set_refusing(&topic.name, refusing);
            }
            None => self.admin().await?.set_refusing(&topic.name, &topic.config, refusing).await?,
        }
        Ok(())
    }

    pub(super) async fn restart_broker(&self, down: Duration) -> Result<(), ChaosError> {
        let Some(mut away) = self.kafka.away(&self.calm).await else { return Ok(()) };
        let started = Instant::now();
        if away.restart(self.platform.broker(), down).await? {
            self.tally.happened(Kind::BrokerRestart);
            self.tally.led_to(Kind::BrokerRestart, started.elapsed().as_millis() as u64, "ms away in all");
        }
        Ok(())
    }

    pub(super) async fn freeze_broker(&self, lasts: Duration) -> Result<(), ChaosError> {
        let Some(away) = self.kafka.away(&self.calm).await else { return Ok(()) };
        let Some(frozen) = away.freeze(self.platform.broker())? else { return Ok(()) };
        self.tally.happened(Kind::BrokerFrozen);
        self.tally.led_to(Kind::BrokerFrozen, lasts.as_millis() as u64, "ms in all");
        self.wait(lasts).await;
        drop(frozen);
        self.tally.led_to(Kind::BrokerFrozen, self.lag(), "records behind at the end of it");
        Ok(())
    }

    pub(super) async fn add_partitions(&self) -> Result<(), ChaosError> {
        // In a short run the topic may still be away, which it is once the producer has come to rest.
        while self.gate.is_closed() && self.gate.is_quiet() {
            if self.calm.is_cancelled() {
                return Ok(());
            }
            self.wait(LOOK).await;
        }
        let topic = &self.transactions.name;
        let mappings = self.mappings_of(topic);
        // Of the mapping that has fewest, as all of them are to have more.
        let partitions = || mappings.iter().map(|mapping| mapping.stats().partitions).min().unwrap_or(0);
        let before = partitions();
        let wanted = before + PARTITIONS_ADDED;
        match self.platform.broker() {
            Some(broker) => {
                broker.add_partitions(topic, wanted);
            }
            None => self.admin().await?.add_partitions(topic, wanted).await?,
        }
        self.reader.grow(topic, wanted);
        self.tally.happened(Kind::PartitionsAdded);
        while partitions() < wanted && !self.calm.is_cancelled() {
            self.wait(LOOK).await;
        }
        let joined = partitions().saturating_sub(before) as u64;
        self.tally.led_to(Kind::PartitionsAdded, joined, "partitions joined every mapping");
        Ok(())
    }

    /// As an operator must do it: nothing is sent, everything is committed, its mappings are disabled and their invocations have ended,
    /// and the new topic's records are clearly later. While the brake holds one of its mappings, what waits would be lost: then the topic
    /// stays. Meanwhile the brake has to wait, for a mapping that it had disabled would be enabled here.
    pub(super) async fn recreate(&self) -> Result<(), ChaosError> {
        let Some(_held) = self.platform.hold_mappings(&self.transactions.name) else {
            tracing::info!("the topic is not recreated: a mapping of it is disabled");
            return Ok(());
        };
        self.gate.close(true);
        let outcome = self.recreate_at_rest().await;
        self.gate.close(false);
        outcome
    }

    async fn recreate_at_rest(&self) -> Result<(), ChaosError> {
        while !self.gate.is_quiet() {
            if self.calm.is_cancelled() {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        let last_record = Instant::now();
        let mappings = self.mappings_of(&self.transactions.name);
        for mapping in &mappings {
            match mapping.drain(REST_LIMIT).await {
                Err(MappingError::NotDrained { records, .. }) => return Err(ChaosError::Restless { records }),
                outcome => outcome?,
            }
        }
        let mut disabled = Ok(());
        for mapping in &mappings {
            disabled = first_error(disabled, mapping.disable().await.map_err(ChaosError::from));
        }
        let recreated = match disabled {
            Ok(()) => self.delete_and_create(last_record).await,
            Err(error) => Err(error),
        };
        // Whatever became of the topic, no mapping must stay behind.
        let mut enabled = Ok(());
        for mapping in &mappings {
            enabled = first_error(enabled, mapping.enable().await.map_err(ChaosError::from));
        }
        recreated?;
        enabled?;
        self.tally.happened(Kind::Recreated);
        self.tally.led_to(Kind::Recreated, last_record.elapsed().as_millis() as u64, "ms without traffic");
        Ok(())
    }

    async fn delete_and_create(&self, last_record: Instant) -> Result<(), ChaosError> {
        let topic = &self.transactions;
        self.reader.leave(&topic.name).await.map_err(|_| ChaosError::Reader)?;
        self.admin().await?.delete(&topic.name).await?;
        tokio::time::sleep(RECREATED_LATER.saturating_sub(last_record.elapsed())).await;
        self.admin().await?.create(topic).await?;
        self.tracker.topic_recreated();
        self.reader.restart(&topic.name, topic.partitions);
        Ok(())
    }
}
