//! A user's item, attribute `s`: aggregates, remembered decisions and eviction floors, small enough that an ordinary user's item takes
//! one write unit (1 KB, <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>).
//!
//! Layout of format 4: aggregates; eviction floors by partition; the proof that rides along; entries, oldest first. Format 3 has two more
//! aggregates, of labels, which are nobody's any more; format 2 does not say either what a transaction was about nor which list of features
//! its evidence is in; format 1 has no proof either. Positions are differences
//! from the position written before, times differences from the newest event time or from the record's broker time. What can
//! be derived from the user's and the transaction's id is not stored. Lossless: what is read equals what was written.

mod entry;

use centinela_domain::user::{KNOWN_AGENTS_MAX, KNOWN_DEVICES_MAX, KNOWN_NETWORKS_MAX, RECENT_AMOUNTS};
use centinela_domain::{Ledger, Mark, Millis, UserId, UserState};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 4;
/// With labels among the aggregates; still read.
const FORMAT_WITH_LABELS: u8 = 3;
/// Without what a transaction was about and without the list of features, which was always the first; still read.
const FORMAT_LEGACY: u8 = 2;
/// Without a proof too; still read.
const FORMAT_WITHOUT_PROOF: u8 = 1;
const SPIKE_KNOWN: u8 = 1;
/// Floats of the aggregates that are stored in one run.
const FLOATS: usize = 12;
/// The same with the decayed count of labels.
const FLOATS_WITH_LABELS: usize = 13;

/// What is stored about a user.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredUser {
    /// Aggregates.
    pub state: UserState,
    /// Remembered decisions and eviction floors.
    pub ledger: Ledger,
}

/// Writes the item. Every decision in the ledger is of the item's user, the one that [`decode`] is given.
pub fn encode(stored: &StoredUser) -> Vec<u8> {
    let user = stored.ledger.entries.iter().find_map(|entry| entry.decision.as_ref()).map(|decision| &decision.user_id);
    let mut output = Output::begin(FORMAT, 1024);
    put_state(&mut output, &stored.state);
    let mut previous = chain_start(&stored.state);
    output.unsigned(stored.ledger.eviction_floors.len() as u64);
    for (&partition, &floor) in &stored.ledger.eviction_floors {
        output.unsigned(u64::from(partition));
        output.mark(floor, &mut previous);
    }
    output.byte(u8::from(stored.ledger.proof.is_some()));
    if let Some((partition, mark)) = stored.ledger.proof {
        output.unsigned(u64::from(partition));
        output.mark(mark, &mut previous);
    }
    output.unsigned(stored.ledger.entries.len() as u64);
    let mut context = entry::Context::begin(user, previous, false);
    for entry in &stored.ledger.entries {
        entry::put(&mut output, entry, &mut context);
    }
    output.end()
}

/// Reads the item of `user`.
pub fn decode(bytes: &[u8], user: &UserId) -> Result<StoredUser, StoredProblem> {
    let format = match bytes.first() {
        Some(&known @ FORMAT_WITHOUT_PROOF..=FORMAT_WITH_LABELS) => known,
        _ => FORMAT,
    };
    let (legacy, with_proof) = (format <= FORMAT_LEGACY, format > FORMAT_WITHOUT_PROOF);
    let mut input = Input::begin(bytes, format)?;
    let state = take_state(&mut input, format <= FORMAT_WITH_LABELS)?;
    let mut previous = chain_start(&state);
    let mut ledger = Ledger::default();
    for _ in 0..input.count(3, "number of eviction floors")? {
        let partition = input.at_most(u64::from(u32::MAX), "partition")? as u32;
        ledger.eviction_floors.insert(partition, input.mark(&mut previous)?);
    }
    if with_proof {
        ledger.proof = match input.byte()? {
            0 => None,
            1 => {
                let partition = input.at_most(u64::from(u32::MAX), "partition")? as u32;
                Some((partition, input.mark(&mut previous)?))
            }
            _ => return Err(StoredProblem::Invalid("proof")),
        };
    }
    let mut context = entry::Context::begin(Some(user), previous, legacy);
    let decisions = input.count(entry::BYTES_MIN, "number of decisions")?;
    // A batch remembers one more, as a rule.
    ledger.entries.reserve_exact(decisions + 1);
    for _ in 0..decisions {
        ledger.entries.push(entry::take(&mut input, &mut context)?);
    }
    input.end()?;
    Ok(StoredUser { state, ledger })
}

