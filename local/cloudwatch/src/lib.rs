//! CloudWatch's metrics and alarms, as pure functions of data and times.
//!
//! [`Store`] takes metric lines and data points, [`Alarms`] says at any minute how each alarm stands and what it does about it: periods,
//! M of N, missing data, percentiles of few samples, metric math, composites and their suppressors. It reads no clock and does no I/O:
//! whoever owns it says what time it is, so an hour passes in a test when the test says so. An alarm that uses what is not evaluated here
//! is refused when it is read, never left out.
//!
//! Contract: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/percentiles-with-low-samples.html> and
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html>. Where they leave a question open, the code
//! that answers it says so.

mod alarms;
mod composite;
pub mod emf;
mod math;
mod metric;
mod notice;
mod points;
mod rule;
mod samples;
mod spec;
mod statistic;
mod status;
mod store;
mod time;
mod verdict;

pub use alarms::{Alarms, Event, View};
pub use composite::CompositeAlarm;
pub use metric::{Datum, MetricId, Values};
pub use notice::{Notice, notice};
pub use samples::Samples;
pub use spec::{Actions, Alarm, Comparison, LowSamples, MetricAlarm, Query, SpecError};
pub use statistic::Statistic;
pub use status::State;
pub use store::Store;
pub use verdict::{Missing, verdict};

/// A minute in milliseconds: what metrics are kept by, and how often alarms are evaluated.
pub const MINUTE_MS: i64 = 60_000;
