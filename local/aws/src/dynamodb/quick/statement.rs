//! The few forms of PartiQL statements that functions use: items whole, and attributes of an item on a condition.

use std::sync::Arc;

use super::item::{Item, Value};

/// What has to hold of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// `name = ?`.
    Equals,
    /// `name IS MISSING`.
    Missing,
}

/// A statement. Values are parameters, in the order of the names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `INSERT INTO "table" VALUE {'name':?, …}`.
    Insert { table: Box<str>, names: Vec<Arc<str>> },
    /// `UPDATE "table" SET name=? SET … WHERE name=? AND …`.
    Update { table: Box<str>, names: Vec<Arc<str>>, tests: Vec<(Box<str>, Test)> },
}

impl Form {
    /// None of another form.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = Words { rest: text };
        let form = if words.take("INSERT") { words.insert() } else { words.update() }?;
        (words.is_at_end() && form.is_sound()).then_some(form)
    }

    pub(super) fn table(&self) -> &str {
        match self {
            Self::Insert { table, .. } | Self::Update { table, .. } => table,
        }
    }

    /// What is set, by the first parameters.
    pub(super) fn names(&self) -> &[Arc<str>] {
        match self {
            Self::Insert { names, .. } | Self::Update { names, .. } => names,
        }
    }

    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Insert { names, .. } => names.len(),
            Self::Update { names, tests, .. } => {
                names.len() + tests.iter().filter(|(_, test)| *test == Test::Equals).count()
            }
        }
    }

    /// Where the parameter stands that is the key.
    pub(super) fn key_at(&self, key: &str) -> Option<usize> {
        match self {
            Self::Insert { names, .. } => names.iter().position(|name| **name == *key),
            Self::Update { names, tests, .. } => {
                let equals = tests.iter().filter(|(_, test)| *test == Test::Equals);
                let is_set = names.iter().any(|name| **name == *key);
                let at = equals.map(|(name, _)| name).position(|name| **name == *key);
                at.filter(|_| !is_set).map(|at| names.len() + at)
            }
        }
    }

    /// No name twice where only one can count.
    fn is_sound(&self) -> bool {
        let (names, tests): (&[_], &[_]) = match self {
            Self::Insert { names, .. } => (names, &[]),
            Self::Update { names, tests, .. } => (names, tests),
        };
        let is_new = |(index, name): (usize, &Arc<str>)| !names[..index].contains(name);
        let is_new_test =
            |(index, (name, _)): (usize, &(Box<str>, Test))| tests[..index].iter().all(|(other, _)| other != name);
        names.iter().enumerate().all(is_new) && tests.iter().enumerate().all(is_new_test)
    }
}

/// Whether an item meets the tests of an update, of which `values` are the parameters.
pub(super) fn meets(item: &Item, tests: &[(Box<str>, Test)], values: &[Value]) -> bool {
    let mut values = values.iter();
    tests.iter().all(|(name, test)| match test {
        Test::Equals => values.next().is_some_and(|value| item.is(name, value)),
        Test::Missing => !item.has(name),
    })
}

/// What is left of a text.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn is_at_end(&mut self) -> bool {
        self.rest.trim_start().is_empty()
    }

    /// Takes a sign or a word, if it comes next.
    fn take(&mut self, wanted: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(wanted) else { return false };
        let goes_on = wanted.ends_with(is_of_a_name) && rest.starts_with(is_of_a_name);
        if !goes_on {
            self.rest = rest;
        }
        !goes_on
    }

    fn expect(&mut self, wanted: &[&str]) -> Option<()> {
        wanted.iter().all(|wanted| self.take(wanted)).then_some(())
    }

    /// A name in quotes, without any of what it would have to escape.
    fn quoted(&mut self, quote: char) -> Option<Box<str>> {
        let (name, rest) = self.rest.trim_start().strip_prefix(quote)?.split_once(quote)?;
        self.rest = rest;
        let is_plain = !name.is_empty() && !rest.starts_with(quote) && !name.contains(['\'', '"', '\\']);
        is_plain.then(|| name.into())
    }

    /// A name without quotes.
    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let (name, rest) = rest.split_at(rest.find(|letter| !is_of_a_name(letter)).unwrap_or(rest.len()));
        self.rest = rest;
        name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_').then_some(name)
    }

    fn insert(&mut self) -> Option<Form> {
        self.expect(&["INTO"])?;
        let table = self.quoted('"')?;
        self.expect(&["VALUE", "{"])?;
        let mut names = Vec::new();
        loop {
            names.push(self.quoted('\'')?.into());
            self.expect(&[":", "?"])?;
            if !self.take(",") {
                break;
            }
        }
        self.expect(&["}"])?;
        Some(Form::Insert { table, names })
    }

    fn update(&mut self) -> Option<Form> {
        self.expect(&["UPDATE"])?;
        let table = self.quoted('"')?;
        let (mut names, mut tests) = (Vec::new(), Vec::new());
        while self.take("SET") {
            names.push(self.name()?.into());
            self.expect(&["=", "?"])?;
        }
        self.expect(&["WHERE"])?;
        loop {
            let name = self.name()?.into();
            let test = if self.take("=") {
                self.expect(&["?"])?;
                Test::Equals
            } else {
                self.expect(&["IS", "MISSING"])?;
                Test::Missing
            };
            tests.push((name, test));
            if !self.take("AND") {
                break;
            }
        }
        (!names.is_empty()).then_some(Form::Update { table, names, tests })
    }
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_functions_say_is_understood_and_nothing_like_it() {
        let insert = Form::read(r#"INSERT INTO "t" VALUE {'pk':?,'v':?}"#).expect("a form");
        assert_eq!((insert.table(), insert.parameters(), insert.key_at("pk")), ("t", 2, Some(0)));
        let update = Form::read(r#"UPDATE "t" SET v=? SET s=? WHERE pk=? AND v=? AND r IS MISSING"#).expect("a form");
        assert_eq!((update.table(), update.parameters(), update.key_at("pk")), ("t", 4, Some(2)));
        assert_eq!((update.key_at("v"), update.key_at("r")), (None, None), "it is no key that is set, or not there");
        for other in [
            r#"INSERT INTO "t" VALUE {'pk':?,'v':1}"#,
            r#"INSERT INTO "t" VALUE {'pk':?,'pk':?}"#,
            r#"INSERT INTO "t" VALUE {'pk':?} RETURNING ALL OLD *"#,
            r#"INSERT INTO "t" VALUE {'it''s':?}"#,
            r#"UPDATE "t" SET v=v+? WHERE pk=?"#,
            r#"UPDATE "t" SET v=? WHERE pk=? OR v=?"#,
            r#"UPDATE "t" SET v=? SET v=? WHERE pk=?"#,
            r#"UPDATE "t" SETTING v=? WHERE pk=?"#,
            r#"UPDATE "t"."index" SET v=? WHERE pk=?"#,
            r#"UPDATE "t" SET v=? WHERE pk=? AND pk=?"#,
            r#"DELETE FROM "t" WHERE pk=?"#,
            "",
        ] {
            assert_eq!(Form::read(other), None, "{other}");
        }
    }
}
