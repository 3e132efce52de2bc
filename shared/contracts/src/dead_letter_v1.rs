//! The payload of topic `dead-letters`, version 1: a record that can never be decided, with its original bytes.
//!
//! A message stays below Kafka's default limit of 1 MiB (`message.max.bytes`, <https://kafka.apache.org/documentation/>): of a
//! value beyond [`ORIGINAL_VALUE_BYTES_MAX`] the rest is left out, and the message says how much.

mod first_delivery;
mod verified;

use centinela_domain::Millis;

use crate::excerpt::Excerpt;
use crate::json::{Kind, Object, push_base64, push_text};
use crate::payload::{Fields, PayloadProblem, required};

pub use first_delivery::{
    BadFirstCoordinates, FIRST_OFFSET, FIRST_PARTITION, FIRST_SIGNATURE, FIRST_TIMESTAMP, FIRST_TOPIC,
    first_coordinates, first_headers, signed_first,
};
pub use verified::{VERIFIED, verified, verified_header};

/// Most bytes kept of an original value.
pub const ORIGINAL_VALUE_BYTES_MAX: usize = 600 * 1024;
/// Most bytes kept of an original key.
pub const ORIGINAL_KEY_BYTES_MAX: usize = 48 * 1024;
/// Most bytes that the original headers may take in the message; headers beyond it are left out.
pub const ORIGINAL_HEADERS_BYTES_MAX: usize = 96 * 1024;
/// Most bytes kept of a reason and of a topic.
const TEXT_BYTES_MAX: usize = 1024;
/// Largest accepted message.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// The kind of reason, for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadLetterReason {
    /// The mapping's description of the record is broken; `value` holds the description's JSON.
    UnreadableRecord,
    /// The record has no value.
    NoValue,
    /// The value exceeds its size limit.
    TooLarge,
    /// The value is not the JSON it should be.
    NotJson,
    /// Its version is not one that this release reads.
    UnsupportedVersion,
    /// A required field is missing.
    MissingField,
    /// A field appears more than once.
    DuplicateField,
    /// A field has the wrong JSON type.
    WrongType,
    /// A field's value is not acceptable.
    InvalidValue,
    /// The headers that name the first delivery are incomplete, unreadable, not signed by this deployment, or name a place that
    /// cannot have been; or nobody can tell any more what became of the record there.
    BadFirstCoordinates,
    /// The transaction's id was decided already, with other content.
    TransactionIdReused,
    /// The user's stored item cannot be read, after several deliveries; to be driven again after the repair.
    StateUnreadable,
    /// The label does not say whose transaction it is about, so that nobody can tell which decision it is about.
    LabelWithoutUser,
    /// The label does not say which device the transaction was made on, and no earlier label of the transaction does.
    LabelWithoutDevice,
}

impl DeadLetterReason {
    /// All of them.
    pub const ALL: [DeadLetterReason; 14] = [
        Self::UnreadableRecord,
        Self::NoValue,
        Self::TooLarge,
        Self::NotJson,
        Self::UnsupportedVersion,
        Self::MissingField,
        Self::DuplicateField,
        Self::WrongType,
        Self::InvalidValue,
        Self::BadFirstCoordinates,
        Self::TransactionIdReused,
        Self::StateUnreadable,
        Self::LabelWithoutUser,
        Self::LabelWithoutDevice,
    ];

    /// The name in a payload.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnreadableRecord => "unreadable_record",
            Self::NoValue => "no_value",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::UnsupportedVersion => "unsupported_version",
            Self::MissingField => "missing_field",
            Self::DuplicateField => "duplicate_field",
            Self::WrongType => "wrong_type",
            Self::InvalidValue => "invalid_value",
            Self::BadFirstCoordinates => "bad_first_coordinates",
            Self::TransactionIdReused => "transaction_id_reused",
            Self::StateUnreadable => "state_unreadable",
            Self::LabelWithoutUser => "label_without_user",
            Self::LabelWithoutDevice => "label_without_device",
        }
    }

    fn parse(name: &str) -> Result<Self, PayloadProblem> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name).ok_or_else(|| PayloadProblem::Unexpected {
            field: "reason_code",
            expected: "a known reason code",
            found: Excerpt::of(name.as_bytes()),
        })
    }
}

