//! Who called what, in the words of IAM, for whoever asks what a function must be allowed to do.
//!
//! Servers that stand for a service of AWS note each call with its caller; what is asked of them does not change. Nothing is noted, and
//! it costs nothing, unless somebody asked for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Most different calls that are noted: a function has some twenty.
const CALLS_MAX: usize = 100_000;

/// One kind of call: who, which action, on what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Called {
    /// The application that called, which is a function's name.
    pub caller: String,
    /// The action as IAM names it, such as `dynamodb:GetItem`.
    pub action: String,
    /// What it was done to, such as `table/user_state`; `*` where IAM knows no resource.
    pub on: String,
}

/// The different calls so far. Cloning gives another handle; the default notes nothing.
#[derive(Debug, Clone, Default)]
pub struct Calls(Option<Arc<Mutex<BTreeSet<Called>>>>);

impl Calls {
    /// Notes from now on.
    #[must_use]
    pub fn noted() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether anything is noted: finding out what a call is about may cost something.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a call.
    pub fn note(&self, caller: &str, action: &str, on: &str) {
        let Some(calls) = &self.0 else { return };
        let called = Called { caller: caller.to_owned(), action: action.to_owned(), on: on.to_owned() };
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() < CALLS_MAX {
            calls.insert(called);
        }
    }

    /// Every different call.
    #[must_use]
    pub fn all(&self) -> BTreeSet<Called> {
        let calls = self.0.as_ref().map(|calls| calls.lock().unwrap_or_else(PoisonError::into_inner).clone());
        calls.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_noted_once_and_only_where_somebody_asked() {
        let (off, on) = (Calls::default(), Calls::noted());
        for calls in [&off, &on] {
            calls.note("f", "s3:GetObject", "bucket/b/raw/*");
            calls.clone().note("f", "s3:GetObject", "bucket/b/raw/*");
        }
        assert!(off.all().is_empty() && !off.is_on());
        assert_eq!(on.all().len(), 1);
    }
}
