//! What the environment tells the function.

use centinela_adapters::KafkaConfig;
use centinela_delivery::Settings;
use centinela_function::Environment;

/// What is read, and where dead letters go.
#[derive(Debug)]
pub struct Config {
    pub source_topic: String,
    pub kafka: KafkaConfig,
    pub settings: Settings,
}

impl Config {
    /// `None` without a key, which has no stand-in.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let [source_topic, dead_letters_topic] =
            ["SOURCE_TOPIC", "DEAD_LETTERS_TOPIC"].map(|name| environment.text(name));
        if !source_topic.is_empty() && source_topic == dead_letters_topic {
            environment.problem(format!("SOURCE_TOPIC `{source_topic}` is also written to, which would never end"));
        }
        let access = environment.kafka();
        let keys = environment.keys()?;
        let (name, key) = (env!("CARGO_PKG_NAME"), keys.deployment.clone());
        let kafka = KafkaConfig::of_dead_letters(name, access, dead_letters_topic, key);
        Some(Self { source_topic, kafka, settings: Settings::new(keys.deployment) })
    }
}
