//! The rule of a composite alarm.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html>: `ALARM`, `OK` and `INSUFFICIENT_DATA`
//! of an alarm's name or ARN, `TRUE` and `FALSE`, joined by `AND`, `OR` and `NOT`. `AT_LEAST` is not evaluated here.

use crate::status::State;

/// Longest rule.
const LETTERS_MAX: usize = 10_240;
/// Most alarms that a rule names.
const ALARMS_MAX: usize = 100;
const DEPTH_MAX: u16 = 32;

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expected} is expected instead of `{found}`")]
pub struct RuleError {
    expected: &'static str,
    found: String,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Constant(bool),
    Is(State, String),
    Not(Box<Rule>),
    And(Box<(Rule, Rule)>),
    Or(Box<(Rule, Rule)>),
}

impl Rule {
    /// Reads a rule.
    pub(crate) fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > LETTERS_MAX {
            return Err(problem("a rule of at most 10,240 letters", text));
        }
        let mut parser = Parser { rest: text.trim_start() };
        let rule = parser.or(0)?;
        let mut names = Vec::new();
        rule.name_alarms(&mut names);
        if names.len() > ALARMS_MAX {
            return Err(problem("a rule of at most 100 alarms", text));
        }
        if parser.rest.is_empty() { Ok(rule) } else { Err(problem("the end of the rule", parser.rest)) }
    }

    /// Whether it holds, by the states of the alarms; one that nobody knows has none of them.
    pub(crate) fn holds(&self, state_of: &impl Fn(&str) -> Option<State>) -> bool {
        match self {
            Self::Constant(holds) => *holds,
            Self::Is(state, alarm) => state_of(alarm) == Some(*state),
            Self::Not(rule) => !rule.holds(state_of),
            Self::And(rules) => rules.0.holds(state_of) && rules.1.holds(state_of),
            Self::Or(rules) => rules.0.holds(state_of) || rules.1.holds(state_of),
        }
    }

    /// The alarms that it names, as often as it does.
    pub(crate) fn name_alarms<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Constant(_) => {}
            Self::Is(_, alarm) => names.push(alarm),
            Self::Not(rule) => rule.name_alarms(names),
            Self::And(rules) | Self::Or(rules) => {
                rules.0.name_alarms(names);
                rules.1.name_alarms(names);
            }
        }
    }
}

/// The name of an alarm that a rule or a suppressor names by name or by ARN.
pub(crate) fn alarm_name(text: &str) -> &str {
    text.rsplit_once(":alarm:").map_or(text, |(_, name)| name)
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn word(&self) -> &'a str {
        let end = self.rest.find(|letter: char| !letter.is_ascii_alphabetic() && letter != '_');
        &self.rest[..end.unwrap_or(self.rest.len())]
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_there = self.word() == word;
        if is_there {
            self.skip(word.len());
        }
        is_there
    }

    fn sign(&mut self, sign: char, expected: &'static str) -> Result<(), RuleError> {
        if !self.rest.starts_with(sign) {
            return Err(problem(expected, self.rest));
        }
        self.skip(sign.len_utf8());
        Ok(())
    }

    fn or(&mut self, depth: u16) -> Result<Rule, RuleError> {
        let mut left = self.and(depth)?;
        while self.takes("OR") {
            left = Rule::Or(Box::new((left, self.and(depth)?)));
        }
        Ok(left)
    }

    fn and(&mut self, depth: u16) -> Result<Rule, RuleError> {
        let mut left = self.single(depth)?;
        while self.takes("AND") {
            left = Rule::And(Box::new((left, self.single(depth)?)));
        }
        Ok(left)
    }

    fn single(&mut self, depth: u16) -> Result<Rule, RuleError> {
        if depth > DEPTH_MAX {
            return Err(problem("a rule that is nested at most 32 deep", self.rest));
        }
        if self.takes("NOT") {
            return Ok(Rule::Not(Box::new(self.single(depth + 1)?)));
        }
        if self.rest.starts_with('(') {
            self.skip(1);
            let rule = self.or(depth + 1)?;
            self.sign(')', "a closing parenthesis")?;
            return Ok(rule);
        }
        for (word, value) in [("TRUE", true), ("FALSE", false)] {
            if self.takes(word) {
                return Ok(Rule::Constant(value));
            }
        }
        for state in State::ALL {
            if self.takes(state.as_str()) {
                return Ok(Rule::Is(state, self.argument()?));
            }
        }
        Err(problem("ALARM, OK, INSUFFICIENT_DATA, TRUE, FALSE, NOT or a parenthesis", self.rest))
    }

    /// A name in parentheses, in quotes or not.
    fn argument(&mut self) -> Result<String, RuleError> {
        self.sign('(', "an alarm in parentheses")?;
        let quote = self.rest.chars().next().filter(|first| matches!(first, '"' | '\''));
        let inner = if quote.is_some() { &self.rest[1..] } else { self.rest };
        let end = inner.find(quote.unwrap_or(')')).ok_or_else(|| problem("the end of an alarm's name", self.rest))?;
        let name = alarm_name(inner[..end].trim()).to_owned();
        if name.is_empty() {
            return Err(problem("the name of an alarm", self.rest));
        }
        self.skip(end + if quote.is_some() { 2 } else { 0 });
        self.sign(')', "a closing parenthesis")?;
        Ok(name)
    }
}

fn problem(expected: &'static str, found: &str) -> RuleError {
    let found = if found.is_empty() { "the end".to_owned() } else { found.chars().take(40).collect() };
    RuleError { expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        let state_of = |name: &str| match name {
            "a" => Some(State::Alarm),
            "b" => Some(State::Ok),
            "c d" => Some(State::InsufficientData),
            _ => None,
        };
        Rule::parse(text).expect("a rule").holds(&state_of)
    }

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for text in [
            r#"ALARM("a")"#,
            "ALARM(a) AND OK('b')",
            "OK(a) OR ALARM(a)",
            "NOT OK(a)",
            "NOT (OK(a) AND ALARM(b))",
            r#"INSUFFICIENT_DATA("c d")"#,
            "ALARM(arn:aws:cloudwatch:us-east-1:000000000000:alarm:a)",
            "TRUE AND NOT FALSE",
            "ALARM(a) OR OK(a) AND FALSE",
            "NOT ALARM(unknown)",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in ["ALARM(b)", "ALARM(a) AND ALARM(b)", "NOT (ALARM(a) OR OK(a))", "ALARM(unknown)", "FALSE"] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_rule_is_refused_at_its_place() {
        for (text, part) in [
            ("", "the end"),
            ("ALARM", "parentheses"),
            ("ALARM(a", "the end of an alarm's name"),
            ("ALARM()", "the name of an alarm"),
            ("ALARM(a) ALARM(b)", "the end of the rule"),
            ("ALARM(a) XOR ALARM(b)", "XOR"),
            ("AT_LEAST(1, ALARM, (a))", "AT_LEAST"),
            ("(ALARM(a)", "a closing parenthesis"),
        ] {
            let problem = Rule::parse(text).expect_err(text).to_string();
            assert!(problem.contains(part), "{text}: {problem}");
        }
        assert!(Rule::parse(&"(".repeat(100)).is_err() && Rule::parse(&"NOT ".repeat(1_000)).is_err());
    }
}
