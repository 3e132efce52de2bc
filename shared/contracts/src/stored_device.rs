//! A device's item, attribute `s`.

use centinela_domain::device::{DEVICE_USERS_MAX, DeviceUser};
use centinela_domain::{DeviceState, Millis};

pub use crate::binary::StoredProblem;
use crate::binary::{Input, Output};

const FORMAT: u8 = 2;
/// With decayed counts of labels; still read.
const FORMAT_WITH_LABELS: u8 = 1;

/// Attribute `s` of a device's item.
pub fn encode(device: &DeviceState) -> Vec<u8> {
    let mut output = Output::begin(FORMAT, 192);
    output.signed(device.first_seen_at.0);
    output.unsigned(device.users.len() as u64);
    for user in &device.users {
        output.bytes(&user.user.to_le_bytes());
        output.time(user.first_seen_at, device.first_seen_at);
    }
    output.end()
}

/// Reads every format that was ever written.
pub fn decode(bytes: &[u8]) -> Result<DeviceState, StoredProblem> {
    let with_labels = bytes.first() == Some(&FORMAT_WITH_LABELS);
    let mut input = Input::begin(bytes, if with_labels { FORMAT_WITH_LABELS } else { FORMAT })?;
    let first_seen_at = Millis(input.signed()?);
    if with_labels {
        let _labels_at = input.time(first_seen_at)?;
        input.floats(&mut [0.0; 2])?;
    }
    let count = input.at_most(DEVICE_USERS_MAX as u64, "number of users")?;
    let users = (0..count)
        .map(|_| Ok(DeviceUser { user: u32::from_le_bytes(input.array()?), first_seen_at: input.time(first_seen_at)? }))
        .collect::<Result<_, StoredProblem>>()?;
    input.end()?;
    Ok(DeviceState { first_seen_at, users })
}
