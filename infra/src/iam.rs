//! Policies of IAM, decided as AWS decides them, as far as the stacks' policies go: effects, actions, resources, and the operators of
//! conditions that are listed here. A condition with another operator holds for no permission and for every denial, so what is not
//! understood is never taken for safe.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use serde_json::Value;

/// What somebody wants to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    /// Such as `dynamodb:GetItem`.
    pub(super) action: String,
    /// The ARN, or `*` where the action knows no resource.
    pub(super) resource: String,
    /// Condition keys with their values.
    pub(super) context: Vec<(&'static str, String)>,
}

/// What policies say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    /// A statement denies it, whatever others allow.
    Denied,
    /// No statement speaks of it.
    Unmentioned,
}

/// One statement of a policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a>(pub(super) &'a Value);

/// The statements of a policy document; a single one may stand without a list.
pub(super) fn statements(document: &Value) -> Vec<Statement<'_>> {
    match document.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().map(Statement).collect(),
        Some(one) => vec![Statement(one)],
        None => Vec::new(),
    }
}

/// What all these statements together say.
pub(super) fn decide<'a>(statements: impl IntoIterator<Item = Statement<'a>>, request: &Request) -> Decision {
    let mut decision = Decision::Unmentioned;
    for statement in statements {
        if !statement.speaks_of(request) {
            continue;
        }
        let conditions = statement.conditions(request);
        if statement.allows() {
            if conditions == Some(true) {
                decision = Decision::Allowed;
            }
        } else if conditions != Some(false) {
            return Decision::Denied;
        }
    }
    decision
}

impl<'a> Statement<'a> {
    pub(super) fn allows(self) -> bool {
        self.0.get("Effect").and_then(Value::as_str) == Some("Allow")
    }

    pub(super) fn actions(self) -> impl Iterator<Item = &'a str> {
        texts(self.0.get("Action"))
    }

    pub(super) fn resources(self) -> impl Iterator<Item = &'a str> {
        texts(self.0.get("Resource"))
    }

    /// The principals of a resource's policy, whatever their kind; `*` is anybody.
    pub(super) fn principals(self) -> Vec<&'a str> {
        match self.0.get("Principal") {
            Some(Value::Object(kinds)) => kinds.values().flat_map(|named| texts(Some(named))).collect(),
            other => texts(other).collect(),
        }
    }

    /// Every value that a condition names for a key, which must be there and have one of them: an operator that is met by all others, or
    /// without the key, binds nobody.
    pub(super) fn condition_values(self, key: &str) -> Vec<&'a str> {
        let operators = self.0.get("Condition").and_then(Value::as_object).into_iter().flatten();
        let is_binding = |operator: &str| {
            !operator.contains("Not") && !operator.ends_with("IfExists") && !operator.starts_with("ForAllValues:")
        };
        let named = operators.filter(|(operator, _)| is_binding(operator)).filter_map(|(_, keys)| keys.as_object());
        named
            .flatten()
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .flat_map(|(_, all)| texts(Some(all)))
            .collect()
    }

    pub(super) fn has_condition(self) -> bool {
        self.0.get("Condition").and_then(Value::as_object).is_some_and(|operators| !operators.is_empty())
    }

    /// Whether action and resource are among its own, conditions aside.
    pub(super) fn speaks_of(self, request: &Request) -> bool {
        let action = |named: &str| matches(&named.to_ascii_lowercase(), &request.action.to_ascii_lowercase());
        let of_action = match self.0.get("NotAction") {
            Some(others) => !texts(Some(others)).any(action),
            None => self.actions().any(action),
        };
        let resource = |named: &str| matches(named, &request.resource);
        let of_resource = match self.0.get("NotResource") {
            Some(others) => !texts(Some(others)).any(resource),
            // A policy of a role always names resources; that of an alarm's topic or a key may leave it out.
            None => self.0.get("Resource").is_none() || self.resources().any(resource),
        };
        of_action && of_resource
    }

    /// Whether all its conditions hold; none where one is not understood.
    fn conditions(self, request: &Request) -> Option<bool> {
        let mut holds = Some(true);
        for (operator, keys) in self.0.get("Condition").and_then(Value::as_object).into_iter().flatten() {
            for (key, wanted) in keys.as_object().into_iter().flatten() {
                let found = request.context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
                let wanted: Vec<&str> = texts(Some(wanted)).collect();
                match holds_one(operator, found.map(|(_, value)| value.as_str()), &wanted) {
                    Some(true) => {}
                    Some(false) => return Some(false),
                    None => holds = None,
                }
            }
        }
        holds
    }
}

