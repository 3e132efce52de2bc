//! The pieces that are measured, by name.

use std::hint::black_box;

use centinela_adapters::aws::WireClient;
use centinela_contracts::kafka_event::KafkaBatch;
use centinela_contracts::stored_user::StoredUser;
use centinela_contracts::{decision_v1, stored_user, transaction_v1};
use centinela_contracts::{stored_device, stored_profile, stored_risk};
use centinela_domain::features::Known;
use centinela_domain::{Decision, DeviceState, FeatureVector, Profile, Risk, Transaction, UserId, UserState};
use centinela_inference::ModelScorer;
use centinela_scoring::ports::Scorer as _;

use super::calls;
use super::world::{EVENTS, World};
use crate::floor::Floor;

/// Every kernel. `NAME-N` does its work for N transactions at a time.
pub const NAMES: [&str; 19] = [
    "envelope-100",
    "parse-100",
    "features-100",
    "score-1",
    "score-100",
    "item-read-100",
    "item-write-100",
    "encode-100",
    "statements-1",
    "statements-25",
    "statements-sdk-25",
    "read-call-25",
    "whole-1",
    "whole-10",
    "whole-100",
    "whole-1000",
    "floor-10",
    "floor-100",
    "floor-1000",
];

/// A piece of work that can be done again and again.
pub struct Kernel {
    /// Transactions that one run is for.
    pub transactions: u64,
    work: Box<dyn FnMut()>,
}

impl Kernel {
    fn new(transactions: usize, work: impl FnMut() + 'static) -> Self {
        Self { transactions: transactions as u64, work: Box::new(work) }
    }

    /// Does it once.
    pub fn run(&mut self) {
        (self.work)();
    }
}

/// The kernel of a name; none for an unknown one.
///
/// # Panics
/// When the world does not give what the kernel works on, which is a fault of this repository.
#[must_use]
pub fn kernel(name: &str) -> Option<Kernel> {
    let (kind, count) = NAMES.contains(&name).then(|| name.rsplit_once('-'))??;
    let count: usize = count.parse().ok()?;
    let world = World::new();
    assert!(count <= EVENTS, "the world has {EVENTS} payloads");
    Some(match kind {
        "envelope" => {
            let event = world.event(count);
            Kernel::new(count, move || drop(black_box(KafkaBatch::parse(black_box(&event)))))
        }
        "parse" => {
            let payloads = world.payloads[..count].to_vec();
            let parse = |payload: &Vec<u8>| transaction_v1::parse(black_box(payload)).is_ok();
            Kernel::new(count, move || assert!(payloads.iter().all(parse)))
        }
        "features" => features(&world, count),
        "score" => score(&world, count),
        "item-read" | "item-write" | "encode" => stored(kind, &world, count),
        "statements" => Kernel::new(count, calls::commit(WireClient::Lean, &world, count)),
        "statements-sdk" => Kernel::new(count, calls::commit(WireClient::Sdk, &world, count)),
        "read-call" => Kernel::new(count, calls::read(&world, count)),
        "whole" => {
            let event = world.event(count);
            Kernel::new(count, move || {
                let report = world.handle(black_box(&event));
                assert_eq!(report.decided, count);
                black_box(report.response.encode());
            })
        }
        "floor" => {
            let (event, mut floor) = (world.event(count), Floor::new());
            Kernel::new(count, move || assert_eq!(floor.run(black_box(&event)), count))
        }
        _ => return None,
    })
}

/// What is known of one transaction, read from the tables beforehand.
struct Case {
    transaction: Transaction,
    user: Option<UserState>,
    profile: Option<Profile>,
    user_risk: Option<Risk>,
    device: Option<DeviceState>,
    device_risk: Option<Risk>,
}

impl Case {
    fn row(&self) -> FeatureVector {
        let known = Known {
            user: self.user.as_ref(),
            profile: self.profile.as_ref().into(),
            user_risk: self.user_risk.as_ref().into(),
            device: self.device.as_ref().into(),
            device_risk: self.device_risk.as_ref().into(),
        };
        FeatureVector::compute(&self.transaction, self.transaction.occurred_at, &known)
    }
}

