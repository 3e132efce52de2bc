//! What the environment tells the function.

use std::fmt;
use std::sync::Arc;

use centinela_adapters::{KafkaConfig, LabelTables, NameForLogs};
use centinela_delivery::Settings;
use centinela_function::Environment;
use centinela_labels::Limits;

/// What is read, where labels and risk are, and where dead letters go.
pub struct Config {
    pub source_topic: String,
    pub tables: LabelTables,
    pub name_for_logs: NameForLogs,
    pub kafka: KafkaConfig,
    pub limits: Limits,
    pub settings: Settings,
}

impl Config {
    /// `None` without a key, for which nothing can stand in.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let [source_topic, dead_letters_topic] =
            ["SOURCE_TOPIC", "DEAD_LETTERS_TOPIC"].map(|name| environment.text(name));
        let [labels, users, devices] = ["LABEL_TABLE", "USER_TABLE", "DEVICE_TABLE"].map(|name| environment.text(name));
        if !source_topic.is_empty() && source_topic == dead_letters_topic {
            environment.problem(format!("SOURCE_TOPIC `{source_topic}` is also written to, which would never end"));
        }
        let limits = Limits { remembered: environment.seconds("LABEL_SECONDS"), ..Limits::default() };
        let access = environment.kafka();
        let keys = environment.keys()?;
        let (name, key) = (env!("CARGO_PKG_NAME"), keys.deployment.clone());
        let kafka = KafkaConfig::of_dead_letters(name, access, dead_letters_topic, key);
        let name_for_logs: NameForLogs = Arc::new(move |identifier| keys.pseudonyms.pseudonym(identifier).to_string());
        let (tables, settings) = (LabelTables { labels, users, devices }, Settings::new(keys.deployment));
        Some(Self { source_topic, tables, name_for_logs, kafka, limits, settings })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("source_topic", &self.source_topic)
            .field("tables", &self.tables)
            .field("limits", &self.limits)
            .field("kafka", &self.kafka)
            .finish_non_exhaustive()
    }
}