/// One operator over one key; none where the operator is not understood.
fn holds_one(operator: &str, found: Option<&str>, wanted: &[&str]) -> Option<bool> {
    let operator = operator.trim_start_matches("ForAnyValue:").trim_start_matches("ForAllValues:");
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    if operator == "Null" {
        return Some(wanted.iter().all(|is_null| (*is_null == "true") == found.is_none()));
    }
    let equal = |found: &str| wanted.contains(&found);
    let alike = |found: &str| wanted.iter().any(|pattern| matches(pattern, found));
    let (is_met, is_negative): (&dyn Fn(&str) -> bool, bool) = match operator {
        "StringEquals" | "Bool" => (&equal, false),
        "StringNotEquals" => (&equal, true),
        "StringLike" | "ArnLike" | "ArnEquals" => (&alike, false),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (&alike, true),
        _ => return None,
    };
    // A key that is not there meets what is negative, and nothing else.
    Some(found.map_or(is_negative || if_exists, |found| is_met(found) != is_negative))
}

/// Whether a pattern with `*` and `?` is met as a whole.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where the last star stands, and how far it reaches.
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(b'?') => (at, read) = (at + 1, read + 1),
            Some(byte) if *byte == text[read] => (at, read) = (at + 1, read + 1),
            _ => match &mut star {
                Some((place, reach)) => {
                    *reach += 1;
                    (at, read) = (*place + 1, *reach);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// A text or a list of texts.
pub(super) fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let texts = match value {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    texts.into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(action: &str, resource: &str, context: &[(&'static str, &str)]) -> Request {
        let context = context.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Request { action: action.to_owned(), resource: resource.to_owned(), context }
    }

    #[test]
    fn a_pattern_is_met_as_a_whole() {
        for (pattern, text, is_met) in [
            ("arn:aws:s3:::lake/raw/*", "arn:aws:s3:::lake/raw/dt=1/a", true),
            ("arn:aws:s3:::lake/raw/*", "arn:aws:s3:::lake/rows", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "abc", false),
            ("dynamodb:Get????", "dynamodb:GetItem", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), is_met, "{pattern} {text}");
        }
    }

    #[test]
    fn a_denial_wins_and_what_nobody_mentions_is_not_allowed() {
        let document = json!({ "Statement": [
            { "Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": "arn:table/*" },
            { "Effect": "Deny", "Action": "dynamodb:*", "Resource": "arn:table/secret" },
        ] });
        let decided = |action: &str, resource: &str| decide(statements(&document), &asked(action, resource, &[]));
        assert_eq!(decided("dynamodb:GetItem", "arn:table/users"), Decision::Allowed);
        assert_eq!(decided("DynamoDB:getitem", "arn:table/users"), Decision::Allowed);
        assert_eq!(decided("dynamodb:PutItem", "arn:table/users"), Decision::Unmentioned);
        assert_eq!(decided("dynamodb:GetItem", "arn:table/secret"), Decision::Denied);
    }

    #[test]
    fn conditions_are_met_by_the_context_and_what_is_not_understood_is_never_safe() {
        let statement = |effect: &str, condition: Value| {
            json!({ "Statement": {
            "Effect": effect, "Action": "kms:Decrypt", "Resource": "*", "Condition": condition } })
        };
        let with = [("kms:ViaService", "dynamodb.us-east-1.amazonaws.com")];
        let decided = |document: &Value, context: &[(&'static str, &str)]| {
            decide(statements(document), &asked("kms:Decrypt", "k", context))
        };
        let via = json!({ "StringEquals": { "kms:ViaService": ["dynamodb.us-east-1.amazonaws.com"] } });
        assert_eq!(decided(&statement("Allow", via.clone()), &with), Decision::Allowed);
        assert_eq!(decided(&statement("Allow", via.clone()), &[]), Decision::Unmentioned);
        assert_eq!(decided(&statement("Deny", via), &[]), Decision::Unmentioned);
        let other = json!({ "StringNotEquals": { "kms:ViaService": "s3.us-east-1.amazonaws.com" } });
        assert_eq!(decided(&statement("Deny", other), &[]), Decision::Denied);
        let odd = json!({ "NumericLessThan": { "a": "1" } });
        assert_eq!(decided(&statement("Allow", odd.clone()), &[]), Decision::Unmentioned);
        assert_eq!(decided(&statement("Deny", odd), &[]), Decision::Denied);
        let if_exists = json!({ "StringEqualsIfExists": { "a": "1" }, "Null": { "b": "true" } });
        assert_eq!(decided(&statement("Allow", if_exists), &[]), Decision::Allowed);
    }
}
