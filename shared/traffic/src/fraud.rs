//! Campaigns of fraud: who is hit, when, from where and for how much. What is planned here overlaps with what honest customers
//! do, on purpose: tiny amounts, new devices, crowded devices and large purchases all happen without any fraud.

use std::sync::Arc;

use centinela_domain::{Currency, Millis};

use crate::chance::Chance;
use crate::transaction::Kind;
use crate::world::{DAY_MS, Device, HOUR_MS, MINUTE_MS, Network, Origin, World};

/// The account that a fraud is made with.
#[derive(Clone, Debug)]
pub(crate) enum Account {
    /// A customer's, by place in the world.
    Victim(usize),
    /// One that the fraudsters registered.
    Recruit { id: Arc<str>, registered_at: Millis, currency: Currency },
}

/// One planned fraud.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    pub(crate) at: f64,
    pub(crate) kind: Kind,
    pub(crate) account: Account,
    /// The fraudsters' device; none when they act through the victim's own.
    pub(crate) origin: Option<Origin>,
    pub(crate) amount: f64,
    pub(crate) merchant: usize,
}

/// Share of all frauds by kind, and how many frauds a campaign of the kind has on average.
pub(crate) const MIX: [(Kind, f64, f64); 5] = [
    (Kind::CardTesting, 0.24, 7.6),
    (Kind::AccountTakeover, 0.26, 4.5),
    (Kind::DeviceRing, 0.20, 12.0),
    (Kind::Drop, 0.06, 1.0),
    (Kind::LeakedCard, 0.24, 5.5),
];

/// Plans a campaign that starts at `at`, strikes in order of time.
pub(crate) fn plan(kind: Kind, world: &mut World, chance: &mut Chance, at: f64) -> Vec<Strike> {
    let mut strikes = match kind {
        Kind::Genuine => Vec::new(),
        Kind::CardTesting => card_testing(world, chance, at),
        Kind::AccountTakeover => account_takeover(world, chance, at),
        Kind::DeviceRing => device_ring(world, chance, at),
        Kind::Drop => drop_in_amount(world, chance, at),
        Kind::LeakedCard => leaked_card(world, chance, at),
    };
    strikes.sort_by(|a, b| a.at.total_cmp(&b.at));
    strikes
}

/// Fraudsters prefer active accounts, as they are the ones that leak.
fn victim(world: &World, chance: &mut Chance) -> usize {
    let (a, b) = (chance.below(world.users.len()), chance.below(world.users.len()));
    if world.users[a].visits_per_day >= world.users[b].visits_per_day { a } else { b }
}

fn foreign_network(chance: &mut Chance) -> Network {
    if chance.happens(0.4) { Network::exit(chance) } else { Network::elsewhere(chance) }
}

fn foreign_origin(chance: &mut Chance, at: f64) -> Origin {
    let mut device = Device::any(chance, at);
    let network = foreign_network(chance);
    let host = chance.below(250) as u16;
    Origin::of(&mut device, network, host, chance, at)
}

fn card_testing(world: &World, chance: &mut Chance, at: f64) -> Vec<Strike> {
    let account = Account::Victim(victim(world, chance));
    let origin = chance.happens(0.6).then(|| foreign_origin(chance, at));
    let merchant = chance.below(world.merchants.len());
    let mut time = at;
    let mut strikes: Vec<Strike> = (0..chance.whole(4, 10))
        .map(|_| {
            time += chance.between(4.0, 180.0) * 1000.0;
            let amount = chance.between(0.5, 3.5);
            Strike {
                at: time,
                kind: Kind::CardTesting,
                account: account.clone(),
                origin: origin.clone(),
                amount,
                merchant,
            }
        })
        .collect();
    if chance.happens(0.6) {
        time += chance.between(1.0, 240.0) * MINUTE_MS;
        let amount = chance.log_normal(260.0, 0.6);
        let merchant = chance.below(world.merchants.len());
        strikes.push(Strike { at: time, kind: Kind::CardTesting, account, origin, amount, merchant });
    }
    strikes
}

fn account_takeover(world: &World, chance: &mut Chance, at: f64) -> Vec<Strike> {
    let index = victim(world, chance);
    let origin = chance.happens(0.75).then(|| foreign_origin(chance, at));
    let pace = chance.log_normal(1.5, 1.2) * HOUR_MS;
    // Careful ones stay near what the customer spends.
    let multiple = if chance.happens(0.25) { 1.1 } else { 3.2 };
    let mut time = at;
    (0..chance.whole(2, 7))
        .map(|_| {
            time += chance.exponential(pace);
            let amount = world.users[index].typical * chance.log_normal(multiple, 0.6);
            let merchant = chance.below(world.merchants.len());
            Strike {
                at: time,
                kind: Kind::AccountTakeover,
                account: Account::Victim(index),
                origin: origin.clone(),
                amount,
                merchant,
            }
        })
        .collect()
}

fn device_ring(world: &mut World, chance: &mut Chance, at: f64) -> Vec<Strike> {
    let mut device = Device::any(chance, at);
    let days = chance.between(0.5, 6.0);
    let mut strikes = Vec::new();
    for _ in 0..chance.whole(4, 10) {
        let account = if chance.happens(0.55) {
            let registered_at = at - chance.exponential(3.0 * DAY_MS);
            let recruit = world.newcomer(chance, registered_at, at);
            Account::Recruit { id: recruit.id, registered_at: recruit.registered_at, currency: recruit.currency }
        } else {
            Account::Victim(victim(world, chance))
        };
        let mut time = at + chance.unit() * days * DAY_MS;
        let network = foreign_network(chance);
        for _ in 0..chance.whole(1, 3) {
            let origin = Some(Origin::of(&mut device, network, 44, chance, time));
            let amount = chance.log_normal(75.0, 0.7);
            let merchant = chance.below(world.merchants.len());
            strikes.push(Strike {
                at: time,
                kind: Kind::DeviceRing,
                account: account.clone(),
                origin,
                amount,
                merchant,
            });
            time += chance.exponential(4.0 * HOUR_MS);
        }
    }
    strikes
}

fn drop_in_amount(world: &World, chance: &mut Chance, at: f64) -> Vec<Strike> {
    let index = victim(world, chance);
    let origin = chance.happens(0.3).then(|| foreign_origin(chance, at));
    let amount = (world.users[index].typical * chance.between(9.0, 30.0)).max(350.0);
    let merchant = chance.below(world.merchants.len());
    vec![Strike { at, kind: Kind::Drop, account: Account::Victim(index), origin, amount, merchant }]
}

fn leaked_card(world: &World, chance: &mut Chance, at: f64) -> Vec<Strike> {
    let index = victim(world, chance);
    let days = chance.between(2.0, 10.0);
    let multiple = chance.between(2.5, 6.0);
    let user = &world.users[index];
    (0..chance.whole(3, 8))
        .map(|_| {
            let time = at + chance.unit() * days * DAY_MS;
            let origin = chance.happens(0.15).then(|| foreign_origin(chance, time));
            let amount = user.typical * multiple * chance.log_normal(1.0, 0.45);
            let merchant = user.merchants[chance.below(user.merchants.len())];
            Strike { at: time, kind: Kind::LeakedCard, account: Account::Victim(index), origin, amount, merchant }
        })
        .collect()
}
