//! Why a request is not answered as it wished, as `application/problem+json` (<https://www.rfc-editor.org/rfc/rfc9457>).
//!
//! The type is stable and says which case it is; programs go by it. The texts are for people and may change. None of them repeats an
//! identifier, an address or a user agent.

use centinela_contracts::payload::PayloadProblem;
use serde::Serialize;

use crate::response::Response;

/// Begins every type.
const TYPE: &str = "urn:problem-type:centinela:";

/// Status, the last part of the type, title, and what to do, in the order of [`Kind`].
const WORDS: [(u16, &str, &str, &str); Kind::ALL.len()] = [
    (400, "malformed-body", "The body cannot be read", "Send JSON text in UTF-8, as the OpenAPI file shows."),
    (400, "invalid-parameter", "A parameter is wrong", "Correct the parameter that the detail names."),
    (
        400,
        "idempotency-key-differs",
        "Idempotency-Key and transaction_id differ",
        "Leave the header out, or make it equal to transaction_id: that is what makes a request repeatable.",
    ),
    (401, "not-authenticated", "Nobody says who is asking", "Sign the request, or send a bearer token."),
    (403, "scope-missing", "The caller may not do this", "Ask for a token with the scope that the detail names."),
    (404, "not-found", "There is nothing here", "See the OpenAPI file for the paths."),
    (
        404,
        "decision-not-found",
        "No decision is known on this transaction",
        "Ask again in a second if it was sent just now; name user_id too, which finds it sooner. Decisions older than the index \
                 keeps are in the lake.",
    ),
    (
        404,
        "user-not-found",
        "Nothing is known about this user",
        "Check the id; a user is known from the first action on.",
    ),
    (405, "method-not-allowed", "The path has no such method", "Use one of the methods in Allow."),
    (
        409,
        "transaction-id-reused",
        "The id belongs to another transaction of this user",
        "Give the new transaction an id of its own. The first one's decision stands.",
    ),
    (413, "body-too-large", "The body is too large", "Send less in one request."),
    (413, "too-many-records", "There are too many records", "Send at most 500 in one request."),
    (415, "unsupported-media-type", "The body is of another type", "Send it with content-type: application/json."),
    (
        422,
        "invalid-record",
        "A record is not what it must be",
        "Correct what the errors name, and send all records again: none of them was taken.",
    ),
    (
        500,
        "state-unreadable",
        "What is stored cannot be read",
        "Tell the operators: a person has to repair the user's item. What was sent is not lost.",
    ),
    (
        503,
        "not-accepted",
        "Kafka did not confirm",
        "Send the same again after Retry-After: what the user's item still remembers counts once.",
    ),
    (503, "state-unavailable", "The database does not answer", "Ask again after Retry-After."),
];

/// Which case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "titles and advice say it")]
pub enum Kind {
    MalformedBody,
    InvalidParameter,
    IdempotencyKeyDiffers,
    NotAuthenticated,
    ScopeMissing,
    NotFound,
    DecisionNotFound,
    UserNotFound,
    MethodNotAllowed,
    TransactionIdReused,
    BodyTooLarge,
    TooManyRecords,
    UnsupportedMediaType,
    InvalidRecord,
    StateUnreadable,
    NotAccepted,
    StateUnavailable,
}

impl Kind {
    /// All of them, by status.
    pub const ALL: [Self; 17] = [
        Self::MalformedBody,
        Self::InvalidParameter,
        Self::IdempotencyKeyDiffers,
        Self::NotAuthenticated,
        Self::ScopeMissing,
        Self::NotFound,
        Self::DecisionNotFound,
        Self::UserNotFound,
        Self::MethodNotAllowed,
        Self::TransactionIdReused,
        Self::BodyTooLarge,
        Self::TooManyRecords,
        Self::UnsupportedMediaType,
        Self::InvalidRecord,
        Self::StateUnreadable,
        Self::NotAccepted,
        Self::StateUnavailable,
    ];

