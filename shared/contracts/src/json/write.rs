//! The writer: fixed order, no white space, the shortest digits that read back as the same number.

use std::io::Write;

/// Writes one object, member by member.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes a name and gives the place for its value. Names are ours and need no escapes.
    pub(crate) fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        push_text(self.name(name), value);
    }

    pub(crate) fn optional_text(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(crate) fn number(&mut self, name: &'static str, value: impl Into<i128>) {
        push_display(self.name(name), value.into());
    }

    pub(crate) fn bool(&mut self, name: &'static str, value: bool) {
        push_display(self.name(name), value);
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "a vector takes every write");
}

/// A string with its quotes; control characters are escaped, other characters stand as they are.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut clean_from = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean_from..index]);
        clean_from = index + 1;
        if byte < 0x20 {
            out.extend_from_slice(b"\\u00");
            out.push(b"0123456789abcdef"[usize::from(byte >> 4)]);
            out.push(b"0123456789abcdef"[usize::from(byte & 15)]);
        } else {
            out.extend_from_slice(&[b'\\', byte]);
        }
    }
    out.extend_from_slice(&bytes[clean_from..]);
    out.push(b'"');
}

/// The shortest digits that read back as the same float; `null` for what is no number.
pub(crate) fn push_f32(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        push_display(out, value);
    } else {
        out.extend_from_slice(b"null");
    }
}

/// An integer of minor units as a decimal number with all its decimals.
pub(crate) fn push_decimal(out: &mut Vec<u8>, minor: u64, decimals: u32) {
    if decimals == 0 {
        return push_display(out, minor);
    }
    let unit = 10u64.pow(decimals);
    let width = decimals as usize;
    push_display(out, format_args!("{}.{:0width$}", minor / unit, minor % unit));
}

/// Bytes as a base64 string, or `null`.
pub fn push_base64(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            out.push(b'"');
            base64_simd::STANDARD.encode_append(bytes, out);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}
