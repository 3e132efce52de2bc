//! The one-machine platform: everything that AWS provides in production, in one process tree on 127.0.0.1.
//!
//! The parts know nothing of the stacks or of fraud; [`platform`] puts them together from the stacks.

pub mod exposition;
pub mod platform;
pub mod threads;

pub use centinela_aws as aws;
pub use centinela_broker as broker;
pub use centinela_cloudwatch as cloudwatch;
pub use centinela_http_front as http_front;
pub use centinela_kafka_client as kafka;
pub use centinela_lambda_host as lambda;
pub use centinela_lambda_host::mapping;
pub use centinela_serve::{Calls, MetricsPage, ServerError, warden};
