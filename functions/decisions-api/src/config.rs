//! What the environment tells the function.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use centinela_adapters::{ApiTables, IngestConfig, NameForLogs};
use centinela_api::Settings;
use centinela_domain::Currency;
use centinela_function::Environment;

use crate::caller::{Callers, Readers};

/// How long the Kafka client tries to deliver a record; within the function's time.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(4);

/// Where it reads and writes, and what its callers may.
pub struct Config {
    pub tables: ApiTables,
    pub name_for_logs: NameForLogs,
    pub kafka: IngestConfig,
    pub settings: Settings,
    pub callers: Callers,
}

impl Config {
    /// `None` without a key, for which nothing can stand in.
    pub fn read(environment: &mut Environment<'_>) -> Option<Self> {
        let [transactions, user_actions, events] =
            ["TRANSACTIONS_TOPIC", "USER_ACTIONS_TOPIC", "EVENTS_TOPIC"].map(|name| environment.text(name));
        let tables = ApiTables {
            users: environment.text("USER_TABLE"),
            decisions: environment.optional("DECISION_TABLE"),
            metrics: environment.optional("METRIC_TABLE"),
        };
        let decision_wait = milliseconds(environment, "DECISION_WAIT_MS", 400);
        let metrics_window =
            environment.parsed("METRIC_WINDOW_SECONDS", 10, "a number of seconds from 1 to 900", |text| {
                text.parse().ok().filter(|seconds| (1..=900).contains(seconds)).ok_or(())
            });
        let default_currency = environment.parsed(
            "DEFAULT_CURRENCY",
            Currency::DEFAULT,
            "a currency of ISO 4217, such as EUR",
            Currency::new,
        );
        let callers = Callers {
            score_readers: Readers::of(environment.optional("SCORE_READERS").as_deref().unwrap_or_default()),
            scope_prefix: environment.optional("SCOPE_PREFIX").unwrap_or_default(),
        };
        let access = environment.kafka();
        let keys = environment.keys()?;
        let kafka = IngestConfig {
            access,
            client_id: env!("CARGO_PKG_NAME").to_owned(),
            transactions,
            user_actions,
            events,
            deployment_key: keys.deployment.clone(),
            message_timeout: MESSAGE_TIMEOUT,
        };
        let name_for_logs: NameForLogs = Arc::new(move |identifier| keys.pseudonyms.pseudonym(identifier).to_string());
        let settings = Settings {
            deployment: keys.deployment,
            default_currency,
            decision_wait,
            metrics_window: Duration::from_secs(metrics_window),
        };
        Some(Self { tables, name_for_logs, kafka, settings, callers })
    }
}

fn milliseconds(environment: &mut Environment<'_>, name: &'static str, default: u64) -> Duration {
    let wanted = "a number of milliseconds from 0 to 25000";
    let parse = |text: &str| text.parse().ok().filter(|ms| *ms <= 25_000).ok_or(());
    Duration::from_millis(environment.parsed(name, default, wanted, parse))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("tables", &self.tables)
            .field("kafka", &self.kafka)
            .field("settings", &self.settings)
            .field("callers", &self.callers)
            .finish_non_exhaustive()
    }
}
