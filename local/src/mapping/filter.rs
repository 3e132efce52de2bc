//! Event filtering: which records a mapping delivers at all.
//!
//! Kafka mappings filter on `value` only: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-filtering.html>. The rules are those of
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>; a rule that is not listed in [`Filters::parse`] is
//! refused at start, never ignored. A value whose form does not fit the pattern's (text against a JSON pattern, bytes that are not
//! UTF-8) passes: dropping is the one mistake that cannot be repaired.

use serde_json::{Map, Value};

/// A filter that cannot be applied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("filter {pattern} is not supported: {reason}")]
pub struct UnsupportedFilter {
    /// The pattern as given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The filters of a mapping; a record passes when one of them matches.
#[derive(Clone, Debug, Default)]
pub struct Filters(Vec<Pattern>);

#[derive(Clone, Debug)]
enum Pattern {
    Fields(Vec<(String, Pattern)>),
    OneOf(Vec<Rule>),
}

#[derive(Clone, Debug)]
enum Rule {
    Equals(Value),
    Prefix(String),
    Suffix(String),
    EqualsIgnoreCase(String),
    AnythingBut(Vec<Value>),
    Exists(bool),
    Numeric(Vec<(Comparison, f64)>),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filters {
    /// Accepts `{"value": …}` with nested fields and lists of: literals, `prefix`, `suffix`, `equals-ignore-case`,
    /// `anything-but` (literals), `exists` and `numeric`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(patterns: &[Value]) -> Result<Filters, UnsupportedFilter> {
        let parsed = patterns.iter().map(|pattern| {
            let unsupported = |reason| UnsupportedFilter { pattern: pattern.to_string(), reason };
            let fields = pattern.as_object().ok_or_else(|| unsupported("a pattern is an object"))?;
            match (fields.get("value"), fields.len()) {
                (Some(value), 1) => parse_pattern(value).map_err(unsupported),
                _ => Err(unsupported("a Kafka mapping filters on `value` and nothing else")),
            }
        });
        Ok(Filters(parsed.collect::<Result<_, _>>()?))
    }

    /// Whether a record with this value is delivered.
    #[must_use]
    pub fn pass(&self, value: Option<&[u8]>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some(text) = value.and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
            return true;
        };
        let document: Option<Value> = serde_json::from_str(text).ok().filter(Value::is_object);
        self.0.iter().any(|pattern| match (pattern, &document) {
            (Pattern::Fields(_), Some(document)) => matches(pattern, Some(document)),
            (Pattern::OneOf(rules), None) => {
                let text = Value::from(text);
                rules.iter().any(|rule| rule_matches(rule, Some(&text)))
            }
            (Pattern::Fields(_), None) | (Pattern::OneOf(_), Some(_)) => true,
        })
    }
}

fn parse_pattern(pattern: &Value) -> Result<Pattern, &'static str> {
    match pattern {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, pattern)| {
                if name.starts_with('$') {
                    return Err("`$or` is not supported; write two filters");
                }
                Ok((name.clone(), parse_pattern(pattern)?))
            });
            Ok(Pattern::Fields(fields.collect::<Result<_, _>>()?))
        }
        Value::Array(rules) if rules.is_empty() => Err("an empty list matches nothing"),
        Value::Array(rules) => Ok(Pattern::OneOf(rules.iter().map(parse_rule).collect::<Result<_, _>>()?)),
        _ => Err("a field's pattern is a list or an object"),
    }
}

fn parse_rule(rule: &Value) -> Result<Rule, &'static str> {
    match rule {
        Value::Object(rule) => parse_operator(rule),
        Value::Array(_) => Err("a list inside a list"),
        literal => Ok(Rule::Equals(literal.clone())),
    }
}

fn parse_operator(rule: &Map<String, Value>) -> Result<Rule, &'static str> {
    let mut entries = rule.iter();
    let (Some((operator, operand)), None) = (entries.next(), entries.next()) else {
        return Err("a rule has one operator");
    };
    let text = || operand.as_str().map(str::to_owned).ok_or("the operator needs a text");
    match operator.as_str() {
        "prefix" => Ok(Rule::Prefix(text()?)),
        "suffix" => Ok(Rule::Suffix(text()?)),
        "equals-ignore-case" => Ok(Rule::EqualsIgnoreCase(text()?)),
        "exists" => operand.as_bool().map(Rule::Exists).ok_or("`exists` needs true or false"),
        "anything-but" => match operand {
            Value::Object(_) => Err("`anything-but` is supported for literals only"),
            Value::Array(literals) => Ok(Rule::AnythingBut(literals.clone())),
            literal => Ok(Rule::AnythingBut(vec![literal.clone()])),
        },
        "numeric" => parse_numeric(operand.as_array().ok_or("`numeric` needs a list")?),
        _ => Err("unknown operator"),
    }
}

fn parse_numeric(operands: &[Value]) -> Result<Rule, &'static str> {
    let pairs = operands.chunks(2).map(|pair| {
        let [comparison, bound] = pair else {
            return Err("`numeric` needs pairs of comparison and number");
        };
        let comparison = match comparison.as_str() {
            Some("=") => Comparison::Equal,
            Some("<") => Comparison::Less,
            Some("<=") => Comparison::LessOrEqual,
            Some(">") => Comparison::Greater,
            Some(">=") => Comparison::GreaterOrEqual,
            _ => return Err("`numeric` compares with =, <, <=, > or >="),
        };
        Ok((comparison, bound.as_f64().ok_or("`numeric` needs a number")?))
    });
    let pairs: Vec<_> = pairs.collect::<Result<_, _>>()?;
    if pairs.is_empty() { Err("`numeric` needs a comparison") } else { Ok(Rule::Numeric(pairs)) }
}

fn matches(pattern: &Pattern, value: Option<&Value>) -> bool {
    match pattern {
        Pattern::Fields(fields) => {
            fields.iter().all(|(name, pattern)| matches(pattern, value.and_then(|value| value.get(name))))
        }
        Pattern::OneOf(rules) => rules.iter().any(|rule| match value {
            Some(Value::Array(elements)) => elements.iter().any(|element| rule_matches(rule, Some(element))),
            value => rule_matches(rule, value),
        }),
    }
}

fn rule_matches(rule: &Rule, value: Option<&Value>) -> bool {
    let text = value.and_then(Value::as_str);
    match rule {
        Rule::Equals(literal) => value.is_some_and(|value| equal(value, literal)),
        Rule::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix)),
        Rule::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix)),
        Rule::EqualsIgnoreCase(other) => text.is_some_and(|text| text.to_lowercase() == other.to_lowercase()),
        Rule::AnythingBut(literals) => value.is_some_and(|value| !literals.iter().any(|literal| equal(value, literal))),
        Rule::Exists(wanted) => value.is_some() == *wanted,
        Rule::Numeric(bounds) => value
            .and_then(Value::as_f64)
            .is_some_and(|number| bounds.iter().all(|(comparison, bound)| compare(number, *comparison, *bound))),
    }
}

/// Numbers are equal by value, so that 300 and 300.0 are.
fn equal(value: &Value, literal: &Value) -> bool {
    match (value.as_f64(), literal.as_f64()) {
        (Some(number), Some(literal)) => compare(number, Comparison::Equal, literal),
        _ => value == literal,
    }
}

fn compare(number: f64, comparison: Comparison, bound: f64) -> bool {
    let Some(order) = number.partial_cmp(&bound) else {
        return false;
    };
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}
