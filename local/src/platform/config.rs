//! How a platform is started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use centinela_aws::{AwsAccess, FaultSource, Latency, NoFaults, StoredItem};
use centinela_infra::Infrastructure;
use centinela_kafka_client::KafkaAccess;
use centinela_lambda_host::mapping::MappingFaultSource;
use centinela_lambda_host::mapping::faults::NoMappingFaults;
use centinela_serve::Calls;

use super::mapped::MappingKey;

/// Servers that are there already, instead of the embedded ones.
#[derive(Clone, Debug, Default)]
pub struct Servers {
    /// A Kafka.
    pub kafka: Option<KafkaAccess>,
    /// Endpoint of a DynamoDB.
    pub dynamodb: Option<String>,
    /// Endpoint of a Kinesis.
    pub kinesis: Option<String>,
    /// Endpoint of an S3.
    pub s3: Option<String>,
    /// Who asks them. Used for the embedded ones too, so that one set of credentials fits all.
    pub access: AwsAccess,
}

/// Ports that somebody wants to know beforehand; `None` takes a free one.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Ports {
    pub kafka: Option<u16>,
    pub dynamodb: Option<u16>,
    pub s3: Option<u16>,
    pub kinesis: Option<u16>,
    pub lambda: Option<u16>,
    pub api: Option<u16>,
    pub sns: Option<u16>,
}

/// Says who decides on the faults of a mapping, by which it is and how long it gathers records.
pub type FaultsOfMappings = Arc<dyn Fn(&MappingKey, Duration) -> Arc<dyn MappingFaultSource> + Send + Sync>;

/// How to start a platform.
#[derive(Clone)]
pub struct PlatformConfig {
    /// What there is to run.
    pub infrastructure: Infrastructure,
    /// The directory with the functions' binaries, each named like its package.
    pub binaries: PathBuf,
    /// Fixed ports.
    pub ports: Ports,
    /// Where the embedded S3 keeps its objects; `None` takes a temporary directory that is gone at the end.
    pub objects: Option<PathBuf>,
    /// What a topic of the embedded Kafka may take of the disk instead of the default.
    pub kafka_disk_bytes: Option<u64>,
    /// Environments per function instead of what is useful here.
    pub environments: Option<usize>,
    /// Invocations of a function are wanted at the same time, to work off a backlog or because faults need two of them. Otherwise fewer
    /// and larger batches are better for a machine that runs everything.
    pub overlapping: bool,
    /// Hand over every batch as soon as the one before is done, where a mapping would otherwise wait some milliseconds for larger ones.
    pub unpaced: bool,
    /// Faults of the mappings.
    pub mapping_faults: FaultsOfMappings,
    /// Faults of DynamoDB and Kinesis, embedded or not, and of the embedded S3.
    pub faults: Arc<dyn FaultSource>,
    /// Leave the mappings for [`Platform::start_mappings`](super::Platform::start_mappings), so that records can wait in the topics first.
    pub mappings_later: bool,
    /// How long a call to DynamoDB or Kinesis takes, embedded or not.
    pub latency: Option<Arc<Latency>>,
    /// Servers that are there already, instead of the embedded ones.
    pub servers: Servers,
    /// Tables whose items are noted before anything is decided.
    pub remembered_tables: Vec<String>,
    /// The items that a table of the embedded database begins with. Nobody else's table is touched.
    pub seeds: BTreeMap<String, Vec<StoredItem>>,
    /// Notes what the functions call of embedded services, for whoever asks what their roles must allow.
    pub calls: Calls,
    /// Takes what a person should know, a line at a time.
    pub say: Arc<dyn Fn(&str) + Send + Sync>,
}

impl PlatformConfig {
    /// Free ports, no faults, everything else as the stacks say.
    #[must_use]
    pub fn new(infrastructure: Infrastructure, binaries: &Path) -> Self {
        Self {
            infrastructure,
            binaries: binaries.to_owned(),
            ports: Ports::default(),
            objects: None,
            kafka_disk_bytes: None,
            environments: None,
            overlapping: false,
            unpaced: false,
            mapping_faults: Arc::new(|_, _| Arc::new(NoMappingFaults)),
            faults: Arc::new(NoFaults),
            mappings_later: false,
            latency: None,
            servers: Servers::default(),
            remembered_tables: Vec::new(),
            seeds: BTreeMap::new(),
            calls: Calls::default(),
            say: Arc::new(|line| tracing::info!(line, "platform")),
        }
    }
}