/// A record that can never be handled.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The kind of reason, stable for machines.
    pub reason_code: DeadLetterReason,
    /// What is wrong and what to do, for people.
    pub reason: String,
    /// Where it came from.
    pub topic: String,
    /// Partition number.
    pub partition: u32,
    /// Offset, if it could be read.
    pub offset: Option<u64>,
    /// The broker's time, if it could be read.
    pub timestamp: Option<Millis>,
    /// The original key.
    pub key: Option<Vec<u8>>,
    /// The original value; for [`DeadLetterReason::UnreadableRecord`] the record's JSON as the mapping delivered it.
    pub value: Option<Vec<u8>>,
    /// The original headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// When it was dead-lettered.
    pub dead_lettered_at: Millis,
}

/// Writes a dead letter.
pub fn encode(letter: &DeadLetter) -> Vec<u8> {
    let value = kept(letter.value.as_deref(), ORIGINAL_VALUE_BYTES_MAX);
    let key = kept(letter.key.as_deref(), ORIGINAL_KEY_BYTES_MAX);
    let mut bytes = Vec::with_capacity(512 + value.map_or(0, <[u8]>::len) * 4 / 3);
    let mut object = Object::begin(&mut bytes);
    object.number("version", 1);
    object.text("reason_code", letter.reason_code.as_str());
    object.text("reason", shortened(&letter.reason));
    object.text("topic", shortened(&letter.topic));
    object.number("partition", letter.partition);
    put_optional(&mut object, "offset", letter.offset.map(i128::from));
    put_optional(&mut object, "timestamp", letter.timestamp.map(|time| i128::from(time.0)));
    push_base64(object.name("key"), key);
    push_base64(object.name("value"), value);
    let headers_left_out = put_headers(object.name("headers"), &letter.headers);
    object.number("parked_at", letter.dead_lettered_at.0);
    let left_out = headers_left_out + left_out(letter.value.as_deref(), value) + left_out(letter.key.as_deref(), key);
    if left_out > 0 {
        object.bool("original_truncated", true);
        object.number("truncated_bytes", left_out);
    }
    object.end();
    bytes
}

fn kept(original: Option<&[u8]>, limit: usize) -> Option<&[u8]> {
    original.map(|bytes| &bytes[..bytes.len().min(limit)])
}

fn left_out(original: Option<&[u8]>, kept: Option<&[u8]>) -> u64 {
    (original.map_or(0, <[u8]>::len) - kept.map_or(0, <[u8]>::len)) as u64
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

fn put_optional(object: &mut Object<'_>, name: &'static str, value: Option<i128>) {
    match value {
        Some(value) => object.number(name, value),
        None => object.name(name).extend_from_slice(b"null"),
    }
}

/// Writes the headers that fit and returns how many bytes of others were left out.
fn put_headers(out: &mut Vec<u8>, headers: &[(String, Vec<u8>)]) -> u64 {
    out.push(b'[');
    let start = out.len();
    let mut left_out = 0;
    for (name, value) in headers {
        let before = out.len();
        // A name that cannot fit is not written first.
        if name.len() + value.len() <= ORIGINAL_HEADERS_BYTES_MAX {
            if before > start {
                out.push(b',');
            }
            let mut header = Object::begin(out);
            push_text(header.name("name"), name);
            push_base64(header.name("value"), Some(value));
            header.end();
        }
        if out.len() == before || out.len() - start > ORIGINAL_HEADERS_BYTES_MAX {
            out.truncate(before);
            left_out += (name.len() + value.len()) as u64;
        }
    }
    out.push(b']');
    left_out
}

/// A dead letter as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedDeadLetter {
    /// The record.
    pub letter: DeadLetter,
    /// Bytes of key, value and headers that were left out because the message would not have fitted; 0 normally.
    pub truncated_bytes: u64,
}

