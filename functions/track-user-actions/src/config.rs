//! What the environment tells the function.

use std::fmt;
use std::sync::Arc;

use centinela_adapters::aws::WireClient;
use centinela_adapters::{KafkaConfig, NameForLogs};
use centinela_delivery::Settings;
use centinela_function::Environment;

/// What is read, where profiles are, and where dead letters go.
pub struct Config {
    pub source_topic: String,
    pub user_table: String,
    pub name_for_logs: NameForLogs,
    pub kafka: KafkaConfig,
    /// Which client asks DynamoDB.
    pub client: WireClient,
    pub settings: Settings,
}

impl Config {
    /// `None` without a key, for which nothing can stand in.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let [source_topic, dead_letters_topic, user_table] =
            ["SOURCE_TOPIC", "DEAD_LETTERS_TOPIC", "USER_TABLE"].map(|name| environment.text(name));
        if !source_topic.is_empty() && source_topic == dead_letters_topic {
            environment.problem(format!("SOURCE_TOPIC `{source_topic}` is also written to, which would never end"));
        }
        let access = environment.kafka();
        let client = environment.wire_client();
        let keys = environment.keys()?;
        let (name, key) = (env!("CARGO_PKG_NAME"), keys.deployment.clone());
        let kafka = KafkaConfig::of_dead_letters(name, access, dead_letters_topic, key);
        let name_for_logs: NameForLogs = Arc::new(move |identifier| keys.pseudonyms.pseudonym(identifier).to_string());
        Some(Self { source_topic, user_table, name_for_logs, kafka, client, settings: Settings::new(keys.deployment) })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("source_topic", &self.source_topic)
            .field("user_table", &self.user_table)
            .field("kafka", &self.kafka)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
