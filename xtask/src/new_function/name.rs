//! A function's name in its forms.

use std::fmt;

/// Longest name: with a prefix of 12 it stays below the 64 of Lambda, and with `-given-up` and the like below the 80 of a queue.
const LENGTH_MAX: usize = 40;

/// A verb and a noun, such as `archive-records`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Takes a name; the error says what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_lowercase())
                && word.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        };
        if text.len() <= LENGTH_MAX && text.contains('-') && text.split('-').all(word) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{text}` is not a function's name: take a verb and a noun in small letters, joined by `-`, such as archive-records, at most \
             {LENGTH_MAX} characters"
        ))
    }

    /// The text of a template with this name.
    pub fn put_into(&self, text: &str) -> String {
        text.replace("example-name", &self.0).replace("ExampleName", &self.joined())
    }

    fn joined(&self) -> String {
        let words = self.0.split('-').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        });
        words.collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_verb_and_a_noun_and_what_is_not_is_told_how() {
        let name = Name::parse("archive-records2").unwrap();
        assert_eq!(name.put_into("ExampleNameRole: example-name"), "ArchiveRecords2Role: archive-records2");
        let long = format!("a-{}", "b".repeat(39));
        for wrong in
            ["", "archive", "Archive-records", "archive_records", "archive-", "-records", "a--b", "a-2b", &long]
        {
            let problem = Name::parse(wrong).unwrap_err();
            assert!(problem.contains("such as archive-records"), "{problem}");
        }
    }
}
