//! The ready questions: `sql/NAME.sql`, with Athena's spelling in `sql/athena/NAME.sql` where the dialects differ.

use std::fmt::Write as _;
use std::path::Path;

use super::parameters;
use crate::failure::Failure;

include!(concat!(env!("OUT_DIR"), "/questions.rs"));

/// The tables of the lake.
pub(super) const TABLES: &str = include_str!("../../../sql/tables.sql");

/// Views over the tables, by name.
pub(super) fn views() -> &'static [(&'static str, &'static str)] {
    VIEWS
}

/// A question's SQL, ready or from a file.
#[derive(Debug)]
pub(super) struct Question {
    /// For DuckDB.
    pub(super) sql: String,
    /// For Athena.
    pub(super) athena: String,
}

/// Finds what is asked: a name, or a file where it ends with `.sql` or names a directory.
///
/// # Errors
/// When there is no such question, or the file cannot be read.
pub(super) fn find(name: &str) -> Result<Question, Failure> {
    if name.ends_with(".sql") || name.contains('/') {
        let sql = std::fs::read_to_string(Path::new(name))
            .map_err(|error| Failure::Usage(format!("{name} cannot be read: {error}")))?;
        return Ok(Question { athena: sql.clone(), sql });
    }
    let of = |list: &[(&str, &str)]| list.iter().find(|(known, _)| *known == name).map(|(_, sql)| (*sql).to_owned());
    let Some(sql) = of(QUESTIONS) else {
        let known: Vec<&str> = QUESTIONS.iter().map(|(known, _)| *known).collect();
        return Err(Failure::Usage(format!(
            "there is no question `{name}`; there are {}, and a file must end with .sql",
            known.join(", ")
        )));
    };
    Ok(Question { athena: of(ATHENA).unwrap_or_else(|| sql.clone()), sql })
}

/// What can be asked: name, question, and what may be set with `--param`.
pub(super) fn listed() -> String {
    let width = QUESTIONS.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, sql) in QUESTIONS {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{name:width$}  {}", question(sql));
        let settable: Vec<String> = parameters::of(sql)
            .into_iter()
            .filter(|parameter| !["since", "until"].contains(&parameter.name))
            .map(|parameter| format!("{}={}", parameter.name, parameter.shown()))
            .collect();
        if !settable.is_empty() {
            let _infallible = writeln!(text, "{:width$}  --param {}", "", settable.join(" --param "));
        }
    }
    text
}

/// The first line of a file, which is the question in plain English.
fn question(sql: &str) -> &str {
    sql.lines().next().unwrap_or_default().trim_start_matches("--").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_begins_with_its_question_and_can_be_limited_in_time() {
        assert!(QUESTIONS.len() >= 20, "{}", QUESTIONS.len());
        for (name, sql) in QUESTIONS {
            assert!(sql.starts_with("-- ") && question(sql).contains('?'), "{name}: {}", question(sql));
            let named: Vec<&str> = parameters::of(sql).iter().map(|parameter| parameter.name).collect();
            assert!(named.starts_with(&["since", "until"]), "{name}: {named:?}");
        }
        for (name, _) in ATHENA {
            assert!(QUESTIONS.iter().any(|(question, _)| question == name), "{name} is for Athena only");
        }
    }

    #[test]
    fn the_list_names_what_can_be_set() {
        let list = listed();
        assert!(list.contains("block-rate"), "{list}");
        assert!(list.contains("--param limit_ms=500"), "{list}");
    }

    #[test]
    fn an_unknown_question_is_told_which_there_are() {
        let refused = find("blok-rate").unwrap_err().to_string();
        assert!(refused.contains("block-rate") && !refused.contains('\n'), "{refused}");
        assert!(find("nowhere.sql").unwrap_err().to_string().contains("cannot be read"));
    }
}
