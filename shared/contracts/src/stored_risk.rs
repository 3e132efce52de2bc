//! The risk of a user or a device, attribute `r` of its item.

use centinela_domain::Risk;
use centinela_domain::risk::{Counts, Day, RISK_DAYS};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 1;

/// Attribute `r` of a user's or a device's item: the newest day, the sums of the older ones, and each day as its distance from the
/// newest, the oldest first.
pub fn encode(risk: &Risk) -> Vec<u8> {
    let mut output = Output::begin(FORMAT, 32);
    output.unsigned(u64::from(risk.newest().0));
    put(&mut output, risk.older());
    output.unsigned(risk.days().len() as u64);
    for (day, counts) in risk.days() {
        output.unsigned(u64::from(risk.newest().0 - day.0));
        put(&mut output, counts);
    }
    output.end()
}

/// Reads every format that was ever written.
pub fn decode(bytes: &[u8]) -> Result<Risk, StoredProblem> {
    let mut input = Input::begin(bytes, FORMAT)?;
    let newest = input.at_most(u64::from(u32::MAX), "newest day")? as u32;
    let older = take(&mut input)?;
    let count = input.at_most(u64::from(RISK_DAYS), "number of days")?;
    let mut days = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let before = input.at_most(u64::from(newest.min(RISK_DAYS - 1)), "day")? as u32;
        days.push((Day(newest - before), take(&mut input)?));
    }
    input.end()?;
    Ok(Risk::from_parts(Day(newest), older, days))
}

fn put(output: &mut Output, counts: Counts) {
    output.unsigned(u64::from(counts.fraud));
    output.unsigned(u64::from(counts.good));
}

fn take(input: &mut Input<'_>) -> Result<Counts, StoredProblem> {
    let mut count = || input.at_most(u64::from(u32::MAX), "count").map(|count| count as u32);
    Ok(Counts { fraud: count()?, good: count()? })
}
