//! Values that every test starts from.

use centinela_contracts::stored_user::StoredUser;
use centinela_domain::features::{Input, Known};
use centinela_domain::ledger::quantized;
use centinela_domain::profile::{Change, Fact, Minute};
use centinela_domain::risk::{Day, Verdict};
use centinela_domain::{
    AmountMinor, ContentDigest, Coordinates, Currency, Decision, DecisionId, DeviceId, DeviceType, Entry,
    FeatureVector, Ledger, Mark, Millis, MissingInputs, ModelStamp, Outcome, Profile, Reason, ReasonCode,
    RecordedFeatures, Risk, Transaction, TransactionId, UserId, UserState,
};

pub const NOW: Millis = Millis(1_795_357_920_123);
pub const TRANSACTION: &str = r#"{"version":1,"transaction_id":"0191f3a2-7c4e-7b1d-9a3c-5f2e8d1c0b7a","timestamp":1795357920123,"user_id":"7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001","amount":12.34,"currency":"EUR","device_type":"mobile","device_id":"device-1","ip":"198.51.100.7","user_agent":"Mozilla/5.0","merchant_id":"m-1"}"#;

pub fn user_id() -> UserId {
    UserId::new("7f9c24e8-3b12-4f0f-8c8a-0f6f4a1b0001").unwrap()
}

/// The n-th of a row of UUIDs.
pub fn transaction_id(n: u64) -> TransactionId {
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    TransactionId::new(format!("0191f3a2-7c4e-7b1d-{:04x}-{:012x}", spread >> 48, spread & 0xffff_ffff_ffff)).unwrap()
}

pub fn reasons() -> Vec<Reason> {
    let codes = [ReasonCode::AmountUnusual, ReasonCode::NewDevice, ReasonCode::UserVelocity, ReasonCode::TimeOfDay];
    codes
        .into_iter()
        .zip([1.731, 0.912, 0.4415, 0.0317])
        .map(|(code, contribution)| Reason { code, contribution })
        .collect()
}

pub fn transaction(n: u64, at: Millis) -> Transaction {
    let device_id = DeviceId::new(format!("device-{}", n % 9)).unwrap();
    Transaction {
        id: transaction_id(n),
        user_id: user_id(),
        occurred_at: at,
        amount: AmountMinor::new(1_999 + n * 731 % 24_000).unwrap(),
        currency: Currency::DEFAULT,
        device_type: DeviceType::ALL[n as usize % 5],
        device: device_id.hash32(),
        device_id,
        network: (n as u32 % 5).wrapping_mul(2_654_435_761),
        agent: (n as u32 % 3).wrapping_mul(2_246_822_519),
        merchant_id: None,
    }
}

pub fn decision(transaction: &Transaction, features: FeatureVector, at: Coordinates, state_version: u64) -> Decision {
    Decision {
        decision_id: transaction.decision_id(),
        transaction_id: transaction.id.clone(),
        user_id: transaction.user_id.clone(),
        amount: transaction.amount,
        currency: transaction.currency,
        outcome: Outcome::Approved,
        score: 0.037_412_5,
        reasons: reasons(),
        model: ModelStamp { version: "2026-11-22.1".into(), digest: [0x3a, 1, 2, 3, 4, 5, 6, 0x7f] },
        features: features.recorded(),
        state_version,
        occurred_at: transaction.occurred_at,
        ingested_at: at.timestamp,
        decided_at: Millis(at.timestamp.0 + 38),
        late: false,
        ahead: false,
        guarded: false,
        missing: MissingInputs::default(),
    }
}

