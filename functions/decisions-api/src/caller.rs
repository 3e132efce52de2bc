//! Who is asking, as API Gateway's authorisers say.
//!
//! A person's token names its scopes. A machine signs, and IAM has already decided which routes it may call, so it has the scopes of the
//! routes; whether it may see scores, which no route says, is decided by its name.

use aws_lambda_events::apigw::ApiGatewayRequestAuthorizer;
use centinela_api::{Scope, Scopes};

/// Scopes that IAM grants by route.
const BY_ROUTE: [Scope; 5] = [Scope::Decide, Scope::Ingest, Scope::Read, Scope::Label, Scope::ReadUser];
/// Stands for every machine.
const EVERYBODY: &str = "*";

/// Machines that may see scores: names of IAM users and roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readers(Vec<String>);

impl Readers {
    /// Names with commas between them.
    pub fn of(text: &str) -> Self {
        Self(text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    fn have(&self, arn: &str) -> bool {
        let name = name_in(arn);
        self.0.iter().any(|reader| reader == EVERYBODY || Some(reader.as_str()) == name)
    }
}

/// The name of a user or a role: `arn:aws:iam::1:user/path/NAME`, `arn:aws:sts::1:assumed-role/NAME/session`.
fn name_in(arn: &str) -> Option<&str> {
    let resource = arn.splitn(6, ':').nth(5)?;
    match resource.split_once('/') {
        Some(("assumed-role", rest)) => rest.split('/').next(),
        Some((_, rest)) => rest.rsplit('/').next(),
        None => Some(resource),
    }
}

/// The caller's scopes; none when no authoriser has seen the request.
pub fn scopes(authorizer: Option<&ApiGatewayRequestAuthorizer>, score_readers: &Readers) -> Option<Scopes> {
    let authorizer = authorizer?;
    if let Some(jwt) = &authorizer.jwt {
        // `scope` is the claim of RFC 8693, `scp` what some issuers write.
        let claims = ["scope", "scp"].into_iter().filter_map(|claim| jwt.claims.get(claim));
        let words = claims.flat_map(|claim| claim.split([' ', ',', '[', ']', '"'])).filter(|word| !word.is_empty());
        return Some(Scopes::of_words(words));
    }
    let iam = authorizer.iam.as_ref()?;
    let scopes: Scopes = BY_ROUTE.into_iter().collect();
    let sees_scores = iam.user_arn.as_deref().is_some_and(|arn| score_readers.have(arn));
    Some(if sees_scores { scopes.with(Scope::ReadScore) } else { scopes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn has(authorizer: serde_json::Value, readers: &str) -> Vec<Scope> {
        let authorizer: ApiGatewayRequestAuthorizer = serde_json::from_value(authorizer).unwrap();
        let scopes = scopes(Some(&authorizer), &Readers::of(readers)).unwrap_or_default();
        Scope::ALL.into_iter().filter(|scope| scopes.has(*scope)).collect()
    }

    #[test]
    fn a_person_has_what_the_token_says() {
        let jwt = |claims| json!({ "jwt": { "claims": claims, "scopes": null } });
        assert_eq!(has(jwt(json!({ "scope": "read read:score openid" })), "*"), [Scope::Read, Scope::ReadScore]);
        assert_eq!(has(jwt(json!({ "scp": "[\"label\"]" })), ""), [Scope::Label]);
        assert!(has(jwt(json!({})), "*").is_empty());
    }

    #[test]
    fn a_machine_has_its_routes_and_sees_scores_only_by_name() {
        let iam = |arn: &str| json!({ "iam": { "userArn": arn } });
        let session = "arn:aws:sts::123456789012:assumed-role/risk-desk/i-1";
        assert_eq!(has(iam(session), "shop").len(), BY_ROUTE.len());
        assert!(has(iam(session), "shop, risk-desk").contains(&Scope::ReadScore));
        assert!(has(iam("arn:aws:iam::1:user/team/ana"), "ana").contains(&Scope::ReadScore));
        assert!(!has(iam("arn:aws:iam::1:user/risk-desk/ana"), "risk-desk").contains(&Scope::ReadScore));
    }

    #[test]
    fn nobody_has_nothing() {
        assert_eq!(scopes(None, &Readers::of("*")), None);
    }
}
