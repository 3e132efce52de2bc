//! What the other owners of an item say: a decision takes it where it can be read, and does without it where it cannot.

use std::fmt;

use centinela_contracts::stored_user::StoredProblem;
use centinela_contracts::{stored_profile, stored_risk};
use centinela_delivery::Causes;
use centinela_domain::{DeviceId, UserId};
use centinela_scoring::ports::Background;
use tracing::error;

use crate::attribute_group::{AttributeGroup, Attributes, ItemProblem};
use crate::owned_items::NameForLogs;

/// Reads the groups of other owners.
#[derive(Clone)]
pub(super) struct BackgroundReader {
    name_for_logs: NameForLogs,
}

impl fmt::Debug for BackgroundReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundReader").finish_non_exhaustive()
    }
}

impl BackgroundReader {
    pub(super) fn new(name_for_logs: NameForLogs) -> Self {
        Self { name_for_logs }
    }

    /// Takes the user's profile and risk.
    pub(super) fn take_user(&self, user: &UserId, item: &mut Attributes, background: &mut Background) {
        match decoded(AttributeGroup::PROFILE, item, stored_profile::decode) {
            Ok(profile) => background.profiles.extend(profile.map(|profile| (user.clone(), profile))),
            Err(problem) => {
                self.report("profile", user.as_str(), &problem);
                background.unreadable_profiles.insert(user.clone());
            }
        }
        match decoded(AttributeGroup::RISK, item, stored_risk::decode) {
            Ok(risk) => background.user_risk.extend(risk.map(|risk| (user.clone(), risk))),
            Err(problem) => {
                self.report("risk of user", user.as_str(), &problem);
                background.unreadable_user_risk.insert(user.clone());
            }
        }
    }

    /// Takes the device's risk.
    pub(super) fn take_device(&self, device: &DeviceId, item: &mut Attributes, background: &mut Background) {
        match decoded(AttributeGroup::RISK, item, stored_risk::decode) {
            Ok(risk) => background.device_risk.extend(risk.map(|risk| (device.clone(), risk))),
            Err(problem) => {
                self.report("risk of device", device.as_str(), &problem);
                background.unreadable_device_risk.insert(device.clone());
            }
        }
    }

    fn report(&self, what: &str, key: &str, problem: &ItemProblem) {
        let name = (self.name_for_logs)(key);
        error!(what, name, error = %Causes(problem), "a person has to repair an item; decisions are made without this part of it");
    }
}

fn decoded<T>(
    group: AttributeGroup,
    item: &mut Attributes,
    decode: impl FnOnce(&[u8]) -> Result<T, StoredProblem>,
) -> Result<Option<T>, ItemProblem> {
    let found = group.read(item)?;
    Ok(found.map(|found| decode(&found.item)).transpose()?)
}
