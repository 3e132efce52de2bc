//! What can be asked for, by method and path, and the right that it takes.

use crate::scope::Scope;

/// Something that the API does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the route says it")]
pub enum Operation {
    Decide,
    SendTransactions,
    SendUserActions,
    SendLabels,
    LookUpDecision,
    LookUpUser,
    LookUpMetrics,
    Health,
}

/// What a request's route means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One of ours.
    Operation(Operation),
    /// The path is one of ours, the method is not.
    OtherMethod,
    /// Nothing of ours.
    Nothing,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Decide,
        Self::SendTransactions,
        Self::SendUserActions,
        Self::SendLabels,
        Self::LookUpDecision,
        Self::LookUpUser,
        Self::LookUpMetrics,
        Self::Health,
    ];

    /// The method.
    pub fn method(self) -> &'static str {
        match self {
            Self::Decide | Self::SendTransactions | Self::SendUserActions | Self::SendLabels => "POST",
            Self::LookUpDecision | Self::LookUpUser | Self::LookUpMetrics | Self::Health => "GET",
        }
    }

    /// The path, as the stack and the OpenAPI file write it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Decide => "/v1/decisions",
            Self::SendTransactions => "/v1/transactions",
            Self::SendUserActions => "/v1/user-actions",
            Self::SendLabels => "/v1/labels",
            Self::LookUpDecision => "/v1/decisions/{transaction_id}",
            Self::LookUpUser => "/v1/users/{user_id}",
            Self::LookUpMetrics => "/v1/metrics",
            Self::Health => "/v1/health",
        }
    }

    /// The right that it takes; none of what everybody may ask.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Decide => Some(Scope::Decide),
            Self::SendTransactions | Self::SendUserActions => Some(Scope::Ingest),
            Self::SendLabels => Some(Scope::Label),
            Self::LookUpDecision | Self::LookUpMetrics => Some(Scope::Read),
            Self::LookUpUser => Some(Scope::ReadUser),
            Self::Health => None,
        }
    }

    /// The parameters that it takes in the query.
    pub fn query(self) -> &'static [&'static str] {
        match self {
            Self::LookUpDecision => &["user_id"],
            Self::LookUpMetrics => &["from", "to"],
            _ => &[],
        }
    }

    /// The route, such as `GET /v1/health`.
    pub fn route_key(self) -> String {
        format!("{} {}", self.method(), self.path())
    }

    /// What a request is about. API Gateway says which of the stack's routes it chose; what fits none of them comes by `$default`, and is
    /// looked at by its path.
    pub fn of(route_key: &str, path: &str) -> Wanted {
        if let Some(operation) = Self::ALL.into_iter().find(|operation| operation.route_key() == route_key) {
            return Wanted::Operation(operation);
        }
        if Self::at(path).next().is_some() { Wanted::OtherMethod } else { Wanted::Nothing }
    }

    /// The methods of a path, for `Allow`.
    pub fn methods_of(path: &str) -> String {
        Self::at(path).map(Self::method).collect::<Vec<_>>().join(", ")
    }

    fn at(path: &str) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |operation| fits(operation.path(), path))
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == found || (wanted.starts_with('{') && !found.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_told_from_a_wrong_method_and_from_a_path_that_is_nobody_s() {
        let health = Wanted::Operation(Operation::Health);
        assert_eq!(Operation::of("GET /v1/health", "/v1/health"), health);
        assert_eq!(Operation::of("$default", "/v1/decisions/tx-1"), Wanted::OtherMethod);
        assert_eq!(Operation::of("$default", "/v1/decisions/"), Wanted::Nothing);
        assert_eq!(Operation::of("$default", "/v1/decisions/a/b"), Wanted::Nothing);
        assert_eq!(Operation::methods_of("/v1/decisions"), "POST");
    }
}
