//! What a deployment asks AWS for, as plain numbers. Whoever reads the stacks fills it.

use serde::Serialize;

/// Everything that a bill is made of and that the stacks decide.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Sizes {
    /// Name of the environment.
    pub environment: String,
    /// Kafka's brokers.
    pub brokers: Brokers,
    /// Kafka topics.
    pub topics: Vec<Topic>,
    /// Shards of the stream of decisions.
    pub shards: u32,
    /// DynamoDB tables.
    pub tables: Vec<Table>,
    /// Lambda functions.
    pub functions: Vec<Function>,
    /// What reads Kafka for them.
    pub mappings: Vec<KafkaMapping>,
    /// What reads the stream for them.
    pub stream_mappings: Vec<StreamMapping>,
    /// The lake's life cycle.
    pub lake: Lake,
    /// How its hours are compacted.
    pub compaction: Compaction,
    /// The way out of the VPC.
    pub network: Network,
    /// Logs, metrics and alarms.
    pub watch: Watch,
    /// Days that the index by transaction id keeps a decision; 0 is no index.
    pub index_days: u32,
    /// KMS keys of the deployment's own.
    pub keys: u32,
    /// Secrets.
    pub secrets: u32,
}

/// Kafka's brokers.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Brokers {
    /// Such as `kafka.m7g.large`; one of Express begins with `express.`.
    pub kind: String,
    /// How many.
    pub count: u32,
    /// Disk of each, in GiB; 0 where AWS manages the disks.
    pub volume_gib: u32,
    /// Version of Kafka, such as `3.9.x.kraft`.
    pub kafka: String,
    /// How much MSK measures: `DEFAULT` is free.
    pub monitoring: String,
    /// Whether their logs go to CloudWatch.
    pub logs: bool,
}

impl Brokers {
    /// Whether AWS manages the disks.
    #[must_use]
    pub fn is_express(&self) -> bool {
        self.kind.starts_with("express.")
    }
}

/// A Kafka topic.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Partitions.
    pub partitions: u32,
    /// Copies of each record.
    pub replication: u32,
    /// Hours that a record is kept.
    pub retention_hours: f64,
    /// Whether its records are kept compressed, whatever the producer does.
    pub zstd: bool,
}

/// How a table is paid.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Capacity {
    /// By request, up to these units a second.
    OnDemand {
        /// Cap on read units a second.
        max_read: f64,
        /// Cap on write units a second.
        max_write: f64,
    },
    /// By the hour, following the use between bounds.
    Provisioned {
        /// Use that the scaling keeps, in per cent of what is provisioned.
        target_percent: f64,
        /// Read units that are always there.
        min_read: f64,
        /// Top of the scaling of reads.
        max_read: f64,
        /// Write units that are always there.
        min_write: f64,
        /// Top of the scaling of writes.
        max_write: f64,
    },
}

impl Capacity {
    /// Write units a second that it never exceeds.
    #[must_use]
    pub fn max_write(&self) -> f64 {
        match self {
            Self::OnDemand { max_write, .. } | Self::Provisioned { max_write, .. } => *max_write,
        }
    }

    /// Read units a second that it never exceeds.
    #[must_use]
    pub fn max_read(&self) -> f64 {
        match self {
            Self::OnDemand { max_read, .. } | Self::Provisioned { max_read, .. } => *max_read,
        }
    }
}

/// A DynamoDB table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// Its name without the environment's prefix.
    pub name: String,
    /// How it is paid.
    pub capacity: Capacity,
}

/// A Lambda function.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Function {
    /// Its name without the environment's prefix.
    pub name: String,
    /// Memory in MB; a processor comes with 1,769.
    pub memory_mb: f64,
    /// The most environments at once.
    pub concurrency: Option<u32>,
}

/// A mapping from a Kafka topic to a function.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct KafkaMapping {
    /// The function.
    pub function: String,
    /// The topic.
    pub topic: String,
    /// The most records of a batch.
    pub batch: f64,
    /// Seconds that a batch gathers.
    pub window_s: f64,
    /// Pollers that are always there; 0 where they come on demand.
    pub pollers_min: u32,
    /// The most pollers.
    pub pollers_max: u32,
    /// Mappings of one group share their poller units.
    pub group: Option<String>,
}

/// A mapping from the stream to a function.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct StreamMapping {
    /// The function.
    pub function: String,
    /// The most records of a batch.
    pub batch: f64,
    /// Seconds that a batch gathers.
    pub window_s: f64,
}

/// The lake's life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Lake {
    /// Days until a file is moved to Intelligent-Tiering.
    pub intelligent_after_days: f64,
    /// Days until it is moved to Glacier Instant Retrieval.
    pub glacier_after_days: f64,
    /// Days that deleted and replaced objects are kept.
    pub noncurrent_days: f64,
    /// Days that the record of every request to it is kept; 0 is no record.
    pub access_log_days: f64,
}

/// How the hours of the lake are compacted.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Compaction {
    /// Runs that the schedule begins in an hour.
    pub runs_an_hour: u32,
    /// Runs that share an hour: each has so small a part of it.
    pub shares: u32,
    /// Seconds that one may take.
    pub timeout_s: f64,
    /// Hours that superseded objects stay for whoever reads by an older manifest.
    pub grace_hours: f64,
}

impl Compaction {
    /// Hours whose raw objects a run lists when so many share an hour: every run the one that is not shown yet, and of those that are, until
    /// their objects go, only the first.
    #[must_use]
    pub fn listed_hours(&self, shares: f64) -> f64 {
        1.0 + self.grace_hours / shares.max(1.0)
    }
}

/// The way out of the VPC.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Network {
    /// Interface endpoints, counted once per zone.
    pub endpoint_zones: u32,
    /// NAT gateways.
    pub nat_gateways: u32,
    /// Whether its connections are recorded.
    pub flow_logs: bool,
}

/// Logs, metrics and alarms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Watch {
    /// Metrics that alarms look at: an alarm on an expression costs one per metric in it.
    pub alarm_metrics: u32,
    /// Of these, with a period below a minute.
    pub high_resolution: u32,
    /// Alarms that Application Auto Scaling makes for its policies.
    pub scaling_alarms: u32,
    /// Composite alarms.
    pub composites: u32,
    /// Dashboards.
    pub dashboards: u32,
    /// Days that logs are kept.
    pub log_days: f64,
    /// Groups of metrics that are switched on at mappings, by mapping and summed up, in metrics.
    pub mapping_metrics: u32,
}

impl Sizes {
    /// The function of this name.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// The mapping of the transactions for the function that decides.
    #[must_use]
    pub fn scoring(&self) -> Option<&KafkaMapping> {
        self.mappings.iter().find(|mapping| mapping.function == SCORING && mapping.topic == TRANSACTIONS)
    }
}

/// The function that decides.
pub const SCORING: &str = "score-transactions";
/// The function that makes the lake's hours exact.
pub const COMPACTION: &str = "compact-lake";
/// The topic that the deciding one reads.
pub const TRANSACTIONS: &str = "transactions";
