//! What all JSON payloads share: one object of known fields, read once, in any order.

use std::borrow::Cow;

use centinela_domain::money::AMOUNT_DOLLARS_MAX;
use centinela_domain::transaction::{InvalidTransaction, TIME_MAX_MS, TIME_MIN_MS, event_time};
use centinela_domain::{Currency, Millis};

use crate::excerpt::Excerpt;
use crate::json::{Decimal, Kind, Misfit, Reader, Within, integer};
pub use crate::json::{Syntax, TextProblem};
use crate::rfc3339;

/// Why a value is not the payload it should be. The text never shows an identifier, an address or a user agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadProblem {
    /// Nothing at all.
    #[error("the value is empty")]
    Empty,
    /// Larger than this payload may be.
    #[error("the value has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest accepted.
        limit: usize,
    },
    /// Another format, recognised by its first bytes.
    #[error("the value is {found}; plain JSON text is expected")]
    OtherFormat {
        /// What it looks like.
        found: &'static str,
    },
    /// Broken JSON.
    #[error("the value is {0}")]
    Syntax(#[from] Syntax),
    /// JSON, but no object.
    #[error("the value is JSON but no object with fields")]
    NotAnObject,
    /// A version that this release does not read.
    #[error("version is {found}, this release reads version 1")]
    Version {
        /// What it says.
        found: Excerpt,
    },
    /// A required field is missing or null.
    #[error("{field} is missing or null")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field appears more than once.
    #[error("{field} appears more than once")]
    Duplicate {
        /// The field.
        field: &'static str,
    },
    /// A field has another type.
    #[error("{field} must be {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A string is no text.
    #[error("{field} {problem}")]
    Text {
        /// The field.
        field: &'static str,
        /// Why not.
        problem: TextProblem,
    },
    /// A field is none of the values that it may have.
    #[error("{field} must be {expected}, got {found}")]
    Unexpected {
        /// The field.
        field: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: Excerpt,
    },
    /// The amount is below 0.
    #[error("amount must not be negative, got {found}")]
    AmountNegative {
        /// What it is.
        found: Excerpt,
    },
    /// The amount cannot be paid in the currency.
    #[error("amount {found} has more decimals than the {decimals} of {currency:?}")]
    AmountTooFine {
        /// What it is.
        found: Excerpt,
        /// The currency.
        currency: Currency,
        /// Its decimals.
        decimals: u32,
    },
    /// The amount does not fit.
    #[error("amount {found} is too large, the limit is {limit} {currency:?} (about {AMOUNT_DOLLARS_MAX} dollars)")]
    AmountTooLarge {
        /// What it is.
        found: Excerpt,
        /// The currency.
        currency: Currency,
        /// The limit in whole units of it.
        limit: u64,
    },
    /// The time is in another unit.
    #[error("timestamp {found} looks like {unit}; milliseconds since 1970 are expected")]
    TimeUnit {
        /// What it is.
        found: Excerpt,
        /// The unit that would make it a date of this century.
        unit: &'static str,
    },
    /// A rule about a value is broken.
    #[error(transparent)]
    Invalid(#[from] InvalidTransaction),
}

impl PayloadProblem {
    /// The field that has it, where it is one field's.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Version { .. } => Some("version"),
            Self::Missing { field }
            | Self::Duplicate { field }
            | Self::WrongType { field, .. }
            | Self::Text { field, .. }
            | Self::Unexpected { field, .. } => Some(*field),
            Self::AmountNegative { .. } | Self::AmountTooFine { .. } | Self::AmountTooLarge { .. } => Some("amount"),
            Self::TimeUnit { .. } => Some("timestamp"),
            Self::Invalid(invalid) => Some(invalid.field()),
            Self::Empty | Self::TooLarge { .. } | Self::OtherFormat { .. } | Self::Syntax(_) | Self::NotAnObject => {
                None
            }
        }
    }
}

