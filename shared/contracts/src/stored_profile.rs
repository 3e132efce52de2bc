//! A user's profile, attribute `p` of the user's item.
//!
//! The newest time stands first, the others are differences from it: three bytes within four years.

use centinela_domain::Profile;
use centinela_domain::profile::{Change, Fact, LOGIN_DEVICES_MAX, Minute};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 1;

// What is known, one bit each; above them one per change, in the order of `Change::ALL`.
const REGISTERED: u64 = 1;
const LOGIN_FAILED: u64 = 1 << 1;
const CHANGES_FROM: usize = 2;
const KNOWN: u64 = (1 << (CHANGES_FROM + Change::ALL.len())) - 1;

/// Attribute `p` of a user's item.
pub fn encode(profile: &Profile) -> Vec<u8> {
    let mut output = Output::begin(FORMAT, 64);
    let facts: Vec<Fact> = profile.facts().collect();
    let newest = facts.iter().map(|&fact| time_of(fact)).max().unwrap_or(Minute(0));
    let known = facts.iter().filter_map(|&fact| bit_of(fact)).fold(0, |known, bit| known | bit);
    output.unsigned(known);
    output.unsigned(u64::from(newest.0));
    let put = |output: &mut Output, at: Minute| output.unsigned(u64::from(newest.0 - at.0));
    for &fact in facts.iter().filter(|&&fact| bit_of(fact).is_some()) {
        put(&mut output, time_of(fact));
    }
    output.unsigned(profile.logins().len() as u64);
    for login in profile.logins() {
        output.bytes(&login.device.to_le_bytes());
        put(&mut output, login.at);
    }
    output.end()
}

/// Reads every format that was ever written.
pub fn decode(bytes: &[u8]) -> Result<Profile, StoredProblem> {
    let mut input = Input::begin(bytes, FORMAT)?;
    let known = input.at_most(KNOWN, "set of known facts")?;
    let newest = input.at_most(u64::from(u32::MAX), "newest time")? as u32;
    let mut profile = Profile::default();
    for index in (0..CHANGES_FROM + Change::ALL.len()).filter(|index| known & 1 << index != 0) {
        let at = take_time(&mut input, newest)?;
        profile.apply(match index {
            0 => Fact::Registered { at },
            1 => Fact::LoginFailed { at },
            _ => Fact::Changed { what: Change::ALL[index - CHANGES_FROM], at },
        });
    }
    for _ in 0..input.at_most(LOGIN_DEVICES_MAX as u64, "number of devices")? {
        let device = u32::from_le_bytes(input.array()?);
        profile.apply(Fact::LoggedIn { at: take_time(&mut input, newest)?, device });
    }
    input.end()?;
    Ok(profile)
}

fn take_time(input: &mut Input<'_>, newest: u32) -> Result<Minute, StoredProblem> {
    input.at_most(u64::from(newest), "time").map(|before| Minute(newest - before as u32))
}

fn bit_of(fact: Fact) -> Option<u64> {
    match fact {
        Fact::Registered { .. } => Some(REGISTERED),
        Fact::LoginFailed { .. } => Some(LOGIN_FAILED),
        Fact::Changed { what, .. } => Some(1 << (CHANGES_FROM + what as usize)),
        Fact::LoggedIn { .. } => None,
    }
}

fn time_of(fact: Fact) -> Minute {
    match fact {
        Fact::Registered { at } | Fact::LoginFailed { at } | Fact::Changed { at, .. } | Fact::LoggedIn { at, .. } => at,
    }
}
