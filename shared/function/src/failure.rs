//! What Lambda's error report says.

use std::error::Error;

use centinela_delivery::{BatchError, Causes};
use lambda_runtime::Diagnostic;

/// An invocation failed: the event is to be delivered again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For alarms and searches, such as `Centinela.BatchUnsettled`: it stays the same when the message changes.
    pub error_type: &'static str,
    /// What happened, with every cause.
    pub message: String,
}

impl Failure {
    /// A failure with all causes of an error.
    pub fn new(error_type: &'static str, what: &str, error: &(dyn Error + 'static)) -> Self {
        Self { error_type, message: format!("{what}: {}", Causes(error)) }
    }

    /// The batch comes again, for a reason that has a type of its own.
    pub fn of_batch(error_type: &'static str, error: &(dyn Error + 'static)) -> Self {
        Self::new(error_type, "the batch is not settled", error)
    }
}

impl<E: Error + 'static> From<BatchError<E>> for Failure {
    fn from(error: BatchError<E>) -> Self {
        Self::of_batch("Centinela.BatchUnsettled", &error)
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        Self { error_type: failure.error_type.to_owned(), error_message: failure.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_delivery::PublishError;
    use std::convert::Infallible;

    #[test]
    fn an_error_report_has_a_stable_type_and_every_cause() {
        let lost = PublishError::Unacknowledged("broker away".into());
        let diagnostic = Diagnostic::from(Failure::from(BatchError::<Infallible>::Unreportable(lost)));
        assert_eq!(diagnostic.error_type, "Centinela.BatchUnsettled");
        assert!(diagnostic.error_message.starts_with("the batch is not settled: "), "{}", diagnostic.error_message);
        assert!(diagnostic.error_message.ends_with("broker away"), "{}", diagnostic.error_message);
    }
}