/// A user with a year of purchases: every list is full, ten floors, sixteen decisions of which the last `full` have evidence.
pub fn ordinary_user(full: u64) -> StoredUser {
    let first = Millis(NOW.0 - 365 * 86_400_000);
    let mut state = UserState::new(first);
    let mut ledger = Ledger::default();
    let purchases = 120;
    for n in 0..purchases {
        let at = Millis(NOW.0 - (purchases - 1 - n) as i64 * 31 * 3_600_000 - (n as i64 * 7_919_333) % 9_000_000);
        let transaction = transaction(n, at);
        let (profile, risk) = (ordinary_profile(), ordinary_risk());
        let known = Known {
            user: Some(&state),
            profile: Input::Known(&profile),
            user_risk: Input::Known(&risk),
            device: Input::Unseen,
            device_risk: Input::Known(&risk),
        };
        let features = FeatureVector::compute(&transaction, at, &known);
        state.apply(&transaction, at, n % 50 == 7);
        let offset = 50_000_000 + (n * 1_860_000) + n * n * 977 % 600_000;
        let broker_time = Millis(at.0 + 212 + n as i64 % 97);
        let position = Coordinates { partition: (n * 7 % 10) as u32, offset, timestamp: broker_time };
        let decision = decision(&transaction, features, position, n + 1);
        if n < purchases - 16 {
            ledger.eviction_floors.insert(position.partition, Mark::from(position));
            continue;
        }
        let digest = decision.decision_id.digest();
        let shrunk = n < purchases - full;
        ledger.entries.push(Entry {
            digest,
            content: Some(ContentDigest(n.wrapping_mul(40_503) as u16)),
            coordinates: vec![position],
            outcome: decision.outcome,
            score: if shrunk { quantized(decision.score + n as f32 / 1000.0) } else { decision.score },
            decision: (!shrunk).then(|| Box::new(decision)),
        });
    }
    StoredUser { state, ledger }
}

/// Registered years ago, logs in from three devices, was mistaken about the password, and has changed everything once.
pub fn ordinary_profile() -> Profile {
    let ago = |days: i64| Minute::of(Millis(NOW.0 - days * 86_400_000 - days * 7_919_333));
    let changes = Change::ALL.into_iter().zip([40, 400, 800, 300, 90, 200, 210]);
    let logins = [(0, 0x9e37_79b9), (3, 0x85eb_ca6b), (30, 0xc2b2_ae35)];
    let facts = [Fact::Registered { at: ago(1_200) }, Fact::LoginFailed { at: ago(12) }];
    let changed = changes.map(|(what, days)| Fact::Changed { what, at: ago(days) });
    let logged_in = logins.map(|(days, device)| Fact::LoggedIn { at: ago(days), device });
    Profile::from_facts(facts.into_iter().chain(changed).chain(logged_in))
}

/// Labels of several days within the last month, and older ones.
pub fn ordinary_risk() -> Risk {
    let today = Day::of(NOW).0;
    let mut risk = Risk::default();
    for (ago, verdict) in [
        (400, Verdict::Chargeback),
        (90, Verdict::ConfirmedGood),
        (20, Verdict::ConfirmedGood),
        (9, Verdict::ConfirmedFraud),
        (9, Verdict::Chargeback),
        (0, Verdict::ConfirmedGood),
    ] {
        risk.add(Day(today - ago), verdict);
    }
    risk
}

/// A decision with every part in use, of features version 1: its golden file stays as it is when features are added.
pub fn rich_decision() -> Decision {
    let mut features = [f32::NAN; 38];
    for (index, feature) in features.iter_mut().enumerate().filter(|(index, _)| index % 7 != 3) {
        *feature = [0.0, 1.0, 12.34, 0.1, 1e-7, 16_777_216.0, -0.5][index % 7] * (index as f32 + 1.0);
    }
    let transaction_id = TransactionId::new("tx \"quoted\" é").unwrap();
    let user_id = user_id();
    Decision {
        decision_id: DecisionId::derive(&user_id, &transaction_id),
        transaction_id,
        user_id,
        amount: AmountMinor::new(1_234).unwrap(),
        currency: Currency::new("EUR").unwrap(),
        outcome: Outcome::Blocked,
        score: 0.918_273_6,
        reasons: reasons(),
        model: ModelStamp { version: "1".into(), digest: [0, 1, 2, 3, 4, 5, 6, 0xff] },
        features: RecordedFeatures { version: 1, values: Box::new(features) },
        state_version: 42,
        occurred_at: Millis(NOW.0 - 5_000),
        ingested_at: NOW,
        decided_at: Millis(NOW.0 + 41),
        late: true,
        ahead: false,
        guarded: false,
        missing: MissingInputs { device: true, ..MissingInputs::default() },
    }
}
