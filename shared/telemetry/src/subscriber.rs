//! Log lines.

use tracing_subscriber::EnvFilter;

const FILTER_VARIABLE: &str = "RUST_LOG";
const DEFAULT_FILTER: &str = "info";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SubscriberError {
    /// The filter cannot be parsed.
    #[error("{FILTER_VARIABLE} is not a filter: `{filter}`; write a level such as info, or target=level pairs")]
    Filter {
        /// What it says.
        filter: String,
        /// Why not.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was set up before.
    #[error("logging is already set up")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends every event that `RUST_LOG` lets pass (`info` when it is not set) to standard output as one JSON object a line, with
/// `timestamp` and `level` where Lambda's log filter looks for them.
pub fn init() -> Result<(), SubscriberError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| DEFAULT_FILTER.to_owned());
    let parsed = EnvFilter::try_new(&filter).map_err(|source| SubscriberError::Filter { filter, source })?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(parsed)
        .finish()
        .try_init()
        .map_err(SubscriberError::Twice)
}
