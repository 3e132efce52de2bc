//! The embedded DynamoDB: the `dynoxide` engine on its memory database, behind a proxy of ours.
//!
//! The engine measures every write on the larger of its two images and every read on its whole item, as AWS does. Capacity has no limit
//! here; throttling comes from a [`FaultSource`] only.

mod engine;
mod quick;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use centinela_serve::ServerError;
use dynoxide::actions::create_table::CreateTableRequest;
use dynoxide::actions::scan::ScanRequest;
use dynoxide::actions::update_time_to_live::{TimeToLiveSpecification, UpdateTimeToLiveRequest};
use dynoxide::types::{AttributeDefinition, KeySchemaElement, KeyType, ScalarAttributeType};
use dynoxide::{AttributeValue, Database, DynoxideError, ImportOptions, Item};
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

use crate::fault::{FaultSource, NoFaults};
use crate::latency::Latency;
use crate::proxy::{DynamoStats, ProxiedService, Proxy};
use crate::specs::{AttrType, TableSpec};
use crate::stored::{StoredItem, version_of};
use engine::Engine;

/// AWS deletes expired items within days; a demonstration wants to see it.
const EXPIRY_SWEEP: Duration = Duration::from_secs(30);
/// Items that are put into a table or read back at once: each is in memory twice for that time.
const PAGE_ITEMS: usize = 1_000;

/// Why the embedded database cannot start, be filled or end in order.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DynamoError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("table {table} cannot be created")]
    Table {
        table: String,
        #[source]
        source: Box<DynoxideError>,
    },
    /// A table of the embedded database could not be given its first items.
    #[error("table {table} cannot be filled")]
    Seed {
        table: String,
        #[source]
        source: Box<DynoxideError>,
    },
    #[error("table `{table}` cannot be read back")]
    ReadBack { table: String, source: Box<DynoxideError> },
    #[error("the embedded dynamodb cannot open its memory database")]
    Open(#[source] Box<DynoxideError>),
}

/// How to start the database.
#[derive(Clone)]
pub struct DynamoConfig {
    /// The port to listen on; `None` takes a free one.
    pub port: Option<u16>,
    /// The tables that exist from the start.
    pub tables: Vec<TableSpec>,
    /// Decides which requests go wrong.
    pub faults: Arc<dyn FaultSource>,
    /// How long a call takes; `None` leaves it as long as it takes.
    pub latency: Option<Arc<Latency>>,
}

impl Default for DynamoConfig {
    fn default() -> Self {
        Self { port: None, tables: Vec::new(), faults: Arc::new(NoFaults), latency: None }
    }
}

impl std::fmt::Debug for DynamoConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoConfig").field("port", &self.port).field("tables", &self.tables).finish_non_exhaustive()
    }
}

/// A running database. Dropping it stops it without waiting.
pub struct DynamoDb {
    proxy: Proxy,
    database: Database,
    engine: Arc<Engine>,
    expiry: JoinHandle<()>,
}

