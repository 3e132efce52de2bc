//! Reads the little of a PartiQL statement that billing needs: what kind it is, and the item that an `INSERT` carries.
//!
//! The engine parses and runs the statement; nothing here decides what a statement does.

use dynoxide::{AttributeValue, Item};

/// What a statement does to its table, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Select,
    Insert,
    /// `UPDATE` or `DELETE`: it has a condition and can hand back the item that did not meet it.
    Conditional,
}

pub(crate) fn kind(statement: &str) -> Kind {
    let verb = statement.split_whitespace().next().unwrap_or_default();
    if verb.eq_ignore_ascii_case("SELECT") {
        Kind::Select
    } else if verb.eq_ignore_ascii_case("INSERT") {
        Kind::Insert
    } else {
        Kind::Conditional
    }
}

/// The table that a statement writes or reads, or the empty string.
pub(crate) fn table(statement: &str) -> &str {
    let mut words = statement.split_whitespace();
    let named = match words.next() {
        Some(verb) if verb.eq_ignore_ascii_case("UPDATE") => words.next(),
        Some(verb) if verb.eq_ignore_ascii_case("INSERT") => words.nth(1),
        _ => words.find(|word| word.eq_ignore_ascii_case("FROM")).and_then(|_| words.next()),
    };
    let named = named.unwrap_or_default();
    named.strip_prefix('"').map_or(named, |quoted| quoted.split('"').next().unwrap_or_default())
}

/// The item of `INSERT INTO "t" VALUE {'name': ?, …}` as far as its values are parameters, strings or numbers. `None` when
/// the statement has another shape.
pub(super) fn inserted_item(statement: &str, parameters: &[AttributeValue]) -> Option<Item> {
    let body = &statement[statement.find('{')? + 1..];
    let mut cursor = Cursor { rest: body };
    let mut parameters = parameters.iter();
    let mut item = Item::new();
    loop {
        cursor.skip_spaces();
        if cursor.take('}') {
            return Some(item);
        }
        let name = cursor.quoted()?;
        cursor.skip_spaces();
        cursor.take(':').then_some(())?;
        cursor.skip_spaces();
        let value = if cursor.take('?') {
            parameters.next()?.clone()
        } else if cursor.rest.starts_with('\'') {
            AttributeValue::S(cursor.quoted()?)
        } else {
            AttributeValue::N(cursor.number()?)
        };
        item.insert(name, value);
        cursor.skip_spaces();
        cursor.take(',');
    }
}

/// The item that `UPDATE "t" SET a=? SET b=? WHERE key=? AND a=?` leaves behind, when it sets every attribute but the key: the
/// assignments, and the first comparison of each attribute that is not assigned. `None` when a value is no parameter.
pub(super) fn updated_item(statement: &str, parameters: &[AttributeValue]) -> Option<Item> {
    let start = statement.find("SET ").or_else(|| statement.find("set "))?;
    let mut parameters = parameters.iter();
    let mut item = Item::new();
    let separated = statement[start..].replace('=', " = ").replace(',', " , ");
    let words: Vec<&str> = separated.split_whitespace().collect();
    for [name, sign, value] in words.windows(3).filter_map(|words| <[&str; 3]>::try_from(words).ok()) {
        if sign != "=" {
            continue;
        }
        let value = if value == "?" { parameters.next()?.clone() } else { return None };
        item.entry(name.trim_matches('"').to_owned()).or_insert(value);
    }
    (!item.is_empty()).then_some(item)
}

struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A string in single quotes, in which two quotes stand for one.
    fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        self.take('\'').then_some(())?;
        loop {
            let (before, after) = self.rest.split_once('\'')?;
            text.push_str(before);
            self.rest = after;
            if !self.take('\'') {
                return Some(text);
            }
            text.push('\'');
        }
    }

    fn number(&mut self) -> Option<String> {
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = self.rest.find(|c| !is_number(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!number.is_empty()).then(|| number.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_insert_shows_its_item() {
        let parameters = [AttributeValue::S("a".to_owned()), AttributeValue::B(vec![1, 2])];
        let item = inserted_item("INSERT INTO \"t\" VALUE {'pk': ?, 'v': 1, 'o''k': 'x' , 's':?}", &parameters);
        let expected = Item::from([
            ("pk".to_owned(), parameters[0].clone()),
            ("v".to_owned(), AttributeValue::N("1".to_owned())),
            ("o'k".to_owned(), AttributeValue::S("x".to_owned())),
            ("s".to_owned(), parameters[1].clone()),
        ]);
        assert_eq!(item, Some(expected));
    }

    #[test]
    fn an_update_shows_the_item_that_it_leaves() {
        let parameters = ["2", "state", "user", "1"].map(|text| AttributeValue::S(text.to_owned()));
        let statement = "UPDATE \"t\" SET v=? SET s=? WHERE pk=? AND v=?";
        let expected = Item::from([
            ("v".to_owned(), parameters[0].clone()),
            ("s".to_owned(), parameters[1].clone()),
            ("pk".to_owned(), parameters[2].clone()),
        ]);
        assert_eq!(updated_item(statement, &parameters), Some(expected));
        assert_eq!(updated_item("UPDATE t SET v = v + 1 WHERE pk = ?", &parameters), None);
    }

    #[test]
    fn the_table_is_found_in_every_kind_of_statement() {
        assert_eq!(table("UPDATE \"user_state\" SET v=? WHERE pk=?"), "user_state");
        assert_eq!(table("insert into t value {'pk': ?}"), "t");
        assert_eq!(table("SELECT * FROM \"t\".\"index\" WHERE pk=?"), "t");
        assert_eq!(table("DELETE FROM \"t\" WHERE pk=?"), "t");
    }

    #[test]
    fn an_insert_with_a_nested_value_is_left_alone() {
        assert_eq!(inserted_item("INSERT INTO t VALUE {'pk': ['a']}", &[]), None);
    }
}
