//! Strings and their escapes.

use std::borrow::Cow;

/// A JSON string that is not text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextProblem {
    /// Its bytes are not UTF-8.
    #[error("is not UTF-8 text")]
    NotUtf8,
    /// It holds half of a surrogate pair.
    #[error("holds half of a Unicode surrogate pair")]
    LoneSurrogate,
}

/// A string between its quotes, escapes not resolved.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
}

impl<'a> Text<'a> {
    /// The bytes that the string stands for; `None` when resolving escapes needs [`Text::decode`].
    pub fn plain(self) -> Option<&'a [u8]> {
        (!self.escaped).then_some(self.raw)
    }

    /// The text.
    pub fn decode(self) -> Result<Cow<'a, str>, TextProblem> {
        let text = std::str::from_utf8(self.raw).map_err(|_| TextProblem::NotUtf8)?;
        if self.escaped { unescape(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
    }

    /// Whether the text is exactly `name`.
    pub fn is(self, name: &str) -> bool {
        match self.plain() {
            Some(raw) => raw == name.as_bytes(),
            None => self.decode().is_ok_and(|text| text == name),
        }
    }

    /// The bytes as they stand in the input, for an excerpt.
    pub(crate) fn raw(self) -> &'a [u8] {
        self.raw
    }
}

fn unescape(text: &str) -> Result<String, TextProblem> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let (character, used) = escaped_character(&rest.as_bytes()[at + 1..])?;
        plain.push(character);
        rest = &rest[at + 1 + used..];
    }
    plain.push_str(rest);
    Ok(plain)
}

/// The character of an escape sequence after its backslash, and how many bytes the sequence has.
fn escaped_character(sequence: &[u8]) -> Result<(char, usize), TextProblem> {
    let single = match sequence.first() {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return code_point(sequence),
        Some(&byte) => char::from(byte),
        None => return Err(TextProblem::LoneSurrogate),
    };
    Ok((single, 1))
}

fn code_point(sequence: &[u8]) -> Result<(char, usize), TextProblem> {
    let first = hex(sequence.get(1..5)).ok_or(TextProblem::LoneSurrogate)?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 5));
    }
    let follows = sequence.get(5..7) == Some(b"\\u");
    let second = hex(sequence.get(7..11)).filter(|second| follows && (0xdc00..0xe000).contains(second));
    let (true, Some(second)) = (first < 0xdc00, second) else {
        return Err(TextProblem::LoneSurrogate);
    };
    let combined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    char::from_u32(combined).map(|character| (character, 11)).ok_or(TextProblem::LoneSurrogate)
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}
