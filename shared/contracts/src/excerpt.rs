//! A piece of foreign text that is safe to show: short, and without characters that act on a terminal or a log.

use std::fmt;

/// Most bytes shown.
const SHOWN: usize = 32;

/// At most 32 bytes of a value, with everything but printable ASCII escaped. Never made of a field that may name a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut shown = String::new();
        for &byte in bytes.iter().take(SHOWN) {
            match byte {
                b'"' | b'\'' => shown.push(char::from(byte)),
                _ => shown.extend(byte.escape_ascii().map(char::from)),
            }
        }
        if bytes.len() > SHOWN {
            shown.push_str("...");
        }
        Self(shown.into_boxed_str())
    }

    /// Of a value where a number, a version or a time belongs. Producers mix up columns, so it is shown only while it is made of
    /// what those are made of, and not when it could be a card number; else only its length is told.
    pub(crate) fn of_figure(bytes: &[u8]) -> Self {
        let is_figure = |byte: &u8| {
            matches!(
                byte,
                b'0'..=b'9' | b'+' | b'-' | b'.' | b':' | b'"' | b' ' | b'e' | b'E' | b'T' | b't' | b'Z' | b'z'
            )
        };
        if !bytes.iter().all(is_figure) {
            return Self(format!("{} bytes of text", bytes.len()).into_boxed_str());
        }
        match card_digits(bytes) {
            Some(digits) => Self(format!("{digits} digits").into_boxed_str()),
            None => Self::of(bytes),
        }
    }
}

/// How many digits there are, if they could be a payment card's: 13 to 19 with a right check digit (ISO/IEC 7812-1), in one piece or
/// in groups.
fn card_digits(text: &[u8]) -> Option<usize> {
    let grouped = text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'"'));
    let digits: Vec<u32> = text.iter().filter_map(|&byte| char::from(byte).to_digit(10)).collect();
    let doubled = |digit: u32| digit * 2 / 10 + digit * 2 % 10;
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| if place % 2 == 1 { doubled(digit) } else { digit })
        .sum();
    (grouped && (13..=19).contains(&digits.len()) && sum.is_multiple_of(10)).then_some(digits.len())
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_shown_and_what_may_be_personal_is_not() {
        for (text, shown) in [
            ("12.345", "`12.345`"),
            ("2026-11-22T14:32:00", "`2026-11-22T14:32:00`"),
            ("\"1\"", "`\"1\"`"),
            ("1795357920123456", "`1795357920123456`"),
            ("4111111111111111", "`16 digits`"),
            ("4111-1111-1111-1111", "`16 digits`"),
            ("\"4111 1111 1111 1111\"", "`16 digits`"),
            ("jane.doe@example.com", "`20 bytes of text`"),
        ] {
            assert_eq!(Excerpt::of_figure(text.as_bytes()).to_string(), shown);
        }
    }
}