fn chain_start(state: &UserState) -> Mark {
    Mark { offset: 0, timestamp: state.newest_at }
}

fn put_state(output: &mut Output, state: &UserState) {
    let [c0, c1, c2, c3] = state.counts;
    let [s0, s1, s2, s3] = state.sums;
    let [spikes0, spikes1] = state.spikes;
    let floats: [f32; FLOATS] = [c0, c1, c2, c3, s0, s1, s2, s3, spikes0, spikes1, state.largest, state.small];
    output.byte(if state.spike_at.is_some() { SPIKE_KNOWN } else { 0 });
    output.unsigned(state.transactions);
    output.unsigned(state.amount_total_minor);
    output.unsigned(state.late);
    output.signed(state.newest_at.0);
    output.time(state.since, state.newest_at);
    if let Some(spike_at) = state.spike_at {
        output.time(spike_at, state.newest_at);
    }
    output.bytes(&state.mean.to_le_bytes());
    output.bytes(&state.squares.to_le_bytes());
    output.floats(&floats);
    output.unsigned(state.recent.len() as u64);
    output.floats(&state.recent);
    for hashes in [&state.devices, &state.networks, &state.agents] {
        output.unsigned(hashes.len() as u64);
        hashes.iter().for_each(|hash| output.bytes(&hash.to_le_bytes()));
    }
    output.byte(state.device_types);
}

fn take_state(input: &mut Input<'_>, with_labels: bool) -> Result<UserState, StoredProblem> {
    let flags = input.byte()?;
    if flags & !SPIKE_KNOWN != 0 {
        return Err(StoredProblem::Invalid("flags"));
    }
    let (transactions, amount_total_minor, late) = (input.unsigned()?, input.unsigned()?, input.unsigned()?);
    let newest_at = Millis(input.signed()?);
    let since = input.time(newest_at)?;
    if with_labels {
        let _labels_at = input.time(since)?;
    }
    let spike_at = if flags & SPIKE_KNOWN != 0 { Some(input.time(newest_at)?) } else { None };
    let (mean, squares) = (f64::from_le_bytes(input.array()?), f64::from_le_bytes(input.array()?));
    let mut floats = [0.0; FLOATS_WITH_LABELS];
    input.floats(&mut floats[..if with_labels { FLOATS_WITH_LABELS } else { FLOATS }])?;
    let [c0, c1, c2, c3, s0, s1, s2, s3, spikes0, spikes1, largest, small, _known_frauds] = floats;
    let mut recent = vec![0.0; input.at_most(RECENT_AMOUNTS as u64, "number of recent amounts")? as usize];
    input.floats(&mut recent)?;
    Ok(UserState {
        transactions,
        amount_total_minor,
        late,
        since,
        newest_at,
        counts: [c0, c1, c2, c3],
        sums: [s0, s1, s2, s3],
        mean,
        squares,
        largest,
        recent,
        spikes: [spikes0, spikes1],
        spike_at,
        small,
        devices: take_hashes(input, KNOWN_DEVICES_MAX)?,
        networks: take_hashes(input, KNOWN_NETWORKS_MAX)?,
        agents: take_hashes(input, KNOWN_AGENTS_MAX)?,
        device_types: input.byte()?,
    })
}

fn take_hashes(input: &mut Input<'_>, limit: usize) -> Result<Vec<u32>, StoredProblem> {
    let count = input.at_most(limit as u64, "number of hashes")?;
    (0..count).map(|_| input.array().map(u32::from_le_bytes)).collect()
}