/// The known fields of an object. A field that is null counts as missing, unknown ones are passed over.
pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    within: Within,
    names: &'static [&'static str],
    seen: u32,
}

impl<'a> Fields<'a> {
    /// Begins to read an object with these fields.
    pub(crate) fn begin(value: &'a [u8], limit: usize, names: &'static [&'static str]) -> Result<Self, PayloadProblem> {
        debug_assert!(names.len() <= 32, "one bit per field");
        if value.len() > limit {
            return Err(PayloadProblem::TooLarge { bytes: value.len(), limit });
        }
        if let Some(found) = other_format(value) {
            return Err(PayloadProblem::OtherFormat { found });
        }
        let mut reader = Reader::new(value);
        if value.iter().all(u8::is_ascii_whitespace) {
            return Err(PayloadProblem::Empty);
        }
        if reader.peek()? != Kind::Object {
            reader.skip()?;
            reader.end()?;
            return Err(PayloadProblem::NotAnObject);
        }
        let within = reader.object()?;
        Ok(Self { reader, within, names, seen: 0 })
    }

    /// The index of the next field that has a value; `None` after the end of the whole value.
    pub(crate) fn next(&mut self) -> Result<Option<usize>, PayloadProblem> {
        while let Some(name) = self.reader.member(&mut self.within)? {
            let known = match name.plain() {
                Some(raw) => self.names.iter().position(|field| field.as_bytes() == raw),
                None => self.names.iter().position(|field| name.is(field)),
            };
            let Some(index) = known else {
                self.reader.skip()?;
                continue;
            };
            if self.seen & 1 << index != 0 {
                return Err(PayloadProblem::Duplicate { field: self.names[index] });
            }
            self.seen |= 1 << index;
            if self.reader.peek()? != Kind::Null {
                return Ok(Some(index));
            }
            self.reader.null()?;
        }
        self.reader.end()?;
        Ok(None)
    }

    /// The reader at the field's value, for values with a structure of their own.
    pub(crate) fn reader(&mut self) -> &mut Reader<'a> {
        &mut self.reader
    }

    fn must_be(&mut self, field: &'static str, kind: Kind, expected: &'static str) -> Result<(), PayloadProblem> {
        if self.reader.peek()? == kind { Ok(()) } else { Err(PayloadProblem::WrongType { field, expected }) }
    }

    pub(crate) fn text(&mut self, field: &'static str) -> Result<Cow<'a, str>, PayloadProblem> {
        self.must_be(field, Kind::Text, "a string")?;
        self.reader.text()?.decode().map_err(|problem| PayloadProblem::Text { field, problem })
    }

    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, PayloadProblem> {
        self.must_be(field, Kind::Bool, "true or false")?;
        Ok(self.reader.bool()?)
    }

    pub(crate) fn unsigned(&mut self, field: &'static str) -> Result<u64, PayloadProblem> {
        const EXPECTED: &str = "a whole number of 0 or more";
        self.must_be(field, Kind::Number, EXPECTED)?;
        let number = Decimal::of(self.reader.number()?);
        match number.magnitude(0) {
            Ok(value) if !number.negative => Ok(value),
            _ => Err(PayloadProblem::WrongType { field, expected: EXPECTED }),
        }
    }

    pub(crate) fn integer(&mut self, field: &'static str) -> Result<i64, PayloadProblem> {
        const EXPECTED: &str = "a whole number";
        self.must_be(field, Kind::Number, EXPECTED)?;
        integer(self.reader.number()?).map_err(|_| PayloadProblem::WrongType { field, expected: EXPECTED })
    }

    pub(crate) fn float(&mut self, field: &'static str) -> Result<f32, PayloadProblem> {
        self.must_be(field, Kind::Number, "a number")?;
        let text = self.reader.number()?;
        let float =
            std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).filter(|float: &f32| float.is_finite());
        float.ok_or(PayloadProblem::WrongType { field, expected: "a number of single precision" })
    }

