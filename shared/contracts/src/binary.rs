//! The building blocks of stored items: variable-length integers, differences, and floats that take less when they are simple.
//!
//! Reading checks every length against the bytes that remain before anything is allocated.

use centinela_domain::{Mark, Millis};

/// Why stored bytes cannot be read. They were written by a release of this system, so none of these is a user's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredProblem {
    /// Another format.
    #[error("the stored item has format {found}, this release reads format {read}: it was written by another release")]
    Format {
        /// The item's format.
        found: u8,
        /// The format that is read.
        read: u8,
    },
    /// Fewer bytes than its parts need.
    #[error("the stored item ends early")]
    Truncated,
    /// More bytes than its parts need.
    #[error("the stored item has {bytes} bytes more than its parts")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A part is not what it may be.
    #[error("the stored item's {0} is not valid")]
    Invalid(&'static str),
}

const ZERO: u8 = 0;
const MISSING: u8 = 1;
const HUNDREDTHS: u8 = 2;
const RAW: u8 = 3;
/// Above this a number of hundredths takes as many bytes as the float itself.
const HUNDREDTHS_MAX: u32 = (1 << 21) - 1;
const UUID_TEXT_BYTES: usize = 36;

/// Bytes being written.
pub(crate) struct Output(Vec<u8>);

