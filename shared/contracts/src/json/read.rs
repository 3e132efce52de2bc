//! The pull reader.

use super::text::Text;

/// Bytes that are not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON: expected {expected} at byte {at}")]
pub struct Syntax {
    /// Position in the input.
    pub at: usize,
    /// What should stand there.
    pub expected: &'static str,
}

/// What a value is, seen from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

/// A position in the input.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// At the beginning of an input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, expected })
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// Moves past white space and over `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.whitespace();
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Where the next value begins.
    pub(crate) fn position(&mut self) -> usize {
        self.whitespace();
        self.at
    }

    /// The input from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// What the next value is.
    pub fn peek(&mut self) -> Result<Kind, Syntax> {
        self.whitespace();
        match self.byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(b'N' | b'I') => self.expected("a value (JSON has no NaN and no Infinity)"),
            _ => self.expected("a value"),
        }
    }

    /// Only white space may remain.
    pub fn end(&mut self) -> Result<(), Syntax> {
        self.whitespace();
        if self.at == self.bytes.len() { Ok(()) } else { self.expected("nothing more after the value") }
    }

    /// Steps into an object; then [`Reader::member`] until `None`.
    pub fn object(&mut self) -> Result<Within, Syntax> {
        if self.take(b'{') { Ok(Within { first: true }) } else { self.expected("`{`") }
    }

    /// The next member's name, leaving its value next; `None` after the last.
    pub fn member(&mut self, within: &mut Within) -> Result<Option<Text<'a>>, Syntax> {
        if self.take(b'}') {
            return Ok(None);
        }
        if !within.first && !self.take(b',') {
            return self.expected("`,` or `}`");
        }
        within.first = false;
        self.name().map(Some)
    }

    fn name(&mut self) -> Result<Text<'a>, Syntax> {
        let name = self.text()?;
        if self.take(b':') { Ok(name) } else { self.expected("`:`") }
    }

    /// Steps into an array; then [`Reader::element`] until `false`.
    pub fn array(&mut self) -> Result<Within, Syntax> {
        if self.take(b'[') { Ok(Within { first: true }) } else { self.expected("`[`") }
    }

    /// Whether another element follows.
    pub fn element(&mut self, within: &mut Within) -> Result<bool, Syntax> {
        if self.take(b']') {
            return Ok(false);
        }
        if !within.first && !self.take(b',') {
            return self.expected("`,` or `]`");
        }
        within.first = false;
        Ok(true)
    }

    /// A string.
    pub fn text(&mut self) -> Result<Text<'a>, Syntax> {
        if !self.take(b'"') {
            return self.expected("a string");
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_prefix(&self.bytes[self.at..]);
            match self.byte() {
                Some(b'"') => {
                    let raw = self.since(start);
                    self.at += 1;
                    return Ok(Text { raw, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.expected("no bare control character in a string"),
                None => return self.expected("the end of a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Syntax> {
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                let digits = self.bytes.get(self.at..self.at + 4);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.expected("four hexadecimal digits");
                }
                self.at += 4;
                Ok(())
            }
            _ => self.expected("an escape sequence"),
        }
    }

    /// A number, as its text.
    pub(crate) fn number(&mut self) -> Result<&'a [u8], Syntax> {
        self.whitespace();
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
            if self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
                return self.expected("no digit after a leading 0");
            }
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.since(start))
    }

    fn digits(&mut self) -> Result<(), Syntax> {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return self.expected("a digit");
        }
        self.at += digits;
        Ok(())
    }

    /// `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool, Syntax> {
        self.whitespace();
        if self.byte() == Some(b't') {
            return self.literal(b"true").map(|()| true);
        }
        self.literal(b"false").map(|()| false)
    }

    /// `null`.
    pub fn null(&mut self) -> Result<(), Syntax> {
        self.whitespace();
        self.literal(b"null")
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Syntax> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.expected("true, false or null");
        }
        self.at += word.len();
        Ok(())
    }

    /// Moves over a whole value, however deep, and gives its text.
    pub fn skip(&mut self) -> Result<&'a [u8], Syntax> {
        let start = self.position();
        let mut nest = Nest::default();
        loop {
            if self.step_into(&mut nest)? {
                continue;
            }
            while let Some(inside_object) = nest.innermost() {
                let close = if inside_object { b'}' } else { b']' };
                if self.take(close) {
                    nest.leave();
                } else if self.take(b',') {
                    if inside_object {
                        self.name()?;
                    }
                    break;
                } else {
                    return self.expected(if inside_object { "`,` or `}`" } else { "`,` or `]`" });
                }
            }
            if nest.depth == 0 {
                return Ok(self.since(start));
            }
        }
    }

    /// Moves over a scalar or an empty container, or into a container. Returns whether a value is next.
    fn step_into(&mut self, nest: &mut Nest) -> Result<bool, Syntax> {
        match self.peek()? {
            Kind::Null => self.null()?,
            Kind::Bool => drop(self.bool()?),
            Kind::Number => drop(self.number()?),
            Kind::Text => drop(self.text()?),
            Kind::Array => {
                self.at += 1;
                if !self.take(b']') {
                    nest.enter(false);
                    return Ok(true);
                }
            }
            Kind::Object => {
                self.at += 1;
                if !self.take(b'}') {
                    nest.enter(true);
                    self.name()?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Progress inside an object or an array.
#[derive(Debug)]
pub struct Within {
    first: bool,
}

/// The open containers around a position: one bit each, so that depth costs an eighth of the bytes that make it.
#[derive(Default)]
struct Nest {
    depth: usize,
    outermost: u64,
    deeper: Vec<u64>,
}

impl Nest {
    fn enter(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word > self.deeper.len() {
            self.deeper.push(0);
        }
        let word = if word == 0 { &mut self.outermost } else { &mut self.deeper[word - 1] };
        *word = (*word & !(1 << bit)) | (u64::from(object) << bit);
        self.depth += 1;
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    fn innermost(&self) -> Option<bool> {
        let index = self.depth.checked_sub(1)?;
        let word = if index < 64 { self.outermost } else { self.deeper[index / 64 - 1] };
        Some(word >> (index % 64) & 1 == 1)
    }
}

/// How many bytes stand before the next quote, backslash or control character.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    let special = |byte: u8| u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20);
    // Names and numbers end within a few bytes.
    let mut clean = 0;
    for chunk in bytes.chunks_exact(8).take(2) {
        let found = specials(chunk);
        if found != 0 {
            return clean + (found.trailing_zeros() / 8) as usize;
        }
        clean += 8;
    }
    // No early exit inside a chunk: the compiler turns it into vector compares.
    for chunk in bytes[clean..].chunks_exact(32) {
        if chunk.iter().fold(0, |found, &byte| found | special(byte)) != 0 {
            break;
        }
        clean += 32;
    }
    for chunk in bytes[clean..].chunks_exact(8) {
        let found = specials(chunk);
        if found != 0 {
            return clean + (found.trailing_zeros() / 8) as usize;
        }
        clean += 8;
    }
    clean + bytes[clean..].iter().take_while(|&&byte| special(byte) == 0).count()
}

/// Of eight bytes, the first in the lowest bits: the highest bit of the first that is a quote, a backslash or a control character. Of those
/// after it nothing is said.
fn specials(bytes: &[u8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    let word = u64::from_le_bytes(word);
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHEST;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word & HIGHEST;
    is_zero(word ^ (ONES * 0x22)) | is_zero(word ^ (ONES * 0x5c)) | is_control
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use proptest::prelude::*;

    fn accepts(bytes: &[u8]) -> bool {
        let mut reader = Reader::new(bytes);
        reader.skip().and_then(|_| reader.end()).is_ok()
    }

    #[test]
    fn a_million_levels_are_skipped_without_a_stack() {
        let mut deep = b"[".repeat(1_000_000);
        deep.extend(b"]".repeat(1_000_000));
        assert!(accepts(&deep));
        assert!(!accepts(&deep[1..]));
        assert!(accepts(&[b"{\"a\":[".repeat(10_000), b"1".to_vec(), b"]}".repeat(10_000)].concat()));
        assert!(!accepts(&[b"{\"a\":[".repeat(10_000), b"1".to_vec(), b"}]".repeat(10_000)].concat()));
    }

    #[test]
    fn a_string_ends_where_its_first_special_byte_stands() {
        for special in [b'"', b'\\', 0, 0x1f] {
            for (at, length) in (0..80).flat_map(|at| (at + 1..81).map(move |length| (at, length))) {
                // Neighbours that differ from a special byte by a bit, and others of eight bits.
                let mut bytes: Vec<u8> = (0..length).map(|place| b"! #[]\x7f\x80\xa2\xdc\xff"[place % 10]).collect();
                bytes[at] = special;
                assert_eq!(plain_prefix(&bytes), at, "{bytes:?}");
                assert_eq!(plain_prefix(&bytes[..at]), at);
            }
        }
    }

    #[test]
    fn strings_stand_for_the_same_text_as_in_serde_json() {
        for text in
            [r#""plain""#, r#""\u0041\n\/\"\\""#, r#""\ud83d\ude00""#, r#""é""#, r#""\ud83d""#, r#""\ude00\ud83d""#]
        {
            let ours = Reader::new(text.as_bytes()).text().unwrap().decode();
            assert_eq!(ours.ok().map(Cow::into_owned), serde_json::from_str::<String>(text).ok(), "{text}");
        }
    }

    fn jsonish() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "\\", "\\u12", "0", "1", "-", ".", "e", "+", "true", "null",
            " ", "fals", "01", "1e5", "-0.5", "\u{7f}", "\n", "NaN", "\"b\":",
        ]);
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn it_accepts_what_serde_json_accepts(text in jsonish()) {
            prop_assert_eq!(accepts(&text), serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn what_a_writer_escapes_is_read_back(text in any::<String>()) {
            let mut written = Vec::new();
            crate::json::push_text(&mut written, &text);
            prop_assert_eq!(Reader::new(&written).text().unwrap().decode().unwrap(), text.as_str());
            prop_assert_eq!(serde_json::from_slice::<String>(&written).unwrap(), text);
        }
    }
}
