//! The lake: rows from every topic's records, Parquet objects, and the compaction that makes each hour exact.
//!
//! Pure over one port, [`store::ObjectStore`]: no clock, no network. What a record says is read by `contracts`; nothing here decides
//! anything. `docs/lake.md` has the layout and the guarantees.

pub mod archive;
pub mod compact;
pub mod decided;
pub mod hour;
pub mod keys;
pub mod manifest;
pub mod parquet_read;
pub mod parquet_write;
pub mod row;
pub mod rows;
pub mod store;
pub mod table;
