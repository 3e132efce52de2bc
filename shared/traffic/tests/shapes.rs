//! The load shapes against their published form.

use std::collections::HashMap;
use std::sync::Arc;

use centinela_contracts::transaction_v1;
use centinela_traffic::{Generator, LabelledTransaction, RESENT_WITHIN, Shape, TrafficConfig};
use sha2::{Digest, Sha256};

const USERS: usize = 400;
const COUNT: usize = 200_000;

fn config(shape: Shape) -> TrafficConfig {
    TrafficConfig { users: USERS, ..TrafficConfig::live(1).shaped(shape) }
}

fn transactions(config: TrafficConfig, count: usize) -> Vec<LabelledTransaction> {
    let mut generator = Generator::new(config);
    std::iter::from_fn(|| generator.next_transaction()).take(count).collect()
}

/// How often each user bought honestly, the busiest first.
fn purchases(shape: Shape) -> Vec<f64> {
    let mut counts: HashMap<Arc<str>, u32> = HashMap::new();
    // Those who registered to defraud bought nothing honestly, so there is one count per customer.
    for transaction in transactions(config(shape), COUNT) {
        if !transaction.is_fraud() && !transaction.duplicate {
            *counts.entry(transaction.fields.user_id).or_default() += 1;
        }
    }
    let mut counts: Vec<f64> = counts.into_values().map(f64::from).collect();
    counts.sort_by(|a, b| b.total_cmp(a));
    counts
}

fn share_of_busiest(counts: &[f64]) -> f64 {
    counts[0] / counts.iter().sum::<f64>()
}

#[test]
fn uniform_traffic_has_no_busy_user() {
    let counts = purchases(Shape::Uniform);
    let mean = counts.iter().sum::<f64>() / USERS as f64;
    // Counts are nearly Poisson, so 400 of them stay within five deviations.
    let far = 5.0 * mean.sqrt();
    assert!(counts[0] < mean + far, "{} of {mean} on average", counts[0]);
    assert!(counts[USERS - 1] > mean - far, "{} of {mean} on average", counts[USERS - 1]);
}

#[test]
fn zipf_traffic_follows_the_published_form() {
    let Shape::Zipf { exponent } = Shape::ZIPF else { panic!("ZIPF is a Zipf shape") };
    let counts = purchases(Shape::ZIPF);
    let all: f64 = counts.iter().sum();
    let harmonic: f64 = (1..=USERS).map(|rank| (rank as f64).powf(-exponent)).sum();
    for rank in 1..=20 {
        let expected = all * (rank as f64).powf(-exponent) / harmonic;
        let found = counts[rank - 1];
        assert!((found - expected).abs() < 0.1 * expected, "rank {rank}: {found} purchases, expected {expected:.0}");
    }
}

#[test]
fn a_hot_user_has_the_share_that_was_asked_for() {
    for share in [0.1, 0.5] {
        let counts = purchases(Shape::Hot { share });
        let found = share_of_busiest(&counts);
        assert!((found - share).abs() < 0.01, "{found} instead of {share}");
        assert!(counts[1] < 0.02 * counts.iter().sum::<f64>(), "a second user is hot as well: {}", counts[1]);
    }
    assert!(share_of_busiest(&purchases(Shape::Hot { share: 1.0 })) > 0.999);
}

#[test]
fn every_shape_is_the_same_bytes_for_a_seed_and_keeps_the_frauds() {
    let found = [Shape::Uniform, Shape::ZIPF, Shape::HOT].map(|shape| {
        let mut hasher = Sha256::new();
        let mut frauds = 0;
        for transaction in transactions(config(shape), 50_000) {
            let payload = transaction.fields.to_json();
            assert!(transaction_v1::parse(&payload).is_ok(), "{shape:?}: a generated payload is not valid");
            frauds += u32::from(transaction.is_fraud());
            hasher.update(payload);
        }
        assert!((200..900).contains(&frauds), "{shape:?}: {frauds} frauds");
        hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    // These may change without harm to a model: it is trained on the natural shape.
    assert_eq!(found, ["59de301927c0559f", "89ca08dc3a62f2fd", "10e4bd6fc42f297e"]);
}

/// What is remembered of a user is a number of decisions, so a duplicate that comes later than that would be a new transaction.
#[test]
fn the_duplicates_of_the_busiest_user_come_while_the_original_is_remembered() {
    for shape in [Shape::Natural, Shape::Uniform, Shape::ZIPF, Shape::Hot { share: 1.0 }] {
        let mut bought: HashMap<Arc<str>, usize> = HashMap::new();
        let mut bought_before: HashMap<Arc<str>, usize> = HashMap::new();
        let mut since = Vec::new();
        // As many users as by default: the more of them, the faster the hot one buys.
        for transaction in transactions(TrafficConfig::live(1).shaped(shape), COUNT) {
            let bought = bought.entry(transaction.fields.user_id).or_default();
            if transaction.duplicate {
                let at =
                    bought_before.remove(&transaction.fields.transaction_id).expect("its original came before, once");
                since.push(*bought - at);
            } else {
                *bought += 1;
                bought_before.insert(transaction.fields.transaction_id, *bought);
            }
        }
        assert!((300..500).contains(&since.len()), "{shape:?}: {} duplicates", since.len());
        assert!(since.iter().all(|since| *since <= RESENT_WITHIN), "{shape:?}: {since:?}");
        assert!(since.contains(&0), "{shape:?}: {since:?}");
    }
}

#[test]
fn the_natural_shape_is_what_a_seed_gives_without_a_shape() {
    let natural = TrafficConfig::live(1).shaped(Shape::Natural);
    assert_eq!(natural, TrafficConfig::live(1));
}
