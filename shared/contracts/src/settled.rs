//! What is known to be settled of one partition of one consumer group, attribute `s` of its item.

use centinela_domain::{Mark, Millis};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 1;

/// Most positions that may be noted as unsettled.
pub const HOLDS_MAX: usize = 10_000;

/// What is known about a partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettledItem {
    /// The first position that is not known to be settled.
    pub mark: Option<Mark>,
    /// Positions reported as unsettled.
    pub holds: Vec<Mark>,
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
    for &hold in &item.holds {
        output.mark(hold, &mut previous);
    }
    Ok(output.end())
}

/// Reads it.
pub fn decode(bytes: &[u8]) -> Result<SettledItem, StoredProblem> {
    let mut input = Input::begin(bytes, FORMAT)?;
    let noted_at = Millis(input.signed()?);
    let mut previous = chain_start(noted_at);
    let mark = match input.byte()? {
        0 => None,
        1 => Some(input.mark(&mut previous)?),
        _ => return Err(StoredProblem::Invalid("mark")),
    };
    let count = input.at_most(HOLDS_MAX as u64, "number of holds")?;
    let holds = (0..count).map(|_| input.mark(&mut previous)).collect::<Result<_, _>>()?;
    input.end()?;
    Ok(SettledItem { mark, holds, noted_at })
}

fn chain_start(noted_at: Millis) -> Mark {
    Mark { offset: 0, timestamp: noted_at }
}
