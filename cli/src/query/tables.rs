//! The tables of the lake, as `sql/tables.sql` declares them, and which of them a question reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::questions;

/// A table of the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Its name in SQL.
    pub(super) name: String,
    /// Column, as it is written in SQL, and type.
    columns: Vec<(String, String)>,
}

impl Table {
    /// The topic whose records it holds.
    pub(super) fn topic(&self) -> &str {
        match self.name.as_str() {
            "dead_letters" => "dead-letters",
            name => name,
        }
    }
}

/// Every table of the lake.
pub(super) fn all() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in questions::TABLES.lines() {
        if let Some(name) = line.strip_prefix("CREATE TABLE ").and_then(|rest| rest.strip_suffix(" (")) {
            tables.push(Table { name: name.to_owned(), columns: Vec::new() });
        } else if let (Some(table), Some(column)) = (tables.last_mut(), line.strip_prefix("    ")) {
            let column = column.split("  ").next().unwrap_or_default().trim().trim_end_matches(',');
            if let Some((name, kind)) = column.split_once(' ') {
                table.columns.push((name.to_owned(), kind.to_owned()));
            }
        }
    }
    tables
}

/// The tables that a question reads, through a view or by name.
pub(super) fn read_by(sql: &str) -> Vec<Table> {
    let mut read = words(sql);
    for (view, definition) in questions::views() {
        if read.contains(*view) {
            read.extend(words(definition));
        }
    }
    all().into_iter().filter(|table| read.contains(&table.name)).collect()
}

/// The words of a text outside of comments, in small letters. Those in quotes count: a name in double quotes is one, and a text that is
/// taken for a name only costs reading a table too many.
fn words(sql: &str) -> BTreeSet<String> {
    let (mut words, mut word, mut quote) = (BTreeSet::new(), String::new(), None);
    let mut letters = sql.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter, letters.peek()) {
            (None, '-', Some('-')) => while letters.next_if(|letter| *letter != '\n').is_some() {},
            (None, '/', Some('*')) => {
                let mut before = ' ';
                while let Some(letter) = letters.next().filter(|letter| (before, *letter) != ('*', '/')) {
                    before = letter;
                }
            }
            (None, '\'' | '"', _) => quote = Some(letter),
            (Some(open), letter, _) if open == letter => quote = None,
            (_, letter, _) if letter.is_ascii_alphanumeric() || letter == '_' => {
                word.push(letter.to_ascii_lowercase());
                continue;
            }
            _ => {}
        }
        words.insert(std::mem::take(&mut word));
    }
    words.insert(word);
    words
}

/// What DuckDB is told before the question: the tables over exactly these files, the views, and that nothing else may be touched.
pub(super) fn prelude(tables: &[(Table, Vec<PathBuf>)]) -> String {
    let mut script = "SET TimeZone = 'UTC';\nSET enable_progress_bar = false;\n".to_owned();
    let mut every_file = Vec::new();
    for table in all() {
        let files = tables.iter().find(|(with_files, _)| *with_files == table).map_or(&[][..], |(_, files)| files);
        let columns = |form: fn(&str, &str) -> String| {
            let listed: Vec<String> = table.columns.iter().map(|(name, kind)| form(name, kind)).collect();
            listed.join(", ")
        };
        let name = &table.name;
        let empty = columns(|name, kind| format!("CAST(NULL AS {kind}) AS {name}"));
        let mut source = format!("SELECT {empty} WHERE false");
        if !files.is_empty() {
            let listed: Vec<String> = files.iter().map(|file| literal(file)).collect();
            // Files of an earlier release lack columns that came later: by name, and what is not there is nothing.
            let _infallible = write!(
                source,
                " UNION ALL BY NAME SELECT * FROM read_parquet([{}], union_by_name = true, hive_partitioning = true, \
                 hive_types = {{'dt': VARCHAR, 'hour': VARCHAR}})",
                listed.join(", ")
            );
            every_file.extend(listed);
        }
        let typed = columns(|name, kind| format!("CAST({name} AS {kind}) AS {name}"));
        let _infallible = writeln!(script, "CREATE VIEW {name} AS SELECT {typed} FROM ({source});");
    }
    for (view, definition) in questions::views() {
        let _infallible = writeln!(script, "CREATE VIEW {view} AS\n{definition};");
    }
    let _infallible = writeln!(script, "SET allowed_paths = [{}];\n.safe_mode", every_file.join(", "));
    script
}

fn literal(file: &Path) -> String {
    format!("'{}'", file.to_string_lossy().replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str) -> Vec<String> {
        read_by(sql).into_iter().map(|table| table.name).collect()
    }

    #[test]
    fn every_table_is_read_with_its_columns() {
        let tables = all();
        let named: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(named, ["transactions", "user_actions", "events", "approved", "blocked", "dead_letters"]);
        for table in &tables {
            assert_eq!(table.columns[0], ("\"partition\"".to_owned(), "INTEGER".to_owned()));
            assert_eq!(table.columns.last().unwrap(), &("hour".to_owned(), "VARCHAR".to_owned()), "{}", table.name);
        }
        let reasons = tables[3].columns.iter().find(|(name, _)| name == "reasons").unwrap();
        assert_eq!(reasons.1, "STRUCT(code VARCHAR, contribution DOUBLE)[]");
        assert_eq!(tables[5].topic(), "dead-letters");
    }

    #[test]
    fn only_the_tables_of_the_question_are_read() {
        assert_eq!(names("SELECT * FROM Events -- not transactions\n"), ["events"]);
        assert_eq!(names("SELECT 1 /* events * / blocked */ FROM \"dead_letters\""), ["dead_letters"]);
        assert_eq!(names("SELECT '-- ', x FROM decisions"), ["approved", "blocked"]);
        assert_eq!(names("SELECT 1 FROM feature_names"), [""; 0]);
    }

    #[test]
    fn a_file_with_a_quote_in_its_name_stays_one_literal() {
        let script = prelude(&[(all().remove(0), vec![PathBuf::from("/it's/a.parquet")])]);
        assert!(script.contains("read_parquet(['/it''s/a.parquet']") && script.ends_with(".safe_mode\n"), "{script}");
    }
}
