//! The roll-up of one window and shard, attribute `m` of its item.
//!
//! Lists say their length, so that a later release may count more; what a list of an earlier one lacks is 0.

use centinela_domain::decision::Outcome;
use centinela_domain::rollup::{ByOutcome, LATENCY_STEPS, Latency, MODELS_MAX};
use centinela_domain::{Currency, Rollup};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 1;
/// More than there are codes of three letters would be needed for.
const CURRENCIES_MAX: u64 = 26 * 26 * 26;

/// Attribute `m` of a roll-up's item.
pub fn encode(rollup: &Rollup) -> Vec<u8> {
    // Every field by name: a new one does not compile until it is stored.
    let Rollup { outcomes, reasons, device_types, amount_bands, flags, models, money, latency, reduced } = rollup;
    let mut output = Output::begin(FORMAT, 512);
    for list in [&outcomes[..], reasons, device_types, amount_bands, flags] {
        put_list(&mut output, list);
    }
    output.unsigned(models.len() as u64);
    for (version, decisions) in models {
        output.text(version);
        put_list(&mut output, decisions);
    }
    output.unsigned(money.len() as u64);
    for (currency, amounts) in money {
        output.bytes(currency.as_str().as_bytes());
        put_list(&mut output, amounts);
    }
    output.unsigned(latency.len() as u64);
    for latency in latency {
        put_latency(&mut output, latency);
    }
    output.unsigned(*reduced);
    output.end()
}

/// Reads every format that was ever written.
///
/// # Errors
/// When the bytes are not what a release of this system wrote.
pub fn decode(bytes: &[u8]) -> Result<Rollup, StoredProblem> {
    let mut input = Input::begin(bytes, FORMAT)?;
    let mut rollup = Rollup::default();
    take_list(&mut input, &mut rollup.outcomes)?;
    take_list(&mut input, &mut rollup.reasons)?;
    take_list(&mut input, &mut rollup.device_types)?;
    take_list(&mut input, &mut rollup.amount_bands)?;
    take_list(&mut input, &mut rollup.flags)?;
    // One more than by name: what stands for the others.
    for _ in 0..input.at_most(MODELS_MAX as u64 + 1, "number of models")? {
        let version = input.text("model version")?;
        let mut decisions = ByOutcome::default();
        take_list(&mut input, &mut decisions)?;
        rollup.models.insert(version, decisions);
    }
    for _ in 0..input.at_most(CURRENCIES_MAX, "number of currencies")? {
        let code = std::str::from_utf8(input.bytes(3)?).ok();
        let currency = code.and_then(|code| Currency::recorded(code).ok()).ok_or(StoredProblem::Invalid("currency"))?;
        let mut amounts = [0; Outcome::ALL.len()];
        take_list(&mut input, &mut amounts)?;
        rollup.money.insert(currency, amounts);
    }
    let stages = input.at_most(rollup.latency.len() as u64, "number of stages")?;
    for latency in rollup.latency.iter_mut().take(stages as usize) {
        *latency = take_latency(&mut input)?;
    }
    rollup.reduced = input.unsigned()?;
    input.end()?;
    Ok(rollup)
}

fn put_list(output: &mut Output, counts: &[u64]) {
    output.unsigned(counts.len() as u64);
    counts.iter().for_each(|count| output.unsigned(*count));
}

fn take_list(input: &mut Input<'_>, counts: &mut [u64]) -> Result<(), StoredProblem> {
    let length = input.at_most(counts.len() as u64, "number of counts")?;
    for count in counts.iter_mut().take(length as usize) {
        *count = input.unsigned()?;
    }
    Ok(())
}

/// The steps that have any, each as its distance from the one before.
fn put_latency(output: &mut Output, latency: &Latency) {
    output.unsigned(latency.steps().count() as u64);
    let mut previous = 0;
    for (step, count) in latency.steps() {
        output.unsigned((step - previous) as u64);
        output.unsigned(count);
        previous = step;
    }
}

fn take_latency(input: &mut Input<'_>) -> Result<Latency, StoredProblem> {
    let mut latency = Latency::default();
    let mut step = 0;
    for _ in 0..input.at_most(LATENCY_STEPS as u64, "number of steps")? {
        step += input.at_most((LATENCY_STEPS - 1 - step) as u64, "step")? as usize;
        latency.count(step, input.unsigned()?);
    }
    Ok(latency)
}