impl Output {
    pub(crate) fn begin(format: u8, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(format);
        Self(bytes)
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Small when near 0, whatever the sign.
    pub(crate) fn signed(&mut self, value: i64) {
        self.unsigned((value << 1 ^ value >> 63) as u64);
    }

    /// A time as its distance from another.
    pub(crate) fn time(&mut self, time: Millis, from: Millis) {
        self.signed(time.0.wrapping_sub(from.0));
    }

    /// A position as its distance from the previous one, which it then replaces.
    pub(crate) fn mark(&mut self, mark: Mark, previous: &mut Mark) {
        self.signed(mark.offset.wrapping_sub(previous.offset) as i64);
        self.time(mark.timestamp, previous.timestamp);
        *previous = mark;
    }

    /// Floats bit for bit: two bits tell 0, missing, a number of hundredths, or all four bytes.
    pub(crate) fn floats(&mut self, values: &[f32]) {
        let tags_at = self.0.len();
        self.0.resize(tags_at + values.len().div_ceil(4), 0);
        for (index, &value) in values.iter().enumerate() {
            let tag = self.float_body(value);
            self.0[tags_at + index / 4] |= tag << (index % 4 * 2);
        }
    }

    fn float_body(&mut self, value: f32) -> u8 {
        if value.to_bits() == 0 {
            return ZERO;
        }
        if value.to_bits() == f32::NAN.to_bits() {
            return MISSING;
        }
        // The nearest: what was made of hundredths is nearer to them than a half. What is below 0 or no number becomes 0, which is no match.
        let hundredths = (f64::from(value) * 100.0 + 0.5) as u32;
        if hundredths <= HUNDREDTHS_MAX && from_hundredths(hundredths).to_bits() == value.to_bits() {
            self.unsigned(u64::from(hundredths));
            return HUNDREDTHS;
        }
        self.bytes(&value.to_le_bytes());
        RAW
    }

    /// A text of at most 255 bytes; a UUID in lower case takes 17 bytes instead of 37.
    pub(crate) fn text(&mut self, text: &str) {
        match uuid_bytes(text.as_bytes()) {
            Some(uuid) => {
                self.byte(0);
                self.bytes(&uuid);
            }
            None => {
                self.unsigned(text.len() as u64 + 1);
                self.bytes(text.as_bytes());
            }
        }
    }
}

/// Bytes being read.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn begin(bytes: &'a [u8], format: u8) -> Result<Self, StoredProblem> {
        match bytes.split_first() {
            None => Err(StoredProblem::Truncated),
            Some((&found, rest)) if found == format => Ok(Self(rest)),
            Some((&found, _)) => Err(StoredProblem::Format { found, read: format }),
        }
    }

    pub(crate) fn end(self) -> Result<(), StoredProblem> {
        if self.0.is_empty() { Ok(()) } else { Err(StoredProblem::Trailing { bytes: self.0.len() }) }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], StoredProblem> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(StoredProblem::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], StoredProblem> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(StoredProblem::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, StoredProblem> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, StoredProblem> {
        // Most are small.
        if let &[byte @ 0..0x80, ref rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(byte));
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(StoredProblem::Invalid("integer"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(StoredProblem::Invalid("integer"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, StoredProblem> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// An integer of at most `max`.
    pub(crate) fn at_most(&mut self, max: u64, what: &'static str) -> Result<u64, StoredProblem> {
        self.unsigned().and_then(|value| if value <= max { Ok(value) } else { Err(StoredProblem::Invalid(what)) })
    }

    /// How many parts follow, each of which takes `bytes_each` or more.
    pub(crate) fn count(&mut self, bytes_each: usize, what: &'static str) -> Result<usize, StoredProblem> {
        let possible = self.0.len() / bytes_each;
        self.at_most(possible as u64, what).map(|count| count as usize)
    }

    pub(crate) fn time(&mut self, from: Millis) -> Result<Millis, StoredProblem> {
        Ok(Millis(from.0.wrapping_add(self.signed()?)))
    }

    pub(crate) fn mark(&mut self, previous: &mut Mark) -> Result<Mark, StoredProblem> {
        let offset = previous.offset.wrapping_add(self.signed()? as u64);
        *previous = Mark { offset, timestamp: self.time(previous.timestamp)? };
        Ok(*previous)
    }

    pub(crate) fn floats(&mut self, values: &mut [f32]) -> Result<(), StoredProblem> {
        let tags = self.bytes(values.len().div_ceil(4))?;
        for (index, value) in values.iter_mut().enumerate() {
            *value = match tags[index / 4] >> (index % 4 * 2) & 3 {
                ZERO => 0.0,
                MISSING => f32::NAN,
                HUNDREDTHS => from_hundredths(self.at_most(u64::from(HUNDREDTHS_MAX), "number of hundredths")? as u32),
                _ => f32::from_le_bytes(self.array()?),
            };
        }
        Ok(())
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String, StoredProblem> {
        let Some(length) = self.unsigned()?.checked_sub(1) else {
            return Ok(uuid_text(self.array()?));
        };
        let length = usize::try_from(length).map_err(|_| StoredProblem::Truncated)?;
        let text = std::str::from_utf8(self.bytes(length)?).map_err(|_| StoredProblem::Invalid(what))?;
        Ok(text.to_owned())
    }
}

fn from_hundredths(hundredths: u32) -> f32 {
    (f64::from(hundredths) / 100.0) as f32
}

fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != UUID_TEXT_BYTES || [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let mut uuid = [0; 16];
    let mut digits = text.iter().filter(|&&byte| byte != b'-').map(|&byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    });
    for byte in &mut uuid {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    Some(uuid)
}

fn uuid_text(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(UUID_TEXT_BYTES);
    for (index, byte) in uuid.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_and_floats_come_back_bit_for_bit(
            unsigned in any::<u64>(), signed in any::<i64>(), bits in prop::collection::vec(any::<u32>(), 0..40), cents in 0u32..3_000_000
        ) {
            let mut floats: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            floats.extend([0.0, -0.0, f32::NAN, f32::INFINITY, from_hundredths(cents), -1.0, 0.1, 1e30]);
            let mut output = Output::begin(1, 0);
            output.unsigned(unsigned);
            output.signed(signed);
            output.floats(&floats);
            let bytes = output.end();
            let mut input = Input::begin(&bytes, 1).unwrap();
            prop_assert_eq!(input.unsigned().unwrap(), unsigned);
            prop_assert_eq!(input.signed().unwrap(), signed);
            let mut read = vec![0.0; floats.len()];
            input.floats(&mut read).unwrap();
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&read), bits(&floats));
            input.end().unwrap();
        }

        #[test]
        fn texts_come_back(text in prop_oneof!["[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", ".{0,40}", "[0-9a-f-]{36}"]) {
            let mut output = Output::begin(1, 0);
            output.text(&text);
            let bytes = output.end();
            prop_assert_eq!(Input::begin(&bytes, 1).unwrap().text("text").unwrap(), text);
        }
    }

    #[test]
    fn an_integer_of_more_than_64_bits_is_refused() {
        for bytes in [[0xff; 11], [1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]] {
            assert_eq!(Input::begin(&bytes, bytes[0]).unwrap().unsigned(), Err(StoredProblem::Invalid("integer")));
        }
    }
}