const NAMES: &[&str] = &[
    "version",
    "reason_code",
    "reason",
    "topic",
    "partition",
    "offset",
    "timestamp",
    "key",
    "value",
    "headers",
    "parked_at",
    "truncated_bytes",
];

/// Reads a dead letter.
pub fn parse(message: &[u8]) -> Result<ReceivedDeadLetter, PayloadProblem> {
    let mut fields = Fields::begin(message, VALUE_BYTES_MAX, NAMES)?;
    let (mut reason_code, mut reason, mut topic, mut partition, mut offset) = (None, None, None, None, None);
    let (mut timestamp, mut key, mut value, mut headers, mut dead_lettered_at) = (None, None, None, None, None);
    let mut truncated_bytes = 0;
    while let Some(index) = fields.next()? {
        let field = NAMES[index];
        match field {
            "version" => fields.version()?,
            "reason_code" => reason_code = Some(DeadLetterReason::parse(&fields.text(field)?)?),
            "reason" => reason = Some(fields.text(field)?.into_owned()),
            "topic" => topic = Some(fields.text(field)?.into_owned()),
            "partition" => partition = Some(partition_of(fields.unsigned(field)?)?),
            "offset" => offset = Some(fields.unsigned(field)?),
            "timestamp" => timestamp = Some(Millis(fields.integer(field)?)),
            "key" => key = Some(base64_of(&mut fields, field)?),
            "value" => value = Some(base64_of(&mut fields, field)?),
            "headers" => headers = Some(headers_of(&mut fields)?),
            "parked_at" => dead_lettered_at = Some(Millis(fields.integer(field)?)),
            "truncated_bytes" => truncated_bytes = fields.unsigned(field)?,
            forgotten => unreachable!("`{forgotten}` is among the names and has no place"),
        }
    }
    let letter = DeadLetter {
        reason_code: required(reason_code, "reason_code")?,
        reason: required(reason, "reason")?,
        topic: required(topic, "topic")?,
        partition: required(partition, "partition")?,
        offset,
        timestamp,
        key,
        value,
        headers: required(headers, "headers")?,
        dead_lettered_at: required(dead_lettered_at, "parked_at")?,
    };
    Ok(ReceivedDeadLetter { letter, truncated_bytes })
}

fn partition_of(number: u64) -> Result<u32, PayloadProblem> {
    let wrong = PayloadProblem::WrongType { field: "partition", expected: "a partition number" };
    u32::try_from(number).map_err(|_| wrong)
}

fn base64_of(fields: &mut Fields<'_>, field: &'static str) -> Result<Vec<u8>, PayloadProblem> {
    let text = fields.text(field)?;
    let wrong = PayloadProblem::WrongType { field, expected: "base64" };
    base64_simd::STANDARD.decode_to_vec(text.as_bytes()).map_err(|_| wrong)
}

fn headers_of(fields: &mut Fields<'_>) -> Result<Vec<(String, Vec<u8>)>, PayloadProblem> {
    const HEADER: &[&str] = &["name", "value"];
    let reader = fields.reader();
    if reader.peek()? != Kind::Array {
        return Err(PayloadProblem::WrongType { field: "headers", expected: "a list" });
    }
    let mut headers = Vec::new();
    let mut list = reader.array()?;
    while reader.element(&mut list)? {
        let mut header = Fields::begin(reader.skip()?, VALUE_BYTES_MAX, HEADER)?;
        let (mut name, mut value) = (None, None);
        while let Some(index) = header.next()? {
            match HEADER[index] {
                "name" => name = Some(header.text("name")?.into_owned()),
                _ => value = Some(base64_of(&mut header, "value")?),
            }
        }
        headers.push((required(name, "name")?, required(value, "value")?));
    }
    Ok(headers)
}
