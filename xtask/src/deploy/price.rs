//! What the environment costs a month, by the plan.

use std::path::Path;

/// In words, or why it is not known.
pub fn of(_root: &Path, environment: &str) -> Result<String, String> {
    Err(format!("ask `centinela plan` for {environment}"))
}
