//! The headers by which a redriven record says where it was first delivered.

use centinela_domain::ledger::RECREATED_AFTER_MS;
use centinela_domain::transaction::TIME_MAX_MS;
use centinela_domain::{Coordinates, Mark, Millis};

use crate::keyed::{DeploymentKey, SIGNATURE_BYTES};

/// Header with the topic of a redriven record's first delivery.
pub const FIRST_TOPIC: &str = "centinela-first-topic";
/// Header with its first partition, decimal.
pub const FIRST_PARTITION: &str = "centinela-first-partition";
/// Header with its first offset, decimal.
pub const FIRST_OFFSET: &str = "centinela-first-offset";
/// Header with its first broker time in milliseconds, decimal.
pub const FIRST_TIMESTAMP: &str = "centinela-first-timestamp";
/// Header with this deployment's signature of the other four and the value, in hexadecimal digits.
pub const FIRST_SIGNATURE: &str = "centinela-first-signature";

/// Longest name that Kafka gives a topic.
const TOPIC_BYTES_MAX: usize = 249;

/// Headers about a first delivery that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFirstCoordinates {
    /// Some of the five are there, this one is not.
    #[error("header {0} is missing although others about the first delivery are there")]
    Missing(&'static str),
    /// Not what it should be.
    #[error("header {0} is not readable")]
    Unreadable(&'static str),
    /// Anybody may write headers.
    #[error(
        "the headers about a first delivery are not signed with this deployment's key for this value, so they are not believed; \
         send the record without them if it is a new one"
    )]
    NotSigned,
    /// Signed, but it cannot have been there.
    #[error(
        "the record cannot have been delivered first at offset {} of partition {}: this delivery, at offset {} of partition {}, is \
         not after it", first.offset, first.partition, delivered.offset, delivered.partition
    )]
    NotBefore {
        /// What the headers say.
        first: Coordinates,
        /// Where the record stands.
        delivered: Coordinates,
    },
}

/// Topic and coordinates of a redriven record's first delivery; none for a record that is delivered for the first time.
///
/// They are believed only with the deployment's signature, because they decide what the user's ring and eviction floors are asked; and
/// only when they come before the place at which the record is `delivered`. Of a header that appears more than once the first
/// counts.
pub fn first_coordinates(
    headers: &[(String, Vec<u8>)],
    value: &[u8],
    delivered: Coordinates,
    key: &DeploymentKey,
) -> Option<Result<(String, Coordinates), BadFirstCoordinates>> {
    let signed = signed_first(headers, value, key)?;
    Some(signed.and_then(|(topic, first)| {
        let is_later = delivered.timestamp.since(first.timestamp) >= -RECREATED_AFTER_MS;
        let is_behind = delivered.partition != first.partition || Mark::from(delivered).is_after(first.into());
        if is_later && is_behind {
            Ok((topic, first))
        } else {
            Err(BadFirstCoordinates::NotBefore { first, delivered })
        }
    }))
}

/// The same of a dead letter, which stands nowhere on the topic that its record came from: what is signed.
pub fn signed_first(
    headers: &[(String, Vec<u8>)],
    value: &[u8],
    key: &DeploymentKey,
) -> Option<Result<(String, Coordinates), BadFirstCoordinates>> {
    let values = [FIRST_TOPIC, FIRST_PARTITION, FIRST_OFFSET, FIRST_TIMESTAMP, FIRST_SIGNATURE]
        .map(|wanted| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_slice()));
    if values.iter().all(Option::is_none) { None } else { Some(read_first(values, value, key)) }
}

fn read_first(
    headers: [Option<&[u8]>; 5],
    value: &[u8],
    key: &DeploymentKey,
) -> Result<(String, Coordinates), BadFirstCoordinates> {
    let [topic, partition, offset, timestamp, signature] = headers;
    let topic = text_of(topic, FIRST_TOPIC)?;
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX {
        return Err(BadFirstCoordinates::Unreadable(FIRST_TOPIC));
    }
    let offset_max = i64::MAX as u64;
    let first = Coordinates {
        partition: number_of(partition, FIRST_PARTITION, u64::from(u32::MAX))? as u32,
        offset: number_of(offset, FIRST_OFFSET, offset_max)?,
        timestamp: Millis(number_of(timestamp, FIRST_TIMESTAMP, TIME_MAX_MS as u64)? as i64),
    };
    let signature =
        signature_of(text_of(signature, FIRST_SIGNATURE)?).ok_or(BadFirstCoordinates::Unreadable(FIRST_SIGNATURE))?;
    if !key.is_first_delivery(&signature, topic, first, value) {
        return Err(BadFirstCoordinates::NotSigned);
    }
    Ok((topic.to_owned(), first))
}

pub(super) fn signature_of(digits: &str) -> Option<[u8; SIGNATURE_BYTES]> {
    let mut signature = [0; SIGNATURE_BYTES];
    let digits = digits.as_bytes();
    if digits.len() != 2 * SIGNATURE_BYTES {
        return None;
    }
    for (byte, pair) in signature.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16).map(|value| value as u8);
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(signature)
}

pub(super) fn hexadecimal(signature: &[u8]) -> String {
    signature.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text_of<'a>(value: Option<&'a [u8]>, name: &'static str) -> Result<&'a str, BadFirstCoordinates> {
    let value = value.ok_or(BadFirstCoordinates::Missing(name))?;
    std::str::from_utf8(value).map_err(|_| BadFirstCoordinates::Unreadable(name))
}

fn number_of(value: Option<&[u8]>, name: &'static str, max: u64) -> Result<u64, BadFirstCoordinates> {
    let text = text_of(value, name)?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= max);
    number.ok_or(BadFirstCoordinates::Unreadable(name))
}

/// The five headers for a record with this value that is driven again.
pub fn first_headers(topic: &str, at: Coordinates, value: &[u8], key: &DeploymentKey) -> Vec<(String, Vec<u8>)> {
    let header = |name: &str, value: String| (name.to_owned(), value.into_bytes());
    let signature = key.sign_first_delivery(topic, at, value);
    vec![
        header(FIRST_TOPIC, topic.to_owned()),
        header(FIRST_PARTITION, at.partition.to_string()),
        header(FIRST_OFFSET, at.offset.to_string()),
        header(FIRST_TIMESTAMP, at.timestamp.0.to_string()),
        header(FIRST_SIGNATURE, hexadecimal(&signature)),
    ]
}
