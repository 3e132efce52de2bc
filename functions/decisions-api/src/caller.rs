//! Who is asking, as API Gateway's authorisers say.
//!
//! A person's token names its scopes. A machine signs, and IAM has already decided which routes it may call, so it has the scope of its
//! route; whether it may see scores, which no route says, is decided by its name.

use aws_lambda_events::apigw::ApiGatewayRequestAuthorizer;
use centinela_api::{Operation, Scope, Scopes};

/// Stands for every machine.
const EVERYBODY: &str = "*";

/// Machines that may see scores: `user/NAME` and `role/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers(Vec<String>);

/// What a deployment says of its callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    pub score_readers: Readers,
    /// What the issuer puts before the names of scopes.
    pub scope_prefix: String,
}

impl Readers {
    /// Names with commas between them.
    pub fn of(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    fn have(&self, arn: &str) -> bool {
        let name = named(arn);
        self.0.iter().any(|reader| reader == EVERYBODY || Some(reader) == name.as_ref())
    }
}

/// The user or role of `arn:aws:iam::1:user/path/NAME` or `arn:aws:sts::1:assumed-role/NAME/session`. A federated user's name is none:
/// whoever asked for the credentials chose it.
fn named(arn: &str) -> Option<String> {
    let resource = arn.splitn(6, ':').nth(5)?;
    match resource.split_once('/')? {
        ("assumed-role", rest) => rest.split('/').next().map(|name| format!("role/{name}")),
        ("user", rest) => rest.rsplit('/').next().map(|name| format!("user/{name}")),
        _ => None,
    }
}

/// The caller's scopes; none when no authoriser has seen the request.
pub fn scopes(authorizer: Option<&ApiGatewayRequestAuthorizer>, route_key: &str, callers: &Callers) -> Option<Scopes> {
    let authorizer = authorizer?;
    if let Some(jwt) = &authorizer.jwt {
        // `scope` is the claim of RFC 8693, `scp` what some issuers write.
        let claims = ["scope", "scp"].into_iter().filter_map(|claim| jwt.claims.get(claim));
        let words = claims.flat_map(|claim| claim.split([' ', ',', '[', ']', '"']));
        return Some(Scopes::of_words(words.filter_map(|word| word.strip_prefix(callers.scope_prefix.as_str()))));
    }
    let iam = authorizer.iam.as_ref()?;
    let operation = Operation::ALL.into_iter().find(|operation| operation.route_key() == route_key);
    let scopes: Scopes = operation.and_then(Operation::scope).into_iter().collect();
    let sees_scores = iam.user_arn.as_deref().is_some_and(|arn| callers.score_readers.have(arn));
    Some(if sees_scores { scopes.with(Scope::ReadScore) } else { scopes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DECISIONS: &str = "GET /v1/decisions/{transaction_id}";

    fn has(authorizer: serde_json::Value, route_key: &str, readers: &str, prefix: &str) -> Vec<Scope> {
        let authorizer: ApiGatewayRequestAuthorizer = serde_json::from_value(authorizer).unwrap();
        let callers = Callers { score_readers: Readers::of(readers), scope_prefix: prefix.to_owned() };
        let scopes = scopes(Some(&authorizer), route_key, &callers).unwrap_or_default();
        Scope::ALL.into_iter().filter(|scope| scopes.has(*scope)).collect()
    }

    #[test]
    fn a_person_has_what_the_token_says() {
        let has = |claims, readers, prefix| {
            has(json!({ "jwt": { "claims": claims, "scopes": null } }), DECISIONS, readers, prefix)
        };
        assert_eq!(has(json!({ "scope": "read read:score openid" }), "*", ""), [Scope::Read, Scope::ReadScore]);
        assert_eq!(has(json!({ "scp": "[\"label\"]" }), "", ""), [Scope::Label]);
        assert!(has(json!({}), "*", "").is_empty());
        // As Cognito writes the scopes of a resource server.
        assert_eq!(has(json!({ "scope": "centinela/decide read shop/label" }), "", "centinela/"), [Scope::Decide]);
    }

    #[test]
    fn a_machine_sees_scores_only_by_name() {
        let iam = |arn: &str| json!({ "iam": { "userArn": arn } });
        let has = |arn, readers| has(iam(arn), DECISIONS, readers, "");
        let session = "arn:aws:sts::123456789012:assumed-role/risk-desk/i-1";
        assert!(!has(session, "role/shop").contains(&Scope::ReadScore));
        assert!(has(session, "role/shop, role/risk-desk").contains(&Scope::ReadScore));
        assert!(has("arn:aws:iam::1:user/team/ana", "user/ana").contains(&Scope::ReadScore));
        for (arn, reader) in [
            ("arn:aws:iam::1:user/risk-desk/ana", "user/risk-desk"),
            ("arn:aws:iam::1:user/risk-desk", "role/risk-desk"),
            (session, "user/risk-desk"),
            ("arn:aws:sts::1:federated-user/ana", "user/ana"),
        ] {
            assert!(!has(arn, reader).contains(&Scope::ReadScore), "{arn} as {reader}");
        }
    }

    #[test]
    fn a_machine_has_the_scope_of_the_route_that_iam_let_it_call_and_no_other() {
        let iam = || json!({ "iam": { "userArn": "arn:aws:iam::1:user/ana" } });
        for operation in Operation::ALL {
            let scope: Vec<_> = operation.scope().into_iter().collect();
            assert_eq!(has(iam(), &operation.route_key(), "", ""), scope, "{operation:?}");
        }
        assert!(has(iam(), "$default", "", "").is_empty());
    }

    #[test]
    fn nobody_has_nothing() {
        assert_eq!(scopes(None, DECISIONS, &Callers::default()), None);
    }
}
