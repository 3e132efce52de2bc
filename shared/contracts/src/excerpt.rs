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
