//! The bundled model in worlds that it was not made for, with the guard of its own manifest.

use centinela_domain::guard::Ruling;
use centinela_domain::{
    AmountMinor, Currency, DeviceId, DeviceType, Guard, Millis, Outcome, Policy, Transaction, TransactionId, UserId,
};
use centinela_inference::ModelScorer;
use centinela_scoring::ports::Scorer as _;
use centinela_traffic::FeatureFold;

const T: i64 = 1_790_000_000_000;

/// Time from one decision to the next, at 100 a second. How far apart the purchases were says nothing about that: a file of months is
/// replayed in minutes.
const DECISION_MS: i64 = 10;

/// What the model says of a stream: user, score, time of the decision.
struct World {
    scorer: ModelScorer,
    fold: FeatureFold,
    said: Vec<(u32, f32, Millis)>,
}

/// What became of a stream in one environment.
#[derive(Debug)]
struct Outcomes {
    /// The share that the model alone would block.
    alone: f64,
    /// The share that is blocked.
    blocked: f64,
    guarded: usize,
}

impl World {
    fn new() -> Self {
        Self { scorer: ModelScorer::bundled().unwrap(), fold: FeatureFold::default(), said: Vec::new() }
    }

    fn hear(&mut self, transaction: &Transaction) {
        let row = self.fold.transaction(transaction);
        let score = self.scorer.score(&[row.features]).unwrap()[0].score;
        let decided_at = Millis(T + self.said.len() as i64 * DECISION_MS);
        self.said.push((transaction.user_id.hash32(), score, decided_at));
    }

    fn decide(&self, policy: Policy) -> Outcomes {
        let mut guard = Guard::new(self.scorer.band().unwrap());
        let rulings = self.said.iter().map(|&(user, score, at)| guard.rule(&policy, user, score, at));
        let rulings: Vec<Ruling> = rulings.collect();
        let share = |count: usize| count as f64 / rulings.len() as f64;
        Outcomes {
            alone: share(self.said.iter().filter(|(_, score, _)| policy.decide(*score) == Outcome::Blocked).count()),
            blocked: share(rulings.iter().filter(|ruling| ruling.outcome == Outcome::Blocked).count()),
            guarded: rulings.iter().filter(|ruling| ruling.guarded).count(),
        }
    }

    /// The threshold above which about this share of the stream is.
    fn threshold_for(&self, share: f64) -> Policy {
        let mut scores: Vec<f32> = self.said.iter().map(|(_, score, _)| *score).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        Policy::new(scores[(scores.len() as f64 * share) as usize], None).unwrap()
    }

    /// With the model's own threshold, and with one above which stands what an earlier model blocked of such a stream.
    fn judge(&self, name: &str, before: f64) {
        let own = self.decide(self.scorer.policy());
        assert!(own.blocked < 0.0205, "{name}: {own:?}");
        let strict = self.decide(self.threshold_for(before));
        assert!(strict.alone > 0.8 * before, "{name}: {strict:?}");
        assert!(
            (0.002..0.0215).contains(&strict.blocked) && strict.guarded > self.said.len() / 2,
            "{name}: {strict:?}"
        );
    }
}

fn purchase(number: u64, at: i64, user: u64, device: u64, minor: u64) -> Transaction {
    let device_id = DeviceId::new(format!("d{device}")).unwrap();
    Transaction {
        id: TransactionId::new(format!("t{number}")).unwrap(),
        user_id: UserId::new(format!("u{user}")).unwrap(),
        occurred_at: Millis(at),
        amount: AmountMinor::new(minor).unwrap(),
        currency: Currency::DEFAULT,
        device_type: DeviceType::Mobile,
        device: device_id.hash32(),
        device_id,
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
        world.hear(&purchase(number, at, user, user, 500 + mixed(user) % 9_000 * (mixed(number ^ 77) % 200) / 100));
    }
    world.judge("25 purchases a minute", 0.83);
}

#[test]
fn customers_at_ever_new_devices_are_not_blocked_wholesale() {
    let mut world = World::new();
    for number in 0..30_000 {
        let (user, device) = (mixed(number) % 4_900, mixed(number ^ 0xd) % 10_000);
        let at = T + number as i64 * 9_000;
        world.hear(&purchase(number, at, user, device, 500 + mixed(number ^ 5) % 12_000));
    }
    world.judge("ever new devices", 0.17);
}
