//! The header by which a redrive says that nobody has decided a record: it was looked for, and no decision on it was ever published.
//!
//! Only this deployment can write it. It is about one record at one first place, and it holds from a position of the record's
//! partition on: what stands there or later was not looked for.

use centinela_domain::transaction::TIME_MAX_MS;
use centinela_domain::{Coordinates, Millis};

use super::first_delivery::{hexadecimal, signature_of};
use crate::keyed::DeploymentKey;

/// Header of a redriven record of which it is verified that no decision on it was published: partition, offset and broker time of the
/// committed mark that was read before the decision was looked for, and a signature, with spaces between them.
pub const VERIFIED: &str = "centinela-verified";

/// The header for a record with this value that was first delivered at `first`; the decision was looked for after `from`, its
/// partition's committed mark, had been read.
pub fn verified_header(
    topic: &str,
    first: Coordinates,
    value: &[u8],
    from: Coordinates,
    key: &DeploymentKey,
) -> (String, Vec<u8>) {
    let signature = hexadecimal(&key.sign_verified(topic, first, value, from));
    let text = format!("{} {} {} {signature}", from.partition, from.offset, from.timestamp.0);
    (VERIFIED.to_owned(), text.into_bytes())
}

/// The committed mark after which no decision was found; none without the header, and none when it is not signed with this deployment's
/// key for this record: it is not believed then, and says nothing. Of a header that appears more than once the first counts.
pub fn verified(
    headers: &[(String, Vec<u8>)],
    topic: &str,
    first: Coordinates,
    value: &[u8],
    key: &DeploymentKey,
) -> Option<Coordinates> {
    let (_, text) = headers.iter().find(|(name, _)| name == VERIFIED)?;
    let mut parts = std::str::from_utf8(text).ok()?.split(' ');
    let mut number = |max: u64| {
        let text = parts.next()?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number <= max)
    };
    let from = Coordinates {
        partition: number(u64::from(u32::MAX))? as u32,
        offset: number(i64::MAX as u64)?,
        timestamp: Millis(number(TIME_MAX_MS as u64)? as i64),
    };
    let signature = signature_of(parts.next()?)?;
    let is_whole = parts.next().is_none();
    (is_whole && key.is_verified(&signature, topic, first, value, from)).then_some(from)
}