    /// Refuses any version but 1.
    pub(crate) fn version(&mut self) -> Result<(), PayloadProblem> {
        let text = self.reader.skip()?;
        if text == b"1" { Ok(()) } else { Err(PayloadProblem::Version { found: Excerpt::of_figure(text) }) }
    }

    /// An event time: whole milliseconds, or an RFC 3339 string.
    pub(crate) fn time(&mut self, field: &'static str) -> Result<Millis, PayloadProblem> {
        const EXPECTED: &str = "whole milliseconds since 1970 or an RFC 3339 time with zone";
        let unreadable =
            |found: &[u8]| PayloadProblem::Unexpected { field, expected: EXPECTED, found: Excerpt::of_figure(found) };
        match self.reader.peek()? {
            Kind::Number => {
                let text = self.reader.number()?;
                match integer(text) {
                    Ok(milliseconds) => checked_time(milliseconds, text),
                    Err(Misfit::TooFine | Misfit::TooLarge) => Err(unreadable(text)),
                }
            }
            Kind::Text => {
                let text = self.text(field)?;
                let milliseconds = rfc3339::milliseconds(&text).ok_or_else(|| unreadable(text.as_bytes()))?;
                Ok(event_time(milliseconds)?)
            }
            _ => Err(PayloadProblem::WrongType { field, expected: EXPECTED }),
        }
    }
}

/// The time that a text stands for, as the fields of payloads take it: whole milliseconds since 1970, or an RFC 3339 time with its zone.
pub fn time_of(text: &str) -> Option<Millis> {
    let milliseconds = text.parse().ok().or_else(|| rfc3339::milliseconds(text))?;
    event_time(milliseconds).ok()
}

fn checked_time(milliseconds: i64, text: &[u8]) -> Result<Millis, PayloadProblem> {
    let invalid = match event_time(milliseconds) {
        Ok(time) => return Ok(time),
        Err(invalid) => invalid,
    };
    let century_ms = TIME_MIN_MS..=TIME_MAX_MS;
    let unit = if milliseconds.checked_mul(1000).is_some_and(|value| century_ms.contains(&value)) {
        "seconds"
    } else if century_ms.contains(&(milliseconds / 1000)) {
        "microseconds"
    } else if century_ms.contains(&(milliseconds / 1_000_000)) {
        "nanoseconds"
    } else {
        return Err(invalid.into());
    };
    Err(PayloadProblem::TimeUnit { found: Excerpt::of_figure(text), unit })
}

/// The problem of a field, unless the value as a whole is not JSON.
pub(crate) fn syntax_first(value: &[u8], problem: PayloadProblem) -> PayloadProblem {
    use PayloadProblem as Problem;
    if matches!(problem, Problem::Empty | Problem::OtherFormat { .. } | Problem::Syntax(_) | Problem::NotAnObject) {
        return problem;
    }
    let mut reader = Reader::new(value);
    match reader.skip().and_then(|_| reader.end()) {
        Ok(()) => problem,
        Err(syntax) => syntax.into(),
    }
}

/// The field's value, or the problem that it is missing.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, PayloadProblem> {
    value.ok_or(PayloadProblem::Missing { field })
}

/// Names formats that producers send by mistake.
fn other_format(value: &[u8]) -> Option<&'static str> {
    let signatures: [(&[u8], &str); 9] = [
        (b"\x1f\x8b", "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"\x04\x22\x4d\x18", "compressed with lz4"),
        (b"\xef\xbb\xbf", "text with a byte order mark"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
        (b"Obj\x01", "an Avro file"),
        (b"\x00", "binary with a leading 0 byte, as Avro or Protobuf with a schema registry id are"),
        (b"eyJ", "base64 of JSON"),
    ];
    signatures.into_iter().find(|(signature, _)| value.starts_with(signature)).map(|(_, found)| found)
}
