//! The bundled model in worlds that it was not made for, with the guard of its own manifest.

use centinela_domain::guard::Ruling;
use centinela_domain::{
    AmountMinor, Currency, DeviceId, DeviceType, Guard, Millis, Outcome, Transaction, TransactionId, UserId,
};
use centinela_inference::ModelScorer;
use centinela_scoring::ports::Scorer as _;
use centinela_traffic::FeatureFold;

const T: i64 = 1_790_000_000_000;

/// One environment: the model alone, and the model with its guard.
struct World {
    scorer: ModelScorer,
    fold: FeatureFold,
    guard: Guard,
    decided: usize,
    model_blocks: usize,
    blocked: usize,
    guarded: usize,
}

impl World {
    fn new() -> Self {
        let scorer = ModelScorer::bundled().unwrap();
        let guard = Guard::new(scorer.band().unwrap());
        Self { scorer, fold: FeatureFold::default(), guard, decided: 0, model_blocks: 0, blocked: 0, guarded: 0 }
    }

    fn decide(&mut self, transaction: &Transaction) {
        let row = self.fold.transaction(transaction);
        let score = self.scorer.score(&[row.features]).unwrap()[0].score;
        let policy = self.scorer.policy();
        let Ruling { outcome, guarded } =
            self.guard.rule(&policy, transaction.user_id.hash32(), score, transaction.occurred_at);
        self.decided += 1;
        self.model_blocks += usize::from(policy.decide(score) == Outcome::Blocked);
        self.blocked += usize::from(outcome == Outcome::Blocked);
        self.guarded += usize::from(guarded);
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / self.decided as f64
    }
}

fn purchase(number: u64, at: i64, user: u64, device: u64, minor: u64) -> Transaction {
    Transaction {
        id: TransactionId::new(format!("t{number}")).unwrap(),
        user_id: UserId::new(format!("u{user}")).unwrap(),
        occurred_at: Millis(at),
        amount: AmountMinor::new(minor).unwrap(),
        currency: Currency::DEFAULT,
        device_type: DeviceType::Mobile,
        device_id: DeviceId::new(format!("d{device}")).unwrap(),
        network: user as u32,
        agent: 7,
        merchant_id: None,
    }
}

/// A number that looks drawn.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[test]
fn customers_who_buy_25_times_a_minute_are_not_blocked_wholesale() {
    let mut world = World::new();
    for number in 0..150_000 {
        let user = mixed(number) % 5_000;
        // 5,000 customers × 25 a minute.
        let at = T + number as i64 * 60_000 / 125_000;
        world.decide(&purchase(number, at, user, user, 500 + mixed(user) % 9_000 * (mixed(number ^ 77) % 200) / 100));
    }
    let (model, guarded) = (world.share(world.model_blocks), world.share(world.blocked));
    println!("25 a minute: the model would block {model:.4}, {guarded:.4} are blocked, {} are guarded", world.guarded);
    assert!(guarded < 0.0205, "{guarded} of them were blocked, {model} without the guard");
}

#[test]
fn customers_at_ever_new_devices_are_not_blocked_wholesale() {
    let mut world = World::new();
    for number in 0..30_000 {
        let (user, device) = (mixed(number) % 4_900, mixed(number ^ 0xd) % 10_000);
        let at = T + number as i64 * 9_000;
        world.decide(&purchase(number, at, user, device, 500 + mixed(number ^ 5) % 12_000));
    }
    let (model, guarded) = (world.share(world.model_blocks), world.share(world.blocked));
    println!(
        "ever new devices: the model would block {model:.4}, {guarded:.4} are blocked, {} are guarded",
        world.guarded
    );
    assert!(guarded < 0.0205, "{guarded} of them were blocked, {model} without the guard");
}
