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
        push_integer(self.name(name), value.into());
    }

    pub(crate) fn bool(&mut self, name: &'static str, value: bool) {
        self.name(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "a vector takes every write");
}

/// An integer, as its `Display` writes it, without the way through the formatter: a decision has twenty of them.
fn push_integer(out: &mut Vec<u8>, value: i128) {
    let Ok(mut left) = u64::try_from(value.unsigned_abs()) else { return push_display(out, value) };
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = [0u8; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[from..]);
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

/// Whole floats below it are written as integers: 2^24.
const WHOLE_BELOW: f32 = 16_777_216.0;

/// The shortest digits that read back as the same float; `null` for what is no number.
pub(crate) fn push_f32(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        // Most features are flags and counts, and up to here a float is as exact as an integer. Zero may have a sign.
        let is_whole = value.fract() == 0.0 && value.abs() < WHOLE_BELOW;
        if is_whole && (value != 0.0 || value.is_sign_positive()) {
            push_integer(out, value as i128);
        } else {
            push_display(out, value);
        }
    } else {
        out.extend_from_slice(b"null");
    }
}

/// An integer of minor units as a decimal number with all its decimals.
pub(crate) fn push_decimal(out: &mut Vec<u8>, minor: u64, decimals: u32) {
    if decimals == 0 {
        return push_integer(out, minor.into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("digits are text")
    }

    proptest! {
        #[test]
        fn an_integer_is_written_as_its_display_writes_it(value in any::<i128>(), less in 0u32..128) {
            let value = value >> less;
            prop_assert_eq!(written(|out| push_integer(out, value)), value.to_string());
        }

        #[test]
        fn a_float_is_written_as_its_display_writes_it(bits in any::<u32>(), whole in -20_000_000i32..20_000_000) {
            for value in [f32::from_bits(bits), whole as f32, whole as f32 / 100.0] {
                let expected = if value.is_finite() { value.to_string() } else { "null".to_owned() };
                prop_assert_eq!(written(|out| push_f32(out, value)), expected);
            }
        }
    }

    #[test]
    fn the_edges_of_numbers_are_written_as_their_display_writes_them() {
        for value in [0, -1, i128::from(u64::MAX), i128::from(u64::MAX) + 1, i128::MIN, i128::from(i64::MIN)] {
            assert_eq!(written(|out| push_integer(out, value)), value.to_string());
        }
        for value in
            [0.0, -0.0, 1.0, -7.0, WHOLE_BELOW, WHOLE_BELOW - 1.0, -WHOLE_BELOW, 0.1, f32::MAX, f32::MIN_POSITIVE]
        {
            assert_eq!(written(|out| push_f32(out, value)), value.to_string());
        }
    }
}
