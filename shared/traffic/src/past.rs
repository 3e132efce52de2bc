//! A world's past: what is known of its users and devices when the first transaction goes out.
//!
//! In an empty world everybody is new, so a model that looks for what is unusual finds nothing. The past is the same generator's
//! own earlier traffic, folded by the code that decides; it writes nothing and decides nothing.

use std::collections::HashMap;

use centinela_contracts::payload::PayloadProblem;
use centinela_domain::risk::Label;
use centinela_domain::{DecisionId, DeviceId, DeviceState, Millis, Profile, Risk, UserId, UserState};

use crate::fold::{FeatureFold, States};
use crate::generator::Generator;
use crate::transaction::Event;

const DAY_MS: i64 = 24 * 3_600_000;

/// How long a past is at most. Whichever comes first ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastLimits {
    /// Simulated days.
    pub days: u16,
    /// Transactions, which take time.
    pub transactions: u64,
    /// Users and devices together, which take memory.
    pub states: usize,
}

impl PastLimits {
    /// Eight weeks, about as long as training lets a world warm up; a world of 4,000 makes half a million transactions of them. Larger
    /// worlds have a shorter past.
    pub const DEFAULT: Self = Self { days: 56, transactions: 600_000, states: 60_000 };
}

/// What a function would have stored of the transactions of a time, had it decided each of them once, in their order.
#[derive(Debug)]
pub struct Past {
    /// How many there were.
    pub transactions: u64,
    /// Simulated time that they took.
    pub lasted_ms: i64,
    /// Everybody who bought.
    pub users: HashMap<UserId, UserState>,
    /// Every device that was used.
    pub devices: HashMap<DeviceId, DeviceState>,
    /// Everybody who did something else.
    pub profiles: HashMap<UserId, Profile>,
    /// Users of whose transactions something became known.
    pub user_risks: HashMap<UserId, Risk>,
    /// Devices alike.
    pub device_risks: HashMap<DeviceId, Risk>,
    /// The label that stands of each labelled transaction, and whose and on which device that was.
    pub labels: HashMap<DecisionId, (Label, UserId, DeviceId)>,
}

impl Past {
    /// Lets the world live on up to the limits. What the generator makes afterwards goes on from there, but for duplicates of what
    /// belongs to the past: nobody could tell that they come again.
    ///
    /// # Errors
    /// When the generator makes what is no transaction, no action or no label.
    pub fn live_through(generator: &mut Generator, limits: PastLimits) -> Result<Self, PayloadProblem> {
        let lead = generator.lead(0);
        let end = Millis(generator.start().0 + i64::from(limits.days) * DAY_MS);
        let (mut fold, mut transactions, mut newest) = (FeatureFold::default(), 0, generator.start());
        while transactions < limits.transactions && fold.states() < limits.states && newest < end {
            let Some(event) = generator.next() else { break };
            newest = newest.max(event.arrived_at());
            transactions += live(&mut fold, event)?;
        }
        generator.forget_resends();
        generator.lead(lead);
        // What comes ahead of the first transaction belongs to the past, or all of it would be sent at once.
        while let Some(event) = generator.next_ahead() {
            live(&mut fold, event)?;
        }
        let States { users, devices, profiles, user_risks, device_risks, labels } = fold.into_states();
        let lasted_ms = newest.since(generator.start());
        Ok(Self { transactions, lasted_ms, users, devices, profiles, user_risks, device_risks, labels })
    }
}

/// Returns how many transactions the event was.
fn live(fold: &mut FeatureFold, event: Event) -> Result<u64, PayloadProblem> {
    match event {
        Event::Transaction(sent) if sent.duplicate => return Ok(0),
        Event::Transaction(sent) => {
            fold.pass(&sent.fields.to_transaction()?);
            return Ok(1);
        }
        Event::Action(sent) => fold.act(sent.fields.to_action()?, sent.arrived_at),
        Event::Label(label) => fold.hear(label.to_event()?, label.arrived_at),
    }
    Ok(0)
}
