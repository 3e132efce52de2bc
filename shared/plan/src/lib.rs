//! What a deployment costs and carries: capacity and monthly cost at any rate, from measured units, sizes and list prices.
//!
//! Three inputs: [`Measured`] (what one transaction takes, from reports of real runs), [`Sizes`] (what the stacks ask AWS for) and
//! [`Prices`] (a list with the source and date of each). [`Bill`] multiplies them, line by line, each with its assumption.
//! [`queue::predict`] says how large batches get and how long a decision takes, [`limits`] what breaks first, [`levers`] what was done to
//! the bill and at what price in latency or risk, [`growth`] which updates AWS accepts on the way to a larger rate, and [`peer`] what the
//! usual stack costs.
//!
//! Pure: no I/O, no clock. The same inputs give the same plan.

pub mod bill;
mod error;
pub mod growth;
pub mod levers;
pub mod limits;
pub mod live;
mod measured;
pub mod options;
pub mod peer;
mod prices;
pub mod queue;
pub mod report;
mod sizes;
pub mod svg;
pub mod text;
mod workload;

pub use bill::Bill;
pub use error::PlanError;
pub use measured::{FunctionUnits, Invocation, Lake as LakeUnits, Measured, RecordUnits, Run, TableUnits, Zstd};
pub use prices::{Price, Prices};
pub use sizes::{
    Brokers, Capacity, Compaction, Function, KafkaMapping, Lake, Network, Sizes, StreamMapping, Table, Topic, Watch,
};
pub use workload::Workload;

/// Hours that AWS calculates a month with.
pub const HOURS_A_MONTH: f64 = 730.0;
/// Seconds of such a month.
pub const SECONDS_A_MONTH: f64 = HOURS_A_MONTH * 3_600.0;

/// A whole number that is at least `value`, for what can only be had in pieces; 0 for what is no number, and bounded.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded right here")]
pub fn pieces(value: f64) -> u32 {
    if value.is_finite() { value.ceil().clamp(0.0, 4_000_000_000.0) as u32 } else { 0 }
}
