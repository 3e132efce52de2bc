//! The writer: fixed order, no white space, the shortest digits that read back as the same number.

use std::io::Write;

use super::read::plain_prefix;

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
    let Ok(magnitude) = u64::try_from(value.unsigned_abs()) else { return push_display(out, value) };
    if value < 0 {
        out.push(b'-');
    }
    push_unsigned(out, magnitude);
}

/// The numbers below 100, with two digits each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

fn push_unsigned(out: &mut Vec<u8>, mut left: u64) {
    let mut digits = [0u8; 20];
    let mut from = digits.len();
    while left >= 10 {
        from -= 2;
        digits[from..from + 2].copy_from_slice(&PAIRS[(left % 100) as usize]);
        left /= 100;
    }
    // The first digit, unless a pair brought it. 0 has one too.
    if left > 0 || from == digits.len() {
        from -= 1;
        digits[from] = b'0' + left as u8;
    }
    out.extend_from_slice(&digits[from..]);
}

/// A string with its quotes; control characters are escaped, other characters stand as they are.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (clean, special) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(clean);
        let Some((&byte, after)) = special.split_first() else { break };
        if byte < 0x20 {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex_of(byte));
        } else {
            out.extend_from_slice(&[b'\\', byte]);
        }
        rest = after;
    }
    out.push(b'"');
}

/// Bytes as hexadecimal digits in quotes.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        out.extend_from_slice(&hex_of(byte));
    }
    out.push(b'"');
}

fn hex_of(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Up to here a float is as exact as an integer: 2^24.
const WHOLE_BELOW: f32 = 16_777_216.0;
/// From here on zmij writes no exponent either.
const PLAIN_FROM: f32 = 1e-6;

/// The shortest digits that read back as the same float; `null` for what is no number.
pub(crate) fn push_f32(out: &mut Vec<u8>, value: f32) {
    if !value.is_finite() {
        return out.extend_from_slice(b"null");
    }
    let (size, whole) = (value.abs(), value as i32);
    if size >= WHOLE_BELOW {
        push_display(out, value);
    } else if (whole as f32).to_bits() == value.to_bits() {
        // Most features are flags and counts.
        push_integer(out, whole.into());
    } else {
        push_fraction(out, value, size);
    }
}

/// A float with a fraction, as its `Display` writes it: without an exponent. Also zero with a sign.
fn push_fraction(out: &mut Vec<u8>, value: f32, size: f32) {
    let mut buffer = zmij::Buffer::new();
    if size >= PLAIN_FROM {
        let digits = buffer.format_finite(value);
        return if is_between(size, digits) {
            push_display(out, value)
        } else {
            out.extend_from_slice(digits.as_bytes())
        };
    }
    let scientific = buffer.format_finite(size);
    let parts = scientific.split_once("e-").and_then(|(digits, power)| Some((digits, power.parse::<usize>().ok()?)));
    let Some((digits, power)) = parts else { return push_display(out, value) };
    if value < 0.0 {
        out.push(b'-');
    }
    out.extend_from_slice(b"0.");
    out.resize(out.len() + power - 1, b'0');
    out.extend(digits.bytes().filter(|digit| *digit != b'.'));
}

/// Whether the float stands exactly between the shortest digits and as many others: then `Display` takes those farther from 0, and zmij the
/// even ones. A fraction of 2^n has n decimals, of which the shortest digits leave out the last.
fn is_between(size: f32, digits: &str) -> bool {
    let decimals = digits.bytes().rev().take_while(u8::is_ascii_digit).count();
    let scaled = size * (1u64 << decimals) as f32;
    scaled.fract() != 0.0 && (scaled * 2.0).fract() == 0.0
}

/// An integer of minor units as a decimal number with all its decimals.
pub(crate) fn push_decimal(out: &mut Vec<u8>, minor: u64, decimals: u32) {
    if decimals == 0 {
        return push_unsigned(out, minor);
    }
    let unit = 10u64.pow(decimals);
    push_unsigned(out, minor / unit);
    out.push(b'.');
    let begin = out.len();
    out.resize(begin + decimals as usize, b'0');
    let mut left = minor % unit;
    for digit in out[begin..].iter_mut().rev() {
        *digit += (left % 10) as u8;
        left /= 10;
    }
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
            for value in [f32::from_bits(bits), whole as f32, whole as f32 / 100.0, whole as f32 * 1e-12] {
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
                .into_iter()
                .chain([PLAIN_FROM.next_down(), PLAIN_FROM, -PLAIN_FROM, 1e-6, -1e-7, f32::from_bits(1)])
                .chain([176_114.0 + 0.125, -176_114.0 - 0.375, 2_097_152.0 + 0.125])
        {
            assert_eq!(written(|out| push_f32(out, value)), value.to_string());
        }
    }
}