fn cases(world: &World, count: usize) -> Vec<Case> {
    const READ_BACK: &str = "what was written can be read";
    let items = world.tables.items();
    let case = |payload: &Vec<u8>| {
        let transaction = transaction_v1::parse(payload).expect("it was decided as one");
        let user = items.users.get(&transaction.user_id);
        let device = items.devices.get(&transaction.device_id);
        let state = user.and_then(|item| item.state.as_ref());
        let risk = |bytes: &Vec<u8>| stored_risk::decode(bytes).expect(READ_BACK);
        Case {
            user: state.map(|(_, bytes)| stored_user::decode(bytes, &transaction.user_id).expect(READ_BACK).state),
            profile: user
                .and_then(|item| item.profile.as_ref())
                .map(|bytes| stored_profile::decode(bytes).expect(READ_BACK)),
            user_risk: user.and_then(|item| item.risk.as_ref()).map(risk),
            device: device
                .and_then(|item| item.state.as_ref())
                .map(|(_, bytes)| stored_device::decode(bytes).expect(READ_BACK)),
            device_risk: device.and_then(|item| item.risk.as_ref()).map(risk),
            transaction,
        }
    };
    world.payloads[..count].iter().map(case).collect()
}

fn features(world: &World, count: usize) -> Kernel {
    let cases = cases(world, count);
    Kernel::new(count, move || {
        for case in &cases {
            black_box(black_box(case).row());
        }
    })
}

fn score(world: &World, count: usize) -> Kernel {
    let rows: Vec<FeatureVector> = cases(world, count).iter().map(Case::row).collect();
    let scorer = ModelScorer::bundled().expect("the bundled model is sound");
    Kernel::new(count, move || {
        let scored = scorer.score(black_box(&rows)).expect("the model scores any row");
        assert_eq!(scored.len(), rows.len());
        black_box(scored);
    })
}

fn stored(kind: &str, world: &World, count: usize) -> Kernel {
    let users: Vec<(UserId, StoredUser)> = world.users(EVENTS).into_iter().take(count).collect();
    assert_eq!(users.len(), count, "the world has enough users");
    match kind {
        "item-read" => {
            let bytes: Vec<(UserId, Vec<u8>)> =
                users.into_iter().map(|(user, item)| (user, stored_user::encode(&item))).collect();
            let read = |(user, bytes): &(UserId, Vec<u8>)| stored_user::decode(black_box(bytes), user).is_ok();
            Kernel::new(count, move || assert!(bytes.iter().all(read)))
        }
        "item-write" => Kernel::new(count, move || {
            for (_, item) in &users {
                black_box(stored_user::encode(black_box(item)));
            }
        }),
        _ => {
            let decisions = decisions(world, count);
            Kernel::new(count, move || {
                for decision in &decisions {
                    black_box(decision_v1::encode(black_box(decision)));
                }
            })
        }
    }
}

/// Decisions that rings remember with their evidence.
fn decisions(world: &World, count: usize) -> Vec<Decision> {
    let rings = world.users(EVENTS).into_iter().flat_map(|(_, item)| item.ledger.entries);
    let remembered: Vec<Decision> = rings.filter_map(|entry| entry.decision).map(|decision| *decision).collect();
    assert!(!remembered.is_empty(), "some decisions are not proved published yet");
    remembered.iter().cycle().take(count).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::{DECISION_BYTES, ITEM_BYTES};

    #[test]
    fn the_floor_moves_about_as_many_bytes_as_go_out() {
        let world = World::new();
        let mean = |sizes: Vec<usize>| sizes.iter().sum::<usize>() / sizes.len();
        let decisions = decisions(&world, 100).iter().map(|decision| decision_v1::encode(decision).len()).collect();
        let items = world.users(EVENTS).iter().map(|(_, item)| stored_user::encode(item).len()).collect();
        for (floor, real) in [(DECISION_BYTES, mean(decisions)), (ITEM_BYTES, mean(items))] {
            assert!(floor.abs_diff(real) * 5 <= real, "the floor moves {floor} bytes, and {real} go out");
        }
    }

    #[test]
    fn every_kernel_does_its_work_twice_and_says_for_how_many() {
        for name in NAMES {
            let mut kernel = kernel(name).unwrap_or_else(|| panic!("{name} is no kernel"));
            kernel.run();
            kernel.run();
            let said = name.rsplit('-').next();
            assert_eq!(said, Some(kernel.transactions.to_string().as_str()), "{name}");
        }
        assert!(kernel("whole-7").is_none() && kernel("whole").is_none());
    }
}
