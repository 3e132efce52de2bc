//! Watches a running system from outside: reads its topics, follows every record to its end, lets faults happen on purpose, and draws
//! up the reconciliation report.
//!
//! It believes only what topics and tables hold. It prints nothing and writes no file; whoever runs it does. Of processes it starts only
//! the command that restarts an external Kafka.

pub mod backlog;
pub mod blocked;
pub mod burst;
pub mod chaos;
pub mod end;
pub mod errors;
pub mod figures;
pub mod lake;
pub mod metrics;
pub mod reader;
pub mod report;
pub mod score;
pub mod streams;
pub mod tracker;
