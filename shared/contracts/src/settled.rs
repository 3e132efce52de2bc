//! What is known to be settled of one partition of one consumer group, attribute `s` of its item.

use centinela_domain::{Mark, Millis, TransactionDigest, UserId};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 2;
/// Positions without owners; still read.
const FORMAT_WITHOUT_OWNERS: u8 = 1;

/// Most positions that may be noted as unsettled.
pub const HOLDS_MAX: usize = 10_000;
/// Bytes that the transactions behind the positions may take, of the 400 KB that a DynamoDB item may have. What does not fit is kept
/// as a position only.
const OWNERS_BYTES_MAX: usize = 200_000;
/// Bytes of an owner beside the user's id, at most.
const OWNER_OVERHEAD_BYTES: usize = 12;

/// A record that was reported as unsettled.
#[derive(Clone, Debug, PartialEq)]
pub struct Hold {
    /// Where it stands.
    pub at: Mark,
    /// Whose ring can tell what became of it; none for a record that could not be parked.
    pub owner: Option<Owner>,
}

/// The transaction behind a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user whose ring remembers it.
    pub user: UserId,
    /// How the ring remembers it.
    pub digest: TransactionDigest,
}

/// What is known about a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettledItem {
    /// The first position that is not known to be settled.
    pub mark: Option<Mark>,
    /// Records reported as unsettled.
    pub holds: Vec<Hold>,
    /// When it was written.
    pub noted_at: Millis,
}

/// More positions than an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{holds} unsettled positions in one partition, the limit is {HOLDS_MAX}: the stored item is kept as it is, so nothing \
     more is taken for published until records of this partition settle"
)]
pub struct TooManyHolds {
    /// How many.
    pub holds: usize,
}

/// The item's key.
pub fn key(group: &str, topic: &str, partition: u32) -> String {
    format!("{group}/{topic}/{partition}")
}

/// Writes it.
pub fn encode(item: &SettledItem) -> Result<Vec<u8>, TooManyHolds> {
    let holds = item.holds.len();
    if holds > HOLDS_MAX {
        return Err(TooManyHolds { holds });
    }
    let mut output = Output::begin(FORMAT, 32);
    output.signed(item.noted_at.0);
    let mut previous = chain_start(item.noted_at);
    output.byte(u8::from(item.mark.is_some()));
    if let Some(mark) = item.mark {
        output.mark(mark, &mut previous);
    }
    output.unsigned(holds as u64);
    let mut room = OWNERS_BYTES_MAX;
    for hold in &item.holds {
        output.mark(hold.at, &mut previous);
        let owner = hold.owner.as_ref().filter(|owner| owner.user.as_str().len() + OWNER_OVERHEAD_BYTES <= room);
        output.byte(u8::from(owner.is_some()));
        if let Some(owner) = owner {
            room -= owner.user.as_str().len() + OWNER_OVERHEAD_BYTES;
            output.text(owner.user.as_str());
            output.bytes(&owner.digest.0.to_be_bytes());
        }
    }
    Ok(output.end())
}

/// Reads it.
pub fn decode(bytes: &[u8]) -> Result<SettledItem, StoredProblem> {
    let with_owners = bytes.first() != Some(&FORMAT_WITHOUT_OWNERS);
    let mut input = Input::begin(bytes, if with_owners { FORMAT } else { FORMAT_WITHOUT_OWNERS })?;
    let noted_at = Millis(input.signed()?);
    let mut previous = chain_start(noted_at);
    let mark = match input.byte()? {
        0 => None,
        1 => Some(input.mark(&mut previous)?),
        _ => return Err(StoredProblem::Invalid("mark")),
    };
    let count = input.at_most(HOLDS_MAX as u64, "number of holds")?;
    let holds = (0..count).map(|_| hold(&mut input, &mut previous, with_owners)).collect::<Result<_, _>>()?;
    input.end()?;
    Ok(SettledItem { mark, holds, noted_at })
}

fn hold(input: &mut Input<'_>, previous: &mut Mark, with_owners: bool) -> Result<Hold, StoredProblem> {
    let at = input.mark(previous)?;
    if !with_owners {
        return Ok(Hold { at, owner: None });
    }
    let owner = match input.byte()? {
        0 => None,
        1 => {
            let user =
                UserId::new(input.text("user of a hold")?).map_err(|_| StoredProblem::Invalid("user of a hold"))?;
            Some(Owner { user, digest: TransactionDigest(u64::from_be_bytes(input.array()?)) })
        }
        _ => return Err(StoredProblem::Invalid("owner of a hold")),
    };
    Ok(Hold { at, owner })
}

fn chain_start(noted_at: Millis) -> Mark {
    Mark { offset: 0, timestamp: noted_at }
}
