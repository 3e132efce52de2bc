//! A request, whoever carried it.

use std::collections::BTreeMap;

use crate::problem::{Kind, Problem};
use crate::route::{Operation, Wanted};
use crate::scope::{Scope, Scopes};

/// A request, with what API Gateway found out about it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The route that it took, such as `GET /v1/health`, or `$default`.
    pub route_key: String,
    /// The path.
    pub path: String,
    /// What stands in the route's `{…}`, decoded.
    pub path_parameters: BTreeMap<String, String>,
    /// The query as it came.
    pub query: String,
    /// The type of the body.
    pub content_type: Option<String>,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The caller's rights; none when nobody says who is asking.
    pub scopes: Option<Scopes>,
    /// Names the request in the answer and in logs.
    pub request_id: String,
    /// The body.
    pub body: Vec<u8>,
}

/// A query that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A percent sign without two hexadecimal digits, or bytes that are no text.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
}

impl Request {
    /// What it asks for, if its caller may.
    pub(crate) fn operation(&self) -> Result<Operation, Problem> {
        let operation = match Operation::of(&self.route_key, &self.path) {
            Wanted::Operation(operation) => operation,
            Wanted::OtherMethod => return Err(Problem::other_method(Operation::methods_of(&self.path))),
            Wanted::Nothing => return Err(Problem::new(Kind::NotFound, "no operation has this path")),
        };
        if let Some(scope) = operation.scope() {
            let Some(scopes) = self.scopes else {
                return Err(Problem::new(Kind::NotAuthenticated, "no authoriser has seen this request"));
            };
            if !scopes.has(scope) {
                return Err(Problem::new(Kind::ScopeMissing, format!("it takes the scope {}", scope.as_str())));
            }
        }
        Ok(operation)
    }

    /// Whether the caller has a right.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.scopes.is_some_and(|scopes| scopes.has(scope))
    }

    /// A parameter of the path.
    pub(crate) fn in_path(&self, name: &'static str) -> Result<&str, Problem> {
        let found = self.path_parameters.get(name).map(String::as_str);
        found.ok_or_else(|| Problem::new(Kind::InvalidParameter, format!("{name} is missing in the path")))
    }

    /// The parameters of the query, each once and none but those of the operation.
    pub(crate) fn query(&self, operation: Operation) -> Result<BTreeMap<&'static str, String>, Problem> {
        let wrong = |detail: String| Problem::new(Kind::InvalidParameter, detail);
        let mut found = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decoded(name).and_then(|name| Ok((name, decoded(value)?)));
            let (name, value) = decoded.map_err(|error| wrong(error.to_string()))?;
            let Some(known) = operation.query().iter().find(|known| **known == name) else {
                let known = operation.query().join(" and ");
                let takes = if known.is_empty() { "none".to_owned() } else { known };
                return Err(wrong(format!("the query has a parameter that is not known here, which takes {takes}")));
            };
            if found.insert(*known, value).is_some() {
                return Err(wrong(format!("{known} is there twice")));
            }
        }
        Ok(found)
    }
}

/// Percent-decoded, with `+` for a space as forms write it.
pub(crate) fn decoded(text: &str) -> Result<String, RequestError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'%' => {
                let [high, low, after @ ..] = after else { return Err(RequestError::Encoding) };
                bytes.push(digit(*high)? << 4 | digit(*low)?);
                after
            }
            b'+' => {
                bytes.push(b' ');
                after
            }
            other => {
                bytes.push(*other);
                after
            }
        };
    }
    String::from_utf8(bytes).map_err(|_| RequestError::Encoding)
}

fn digit(digit: u8) -> Result<u8, RequestError> {
    let value = char::from(digit).to_digit(16).ok_or(RequestError::Encoding)?;
    u8::try_from(value).map_err(|_| RequestError::Encoding)
}

/// As it may stand in a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let piece = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<BTreeMap<&'static str, String>, Problem> {
        Request { query: text.to_owned(), ..Request::default() }.query(Operation::LookUpDecision)
    }

    #[test]
    fn a_query_is_read_once_and_strictly() {
        assert_eq!(query("user_id=a%20b%C3%A9").unwrap()["user_id"], "a bé");
        assert!(query("").unwrap().is_empty());
        for wrong in ["user_id=1&user_id=2", "other=1", "user_id=%zz", "user_id=%", "user_id=%ff"] {
            assert_eq!(query(wrong).unwrap_err().kind, Kind::InvalidParameter, "{wrong}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let odd = "a/b?c d%é";
        assert_eq!(decoded(&encoded(odd)).unwrap(), odd);
        assert_eq!(encoded("a b/"), "a%20b%2F");
    }
}
