//! From one rate to a larger one: the parameters of the larger deployment, and the updates that lead there, one after the other, because AWS
//! refuses them together. The rules by which it refuses are a model of their own ([`rules`]), and a runbook is held against it.

mod brokers;
pub mod rules;
mod runbook;
mod stacks;
mod target;

use std::collections::BTreeMap;

pub use brokers::cheapest_brokers;
pub use runbook::{Action, Change, Step, runbook};
pub use stacks::{also_in, stack_of};
pub use target::{Goal, parameters_for};

/// An environment's parameters by name, as its file has them.
pub type Parameters = BTreeMap<String, String>;

/// What the brake reserves, by no parameter.
const RESERVED_BY_BRAKE: u32 = 1;
/// Concurrent executions of an account that cannot be reserved.
pub(crate) const UNRESERVED: u32 = 100;

/// Concurrent executions that the functions reserve.
pub(crate) fn reserved(parameters: &Parameters) -> u32 {
    let names = parameters.keys().filter(|name| name.ends_with("Concurrency") && *name != "AccountConcurrency");
    names.filter_map(|name| number(parameters, name)).fold(RESERVED_BY_BRAKE, u32::saturating_add)
}

/// Units of all provisioned tables together, of reads or of writes, whichever are more; 0 where tables are on demand.
pub(crate) fn provisioned_units(parameters: &Parameters) -> u32 {
    if parameters.get("TableBillingMode").is_none_or(|mode| mode != "PROVISIONED") {
        return 0;
    }
    // Labels and roll-ups never are, and the index from a minimum on.
    let index = is_index_provisioned(parameters).then_some("Decision");
    let sum = |kind: &str| {
        let names = ["User", "Device", "Mark"].into_iter().chain(index).map(|table| format!("{table}{kind}UnitsMax"));
        names.filter_map(|name| number(parameters, &name)).fold(0, u32::saturating_add)
    };
    sum("Read").max(sum("Write"))
}

/// Whether the index by transaction id is provisioned where the other tables are; otherwise it is on demand.
pub(crate) fn is_index_provisioned(parameters: &Parameters) -> bool {
    number(parameters, "DecisionWriteUnitsMin").is_some_and(|units| units > 0)
}

/// A parameter that is a whole number; none where it is not there.
pub(crate) fn number(parameters: &Parameters, name: &str) -> Option<u32> {
    parameters.get(name)?.parse().ok()
}
