//! Who is asking, and whether the route is theirs.

use http::HeaderMap;
use http::request::Parts;
use serde_json::{Value, json};

use crate::issuer::{Checker, now_s};
use crate::sigv4::{Claim, is_signed};
use crate::spec::{Authorizer, Credentials, RouteSpec};

/// What API Gateway says instead of asking the function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No token, or none that holds.
    Unauthorized,
    /// A token without the scopes of the route.
    InsufficientScope(String),
    /// No signature, or none that holds.
    Forbidden,
}

/// How well a request's credentials fit a route, when several APIs have one for it.
pub(crate) fn suits(authorizer: &Authorizer, headers: &HeaderMap) -> u8 {
    match (authorizer, is_signed(headers), bearer(headers).is_some()) {
        (Authorizer::Iam, true, _) => 3,
        (Authorizer::Jwt { .. }, false, true) => 3,
        (Authorizer::None, _, _) => 2,
        // Whoever says nothing is told about tokens.
        (Authorizer::Jwt { .. }, false, false) => 1,
        _ => 0,
    }
}

/// What can be checked before the body is there: a token, or what a signature claims to be. Gives what the event says of the caller.
pub(crate) fn admit(
    route: &RouteSpec,
    headers: &HeaderMap,
    checker: &Checker,
    credentials: &Credentials,
) -> Result<Option<Value>, Refused> {
    match &route.authorizer {
        Authorizer::None => Ok(None),
        Authorizer::Closed => Err(Refused::Forbidden),
        Authorizer::Iam => {
            Claim::read(headers, credentials, now_s()).ok_or(Refused::Forbidden)?;
            Ok(Some(json!({ "iam": {
                "accessKey": credentials.access_key_id,
                "accountId": credentials.account,
                "callerId": credentials.access_key_id,
                "cognitoIdentity": null,
                "principalOrgId": "",
                "userArn": format!("arn:aws:iam::{}:user/local", credentials.account),
                "userId": credentials.access_key_id,
            } })))
        }
        Authorizer::Jwt { audience } => {
            let token = bearer(headers).ok_or(Refused::Unauthorized)?;
            let token = checker.check(token, audience).ok_or(Refused::Unauthorized)?;
            let given = token.scopes();
            let fitting: Vec<&String> = route.scopes.iter().filter(|scope| given.contains(&scope.as_str())).collect();
            if fitting.is_empty() && !route.scopes.is_empty() {
                return Err(Refused::InsufficientScope(route.scopes.join(" ")));
            }
            let scopes = if route.scopes.is_empty() { Value::Null } else { json!(fitting) };
            Ok(Some(json!({ "jwt": { "claims": token.texts(), "scopes": scopes } })))
        }
    }
}

/// What takes the body: the signature of a route that wants one.
pub(crate) fn confirm(route: &RouteSpec, parts: &Parts, body: &[u8], credentials: &Credentials) -> Result<(), Refused> {
    if route.authorizer != Authorizer::Iam {
        return Ok(());
    }
    let claim = Claim::read(&parts.headers, credentials, now_s()).ok_or(Refused::Forbidden)?;
    if claim.holds(parts, body, credentials) { Ok(()) } else { Err(Refused::Forbidden) }
}

/// With or without the word, as API Gateway takes it.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("authorization")?.to_str().ok()?.trim();
    let token = text.get(..7).filter(|word| word.eq_ignore_ascii_case("bearer ")).map_or(text, |_| text[7..].trim());
    (!token.is_empty() && !token.contains(' ')).then_some(token)
}