impl std::fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DynamoDb").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl DynamoDb {
    /// Starts an empty database with its tables.
    ///
    /// # Errors
    /// When the port is taken or a table is not valid.
    pub fn start(config: DynamoConfig) -> BoxFuture<'static, Result<Self, DynamoError>> {
        Box::pin(Self::begin(config))
    }

    async fn begin(config: DynamoConfig) -> Result<Self, DynamoError> {
        let database = Database::memory().map_err(|source| DynamoError::Open(Box::new(source)))?;
        for table in &config.tables {
            create_table(&database, table)
                .map_err(|source| DynamoError::Table { table: table.name.clone(), source: Box::new(source) })?;
        }
        let engine = Arc::new(Engine::new(database.clone()));
        let service = ProxiedService::DynamoDb;
        let upstream = Arc::clone(&engine);
        let proxy = Proxy::before(upstream, service, config.port, config.faults, config.latency).await?;
        let expiry = tokio::spawn(sweep_expired(Arc::clone(&engine)));
        Ok(Self { proxy, database, engine, expiry })
    }

    /// The endpoint URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.proxy.url()
    }

    /// What was asked and what it would have cost so far.
    #[must_use]
    pub fn snapshot(&self) -> DynamoStats {
        self.proxy.snapshot()
    }

    /// Puts items into a table, each as if every group of it had been written once: its version is 1. It is not counted.
    ///
    /// # Errors
    /// When there is no such table with that key.
    pub fn seed(&self, table: &str, items: &[StoredItem]) -> Result<(), DynamoError> {
        let item = |stored: &StoredItem| {
            let groups = stored.groups.iter().map(|(name, bytes)| (name.clone(), AttributeValue::B(bytes.clone())));
            let versions = stored.groups.keys().filter_map(|name| version_of(name));
            let versions = versions.map(|name| (name.to_owned(), AttributeValue::N("1".to_owned())));
            let texts = stored.texts.iter().map(|(name, text)| (name.clone(), AttributeValue::S(text.clone())));
            let key = ("pk".to_owned(), AttributeValue::S(stored.key.clone()));
            [key].into_iter().chain(groups).chain(versions).chain(texts).collect::<Item>()
        };
        let mut quick = self.engine.quick();
        quick.forget(table);
        for states in items.chunks(PAGE_ITEMS) {
            self.database
                .import_items(table, states.iter().map(item).collect(), ImportOptions::default())
                .map_err(|source| DynamoError::Seed { table: table.to_owned(), source: Box::new(source) })?;
        }
        quick.load(table);
        Ok(())
    }

    /// Every item of a table, in no order. It is not counted.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn items(&self, table: &str) -> Result<Vec<StoredItem>, DynamoError> {
        let failed = |source| DynamoError::ReadBack { table: table.to_owned(), source: Box::new(source) };
        let mut quick = self.engine.quick();
        let items = match quick.items(table) {
            Some(items) => Ok(items),
            None => quick.settle(table).and_then(|()| self.scan(table)),
        };
        Ok(items.map_err(failed)?.into_iter().filter_map(stored).collect())
    }

    fn scan(&self, table: &str) -> Result<Vec<Item>, DynoxideError> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let request = ScanRequest {
                table_name: table.to_owned(),
                limit: Some(PAGE_ITEMS),
                exclusive_start_key: from,
                ..ScanRequest::default()
            };
            let page = self.database.scan(request)?;
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// Finishes open requests, stops and forgets every item.
    ///
    /// # Errors
    /// When a task of the database panicked.
    pub async fn shutdown(self) -> Result<(), ServerError> {
        self.expiry.abort();
        self.proxy.shutdown().await
    }
}

/// None of an item without a key of text.
fn stored(mut item: Item) -> Option<StoredItem> {
    let Some(AttributeValue::S(key)) = item.remove("pk") else { return None };
    let mut stored = StoredItem { key, ..StoredItem::default() };
    for (name, value) in item {
        match value {
            AttributeValue::B(bytes) => drop(stored.groups.insert(name, bytes)),
            AttributeValue::S(text) => drop(stored.texts.insert(name, text)),
            _ => {}
        }
    }
    Some(stored)
}

impl From<AttrType> for ScalarAttributeType {
    fn from(kind: AttrType) -> Self {
        match kind {
            AttrType::S => Self::S,
            AttrType::N => Self::N,
            AttrType::B => Self::B,
        }
    }
}

fn create_table(database: &Database, table: &TableSpec) -> Result<(), DynoxideError> {
    let keys = [Some((&table.partition_key, KeyType::HASH)), table.sort_key.as_ref().map(|key| (key, KeyType::RANGE))];
    let (key_schema, attribute_definitions) = keys
        .into_iter()
        .flatten()
        .map(|((name, kind), key_type)| {
            (
                KeySchemaElement { attribute_name: name.clone(), key_type },
                AttributeDefinition { attribute_name: name.clone(), attribute_type: (*kind).into() },
            )
        })
        .unzip();
    database.create_table(CreateTableRequest {
        table_name: table.name.clone(),
        key_schema,
        attribute_definitions,
        billing_mode: Some("PAY_PER_REQUEST".to_owned()),
        ..CreateTableRequest::default()
    })?;
    if let Some(attribute_name) = table.ttl_attribute.clone() {
        database.update_time_to_live(UpdateTimeToLiveRequest {
            table_name: table.name.clone(),
            time_to_live_specification: TimeToLiveSpecification { attribute_name, enabled: true },
        })?;
    }
    Ok(())
}

async fn sweep_expired(engine: Arc<Engine>) {
    let mut ticks = tokio::time::interval(EXPIRY_SWEEP);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let swept = Arc::clone(&engine);
        match tokio::task::spawn_blocking(move || swept.expire()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(items)) => tracing::debug!(items, "expired items were deleted"),
            Ok(Err(error)) => tracing::warn!(%error, "expired items were not deleted"),
            Err(error) => tracing::warn!(%error, "the sweep of expired items ended early"),
        }
    }
}
