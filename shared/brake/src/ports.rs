//! What the brake needs from the outside.

use std::error::Error;
use std::future::Future;

use centinela_domain::Millis;

/// An event source mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its identifier.
    pub id: String,
    /// The topic or stream that it reads.
    pub source: String,
    /// Its state in the API's words, such as `Enabled` or `Disabling`.
    pub state: String,
}

impl Mapping {
    /// Whether it takes records, or is about to.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(self.state.as_str(), "Disabled" | "Disabling" | "Deleting")
    }
}

/// Why something was not asked or done.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such function or mapping.
    #[error("there is no such thing")]
    Missing(#[source] Box<dyn Error + Send + Sync>),
    /// It will be refused again: a grant is missing, or a value is not allowed.
    #[error("it is refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// No answer in time; it may have been done.
    #[error("it was not answered in time")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
}

/// Whoever runs functions and their mappings.
pub trait Control: Send + Sync {
    /// The mappings of a function.
    fn mappings(
        &self,
        function: &str,
        deadline: Millis,
    ) -> impl Future<Output = Result<Vec<Mapping>, ControlError>> + Send;

    /// Enables or disables a mapping; it may take a while after this returned.
    fn set_mapping(
        &self,
        id: &str,
        is_on: bool,
        deadline: Millis,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;

    /// The concurrency that is reserved for a function; none where it shares the account's.
    fn concurrency(
        &self,
        function: &str,
        deadline: Millis,
    ) -> impl Future<Output = Result<Option<u32>, ControlError>> + Send;

    /// Reserves concurrency for a function, or lets it share the account's.
    fn set_concurrency(
        &self,
        function: &str,
        reserved: Option<u32>,
        deadline: Millis,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;
}

/// Whoever tells people.
pub trait Alerts: Send + Sync {
    /// Says something; the subject is one short line of ASCII.
    fn publish(
        &self,
        subject: &str,
        message: &str,
        deadline: Millis,
    ) -> impl Future<Output = Result<(), ControlError>> + Send;
}