    /// The last part of the type.
    pub fn slug(self) -> &'static str {
        self.words().1
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.words().0
    }

    /// The type, as it stands in a problem.
    pub fn type_uri(self) -> String {
        format!("{TYPE}{}", self.slug())
    }

    fn words(self) -> (u16, &'static str, &'static str, &'static str) {
        WORDS[self as usize]
    }

    /// Whether a later try may succeed, so that the answer says when.
    fn retry_after_s(self) -> Option<u32> {
        matches!(self, Self::NotAccepted | Self::StateUnavailable).then_some(1)
    }
}

/// What is wrong with one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Which record, counted from 0.
    pub index: usize,
    /// The field, where it is one field's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'static str>,
    /// What is wrong.
    pub detail: String,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which case.
    pub kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    accepted: Option<usize>,
    allow: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    what_to_do: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<usize>,
}

impl Problem {
    /// A problem; `detail` says what is special about this one.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), accepted: None, allow: None }
    }

    /// Of the methods that the path has.
    pub fn other_method(allow: String) -> Self {
        let problem = Self::new(Kind::MethodNotAllowed, format!("the path has {allow}"));
        Self { allow: Some(allow), ..problem }
    }

    /// Records that are not what they must be.
    pub fn of_records(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => only.detail.clone(),
            all => format!("{} records are wrong", all.len()),
        };
        Self { errors, ..Self::new(Kind::InvalidRecord, detail) }
    }

    /// What a payload's reader says: a body that is no JSON, or a record with a wrong field.
    pub fn of_payload(problem: &PayloadProblem) -> Self {
        use PayloadProblem as Found;
        let detail = problem.to_string();
        match problem {
            Found::Empty | Found::OtherFormat { .. } | Found::Syntax(_) => Self::new(Kind::MalformedBody, detail),
            Found::TooLarge { .. } => Self::new(Kind::BodyTooLarge, detail),
            _ => Self::of_records(vec![FieldError { index: 0, field: problem.field(), detail }]),
        }
    }

    /// Kafka has taken only some of the records.
    pub fn not_accepted(accepted: usize, of: usize) -> Self {
        let detail = match of {
            1 => "the record may have been taken, or not".to_owned(),
            of => format!("{accepted} of {of} records were confirmed"),
        };
        Self { accepted: Some(accepted), ..Self::new(Kind::NotAccepted, detail) }
    }

    /// The answer.
    pub fn response(&self, request_id: &str) -> Response {
        let (status, _, title, what_to_do) = self.kind.words();
        let body = Body {
            kind: self.kind.type_uri(),
            title,
            status,
            detail: &self.detail,
            what_to_do,
            request_id,
            errors: &self.errors,
            accepted: self.accepted,
        };
        let mut response = Response::json(status, &body);
        response.content_type = "application/problem+json";
        if let Some(seconds) = self.kind.retry_after_s() {
            response.headers.push(("retry-after", seconds.to_string()));
        }
        if let Some(allow) = &self.allow {
            response.headers.push(("allow", allow.clone()));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_has_a_type_of_its_own_and_says_what_to_do() {
        let slugs: BTreeSet<_> = Kind::ALL.into_iter().map(Kind::slug).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        assert!(Kind::ALL.into_iter().enumerate().all(|(place, kind)| kind as usize == place));
        assert_eq!(Kind::TransactionIdReused.slug(), "transaction-id-reused");
        assert_eq!(Kind::StateUnavailable.slug(), "state-unavailable");
        for kind in Kind::ALL {
            let (status, _, title, advice) = kind.words();
            assert!((400..600).contains(&status) && !title.is_empty() && advice.ends_with('.'), "{kind:?}");
        }
        assert!(Kind::ALL.windows(2).all(|pair| pair[0].status() <= pair[1].status()));
    }

    #[test]
    fn a_problem_is_what_rfc_9457_says() {
        let problem = Problem::other_method("GET".to_owned()).response("r-1");
        let body: serde_json::Value = serde_json::from_slice(&problem.body).unwrap();
        assert_eq!((problem.status, problem.content_type), (405, "application/problem+json"));
        assert_eq!(problem.headers, [("allow", "GET".to_owned())]);
        assert_eq!(body["type"], "urn:problem-type:centinela:method-not-allowed");
        assert_eq!((&body["status"], &body["request_id"]), (&405.into(), &"r-1".into()));
    }
}
