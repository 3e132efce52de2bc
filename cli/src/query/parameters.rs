//! The parameters of a question: the lines `LITERAL AS name` of its first part, `WITH parameters AS (SELECT ...)`. So the file is plain
//! SQL that any tool runs with its defaults, and a value never becomes anything but a literal of the default's kind.

use super::moment;

const BEGIN: &str = "WITH parameters AS (";

/// What may be set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The literal that stands in the file.
    default: &'a str,
}

/// Why a value cannot be set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadParameter {
    #[error("the question has no parameter `{name}`; it has {known}")]
    Unknown { name: String, known: String },
    #[error("`{value}` for --param {name} is no {expected}; its default is {default}")]
    Value { name: String, value: String, expected: &'static str, default: String },
}

impl Parameter<'_> {
    /// Its default as one writes it after `--param name=`.
    pub(super) fn shown(&self) -> String {
        match self.text() {
            Some(text) => text.replace("''", "'"),
            None => self.default.to_owned(),
        }
    }

    /// What is between the quotes, of a text.
    fn text(&self) -> Option<&str> {
        self.default.strip_prefix('\'')?.strip_suffix('\'')
    }

    /// A value as a literal of the default's kind.
    fn literal(&self, value: &str) -> Result<String, BadParameter> {
        let wrong = |expected| {
            let (name, value, default) = (self.name.to_owned(), value.to_owned(), self.shown());
            BadParameter::Value { name, value, expected, default }
        };
        if self.text().is_some() {
            return Ok(format!("'{}'", value.replace('\'', "''")));
        }
        if self.default.starts_with("TIMESTAMP") {
            return moment::parse(value).map(moment::Moment::literal).map_err(|_| wrong("moment"));
        }
        if self.default.contains(['e', 'E', '.']) {
            let number: f64 = value.parse().map_err(|_| wrong("number"))?;
            // With an exponent it is a floating-point number in both dialects; without one Athena takes it for a decimal.
            return if number.is_finite() { Ok(format!("{number:e}")) } else { Err(wrong("number")) };
        }
        value.parse().map(|number: i64| number.to_string()).map_err(|_| wrong("whole number"))
    }
}

/// A line `LITERAL AS name`, with or without a comma.
fn parameter(line: &str) -> Option<Parameter<'_>> {
    let (default, name) = line.trim().trim_end_matches(',').rsplit_once(" AS ")?;
    Some(Parameter { name: name.trim(), default: default.trim() })
}

/// The lines of the first part, each with whether it may hold a parameter.
fn lines(sql: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut inside = false;
    sql.split_inclusive('\n').map(move |line| {
        let is_parameter = inside && !line.starts_with(')');
        inside = line.starts_with(BEGIN) || is_parameter;
        (is_parameter, line)
    })
}

/// What may be set, in the file's order.
pub(super) fn of(sql: &str) -> Vec<Parameter<'_>> {
    lines(sql).filter(|(is_parameter, _)| *is_parameter).filter_map(|(_, line)| parameter(line)).collect()
}

/// The question with these values in the place of its defaults.
///
/// # Errors
/// When it has no such parameter, or a value is of another kind.
pub(super) fn set(sql: &str, values: &[(String, String)]) -> Result<String, BadParameter> {
    let known = of(sql);
    if let Some((name, _)) = values.iter().find(|(name, _)| known.iter().all(|parameter| parameter.name != name)) {
        let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(BadParameter::Unknown { name: name.clone(), known });
    }
    let mut set = String::with_capacity(sql.len());
    for (is_parameter, line) in lines(sql) {
        let found = parameter(line).filter(|_| is_parameter);
        let value =
            |found: &Parameter<'_>| values.iter().rev().find(|(name, _)| name == found.name).map(|(_, value)| value);
        match found.as_ref().and_then(|found| Some((found, value(found)?))) {
            Some((found, value)) => set.push_str(&line.replacen(found.default, &found.literal(value)?, 1)),
            None => set.push_str(line),
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "-- What?\nWITH parameters AS (\n    SELECT\n        TIMESTAMP '2020-01-01 00:00:00' AS since,\n        8e-1 AS threshold,\n        \
        20 AS users,\n        '' AS user_id\n),\n\nother AS (\n    SELECT 1 AS users\n)\nSELECT 2 AS users\n";

    fn with(name: &str, value: &str) -> Result<String, String> {
        set(SQL, &[(name.to_owned(), value.to_owned())]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_takes_the_place_of_its_default_only() {
        let names: Vec<&str> = of(SQL).iter().map(|parameter| parameter.name).collect();
        assert_eq!(names, ["since", "threshold", "users", "user_id"]);
        assert_eq!(set(SQL, &[]).unwrap(), SQL);
        assert_eq!(with("users", "7").unwrap(), SQL.replacen("20 AS users", "7 AS users", 1));
        assert_eq!(with("threshold", "0.95").unwrap(), SQL.replace("8e-1", "9.5e-1"));
        let since = with("since", "2026-11-28T17:00").unwrap();
        assert_eq!(since, SQL.replace("2020-01-01 00:00:00", "2026-11-28 17:00:00.000"));
    }

    #[test]
    fn a_text_stays_a_text_whatever_it_holds() {
        let set = with("user_id", "x' OR 1=1 AS user_id --").unwrap();
        assert_eq!(set, SQL.replace("'' AS user_id", "'x'' OR 1=1 AS user_id --' AS user_id"));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        assert_eq!(
            with("user", "x").unwrap_err(),
            "the question has no parameter `user`; it has since, threshold, users, user_id"
        );
        assert_eq!(with("users", "1.5").unwrap_err(), "`1.5` for --param users is no whole number; its default is 20");
        for (name, value) in [("threshold", "NaN"), ("threshold", "1; DROP"), ("since", "soon"), ("users", "")] {
            assert!(with(name, value).is_err(), "{name}={value}");
        }
        assert!(set("SELECT 1", &[("a".into(), "b".into())]).unwrap_err().to_string().ends_with("it has none"));
    }
}
