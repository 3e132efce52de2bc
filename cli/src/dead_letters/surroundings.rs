//! Where the dead letters are, and what is asked beside: flags, or the file that `up --endpoints` wrote.

use std::path::PathBuf;

use centinela_contracts::keyed::DeploymentKey;
use centinela_domain::Currency;
use centinela_infra::Infrastructure;
use centinela_local::kafka;
use centinela_redrive::{Settings, Topics};
use centinela_redrive_adapters::{Cluster, Config, Lake, Marks};

use crate::dynamodb;
use crate::endpoints_file::EndpointsFile;
use crate::failure::Failure;
use crate::kafka_args::KafkaSecurity;
use crate::query::bucket::Bucket;

/// Holds the deployment's key. Never a flag: other users of a machine see those.
const KEY_VARIABLE: &str = "PSEUDONYM_KEY";
/// As short a key as the functions take.
const KEY_BYTES_MIN: usize = 16;

/// Where the dead letters are.
#[derive(Debug, clap::Args)]
pub struct Where {
    /// The brokers.
    #[arg(long, value_name = "HOST:PORT[,...]", required_unless_present = "endpoints")]
    pub kafka: Option<String>,
    /// How to get into it.
    #[command(flatten)]
    pub kafka_security: KafkaSecurity,
    /// The file that a running `centinela up --endpoints FILE` wrote.
    #[arg(long, value_name = "FILE")]
    pub endpoints: Option<PathBuf>,
    /// The topic of the dead letters.
    #[arg(long, value_name = "TOPIC", default_value = "dead-letters")]
    pub dead_letters_topic: String,
    /// The consumer group that keeps what is handled.
    #[arg(long, value_name = "NAME", default_value = "redrive-dead-letters")]
    pub handled_by: String,
    /// What a transaction without a currency is in, as for the function that decides.
    #[arg(long, value_name = "CODE", default_value = "USD")]
    pub default_currency: String,
}

/// What is asked beside Kafka.
#[derive(Debug, clap::Args)]
pub struct Beside {
    /// Use this DynamoDB instead of AWS.
    #[arg(long, value_name = "URL")]
    pub dynamodb: Option<String>,
    /// The table of settled offsets, with the prefix of its environment.
    #[arg(long, value_name = "NAME", default_value = "settled_offsets")]
    pub table: String,
    /// The consumer group of the mapping that reads the transactions.
    #[arg(long, value_name = "NAME", default_value = "score-transactions")]
    pub group: String,
    /// The lake, for decisions that their topics do not keep any more.
    #[arg(long, value_name = "s3://BUCKET")]
    pub lake: Option<String>,
}

impl Where {
    fn read(&self) -> Result<Option<EndpointsFile>, Failure> {
        self.endpoints.as_deref().map(EndpointsFile::read).transpose()
    }

    /// What letters are read with. Without a key nothing can be sent.
    pub(super) fn settings(&self, needs_key: bool) -> Result<Settings, Failure> {
        let secret = match std::env::var(KEY_VARIABLE).ok().filter(|secret| !secret.is_empty()) {
            Some(secret) => Some(secret),
            None if self.endpoints.is_some() => of_the_laptop()?,
            None => None,
        };
        let key = match secret {
            Some(secret) if secret.len() < KEY_BYTES_MIN => {
                return Err(Failure::Usage(format!("{KEY_VARIABLE} must have at least {KEY_BYTES_MIN} bytes")));
            }
            Some(secret) => {
                let key = DeploymentKey::new(secret.as_bytes());
                Some(key.map_err(|error| Failure::Usage(format!("{KEY_VARIABLE}: {error}")))?)
            }
            None if needs_key => {
                return Err(Failure::Usage(format!(
                    "{KEY_VARIABLE} is not set: records go back with headers that the deployment's key signs"
                )));
            }
            None => None,
        };
        let default_currency = Currency::new(&self.default_currency);
        let default_currency =
            default_currency.map_err(|error| Failure::Usage(format!("--default-currency: {error}")))?;
        let topics = Topics {
            transactions: "transactions".to_owned(),
            user_actions: "user_actions".to_owned(),
            events: "events".to_owned(),
        };
        Ok(Settings { key, default_currency, topics })
    }

    /// The cluster with what is asked beside it.
    pub(super) async fn cluster(&self, beside: Option<&Beside>) -> Result<Cluster, Failure> {
        let endpoints = self.read()?;
        let named = |field: &str| endpoints.as_ref().and_then(|file| file.text(field).map(str::to_owned));
        let bootstrap = self.kafka.clone().or_else(|| named("kafka"));
        let bootstrap = bootstrap.ok_or_else(|| Failure::Usage("the endpoints file names no `kafka`".to_owned()))?;
        let config = Config {
            access: self.kafka_security.access(&bootstrap)?,
            dead_letters: self.dead_letters_topic.clone(),
            group: self.handled_by.clone(),
            transactions: "transactions".to_owned(),
            decisions: ["approved", "blocked"].map(str::to_owned).to_vec(),
        };
        let (access, topic) = (config.access.clone(), config.dead_letters.clone());
        let shown = tokio::task::spawn_blocking(move || kafka::shows(&access, &topic)).await;
        // It says why where nobody answers.
        if !shown.map_err(|error| Failure::failed(&error))?.map_err(|error| Failure::failed(&error))? {
            let topic = &config.dead_letters;
            return Err(Failure::Usage(format!("kafka at {bootstrap} has no topic `{topic}` that we may see")));
        }
        let (marks, lake) = match beside {
            Some(beside) => {
                let url = beside.dynamodb.clone().or_else(|| named("dynamodb"));
                let (client, _) = dynamodb::open(url.as_deref()).await?;
                let (table, group) = (beside.table.clone(), beside.group.clone());
                (Some(Marks { client, table, group }), self.lake(beside).await?)
            }
            None => (None, None),
        };
        Cluster::new(config, marks, lake).map_err(|error| Failure::failed(&error))
    }

    async fn lake(&self, beside: &Beside) -> Result<Option<Lake>, Failure> {
        let name = beside.lake.as_deref().map(|lake| lake.strip_prefix("s3://").unwrap_or(lake).trim_end_matches('/'));
        let bucket = match (&self.endpoints, name) {
            (Some(file), name) => Some(Bucket::of_endpoints(file, name).await?),
            (None, Some(name)) => Some(Bucket::of_aws(name).await?),
            (None, None) => None,
        };
        Ok(bucket.map(|bucket| bucket.lake()))
    }
}

/// The key that the functions of `centinela up` have: no secret.
fn of_the_laptop() -> Result<Option<String>, Failure> {
    let stacks = Infrastructure::bundled("local").map_err(|error| Failure::failed(&error))?;
    Ok(stacks.functions.into_iter().find_map(|mut function| function.environment.remove(KEY_VARIABLE)))
}
