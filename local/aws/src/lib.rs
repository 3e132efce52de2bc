//! DynamoDB, Kinesis and S3 on one machine: emulators in this process, and the way to external ones.
//!
//! Every call to DynamoDB or Kinesis passes a [`Proxy`], which counts calls and request units, makes calls take as long as in AWS and
//! carries out faults; what is behind it is embedded or external. The embedded S3 counts its requests and carries out faults itself. The emulators listen on 127.0.0.1 only and keep no data after
//! the process ends (an S3 directory that the caller names is the one exception). No table, stream or bucket is named here.

mod access;
mod dynamodb;
mod external;
mod fault;
mod kinesis;
mod latency;
mod proxy;
mod s3;
mod specs;
mod stored;

pub use access::{ACCESS_KEY_ID, AwsAccess, REGION, SECRET_ACCESS_KEY};
pub use dynamodb::{DynamoConfig, DynamoDb, DynamoError};
pub use external::{
    AwsClient, CallError, EndpointError, prepare_buckets, prepare_streams, prepare_tables, read_items, read_object,
};
pub use fault::{Fault, FaultSource, NoFaults, RequestInfo};
pub use kinesis::{
    Kinesis, KinesisConfig, KinesisError, KinesisStats, ReadFrom, ShardPage, ShardRecord, ShardState, StreamReader,
};
pub use latency::{Latency, LatencyError};
pub use proxy::{DynamoStats, ProxiedService, Proxy, ProxyConfig, TableUnits};
pub use s3::{ObjectStats, S3, S3Config, S3Error};
pub use specs::{AttrType, StreamSpec, TableSpec};
pub use stored::StoredItem;
