//! The two small languages of CloudWatch: metric math, of which the names are checked, and the rules of composite alarms, which are
//! read as a whole.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html> and
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html>

/// Functions and words of metric math that are in use here; others are refused until somebody looks them up.
const FUNCTIONS: [&str; 26] = [
    "ABS",
    "AND",
    "AVG",
    "CEIL",
    "DIFF",
    "FILL",
    "FIRST",
    "FLOOR",
    "IF",
    "LAST",
    "LOG",
    "LOG10",
    "MAX",
    "METRICS",
    "METRIC_COUNT",
    "MIN",
    "OR",
    "PERIOD",
    "RATE",
    "REPEAT",
    "LINEAR",
    "RUNNING_SUM",
    "STDDEV",
    "SUM",
    "TIME_SERIES",
    "e",
];
/// A rule is not nested deeper: CloudWatch takes 10,240 characters of it.
const DEPTH_MAX: u32 = 32;

/// Names in an expression of metric math that are none of these ids, and no function.
pub(super) fn unknown_names(expression: &str, is_id: impl Fn(&str) -> bool) -> Vec<&str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names = words.filter(|word| word.starts_with(|letter: char| letter.is_ascii_alphabetic()));
    names.filter(|word| !is_id(word) && !FUNCTIONS.contains(word)).collect()
}

/// Whether every bracket of an expression is closed, in order.
pub(super) fn is_balanced(expression: &str) -> bool {
    let mut open = 0_i32;
    for letter in expression.chars() {
        open += match letter {
            '(' | '[' => 1,
            ')' | ']' => -1,
            _ => 0,
        };
        if open < 0 {
            return false;
        }
    }
    open == 0
}

/// The alarms that the rule of a composite asks about.
///
/// # Errors
/// Where it stops to be a rule.
pub(super) fn alarms_of(rule: &str) -> Result<Vec<String>, String> {
    let mut reader = Reader { rest: rule, alarms: Vec::new() };
    reader.any(0)?;
    reader.spaces();
    if reader.rest.is_empty() { Ok(reader.alarms) } else { Err(reader.rest.to_owned()) }
}

struct Reader<'a> {
    rest: &'a str,
    alarms: Vec<String>,
}

impl Reader<'_> {
    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn word(&mut self, word: &str) -> bool {
        self.spaces();
        let Some(rest) = self.rest.strip_prefix(word) else { return false };
        let goes_on = |text: &str| text.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_');
        if goes_on(word) && goes_on(rest) {
            return false;
        }
        self.rest = rest;
        true
    }

    fn stop<T>(&self) -> Result<T, String> {
        Err(if self.rest.is_empty() { "its end".to_owned() } else { self.rest.to_owned() })
    }

    /// Parts with AND or OR between them.
    fn any(&mut self, depth: u32) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return self.stop();
        }
        self.one(depth)?;
        while self.word("AND") || self.word("OR") {
            self.one(depth)?;
        }
        Ok(())
    }

    fn one(&mut self, depth: u32) -> Result<(), String> {
        if self.word("NOT") {
            return if depth > DEPTH_MAX { self.stop() } else { self.one(depth + 1) };
        }
        if self.word("TRUE") || self.word("FALSE") {
            return Ok(());
        }
        if self.word("(") {
            self.any(depth + 1)?;
            return if self.word(")") { Ok(()) } else { self.stop() };
        }
        if !["ALARM", "OK", "INSUFFICIENT_DATA"].into_iter().any(|state| self.word(state)) || !self.word("(") {
            return self.stop();
        }
        self.spaces();
        let (name, rest) = match self.rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| self.rest.to_owned())?,
            None => self.rest.find(')').map(|end| self.rest.split_at(end)).ok_or_else(|| self.rest.to_owned())?,
        };
        let name = name.trim();
        if name.is_empty() {
            return self.stop();
        }
        self.alarms.push(name.to_owned());
        self.rest = rest;
        if self.word(")") { Ok(()) } else { self.stop() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_a_whole_and_names_its_alarms() {
        let read = alarms_of("ALARM(\"a-lag\") OR (ALARM(b) AND NOT OK(\"c d\")) OR FALSE");
        assert_eq!(read, Ok(vec!["a-lag".to_owned(), "b".to_owned(), "c d".to_owned()]));
        for wrong in [
            "",
            "ALARM(",
            "ALARM(\"a\") OR",
            "ALARM(\"a\"",
            "ALARM() OR TRUE",
            "ALARM(\"a\") XOR TRUE",
            "ALARMED(a)",
            "(TRUE",
        ] {
            assert!(alarms_of(wrong).is_err(), "{wrong}");
        }
        assert!(alarms_of(&"(".repeat(100_000)).is_err());
        assert!(alarms_of(&"NOT ".repeat(100_000)).is_err());
    }

    #[test]
    fn names_in_metric_math_are_ids_or_functions() {
        let is_id = |word: &str| ["decided", "m1"].contains(&word);
        assert!(unknown_names("IF(decided >= 100, 100 * FILL(m1, 0) / decided, 0)", is_id).is_empty());
        assert_eq!(unknown_names("IFF(decidet, 1, m1)", is_id), ["IFF", "decidet"]);
        assert!(is_balanced("IF((a), b[1])") && !is_balanced("IF((a)") && !is_balanced(")("));
    }
}
