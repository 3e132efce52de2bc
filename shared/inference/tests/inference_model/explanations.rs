//! Explanations add up to the served score, and name what the trainer's counts say.

use centinela_domain::FeatureVector;
use centinela_inference::{Contributions, Model};
use serde::Deserialize;

use crate::forge::{JsonRows, SMALL_FEATURES, fixture, fixture_json, flat};

#[derive(Deserialize)]
struct Expected {
    rows: JsonRows,
    bias: f32,
    contributions: Vec<Vec<f32>>,
}

fn small() -> Model {
    Model::load(&fixture("small/model.onnx"), &fixture("small/manifest.json"), &SMALL_FEATURES).unwrap()
}

fn assert_adds_up(explained: &Contributions, score: f32) {
    let sum = explained.bias + explained.per_feature.iter().sum::<f32>();
    assert!((sum - explained.logit).abs() < 1e-4, "{sum} instead of {}", explained.logit);
    let served = f64::from(score);
    let logit = (served / (1.0 - served)).ln();
    // Near 0 and 1 one step of a float probability is a large step of its log-odds.
    let step = f64::from(f32::EPSILON) / (served * (1.0 - served));
    assert!((f64::from(sum) - logit).abs() < 1e-4 + step, "{sum} instead of {logit} for score {served}");
}

#[test]
fn contributions_and_bias_add_up_to_the_log_odds_of_the_served_score() {
    let model = Model::bundled(&FeatureVector::NAMES).unwrap();
    let mut dice = crate::forge::Dice(5);
    let rows: Vec<f32> = (0..400 * model.n_features())
        .map(|_| if dice.below(10) == 0 { f32::NAN } else { dice.below(1000) as f32 / 100.0 })
        .collect();
    let scores = model.score(&rows, 400).unwrap();
    for (row, score) in rows.chunks_exact(model.n_features()).zip(scores) {
        assert_adds_up(&model.explain(row).unwrap(), score);
    }
}

#[test]
fn contributions_follow_the_training_counts_in_the_file() {
    let model = small();
    let expected: Expected = fixture_json("small/expected.json");
    for (row, contributions) in flat(&expected.rows).chunks_exact(4).zip(&expected.contributions) {
        let explained = model.explain(row).unwrap();
        assert!((explained.bias - expected.bias).abs() < 1e-5);
        for (feature, (actual, expected)) in explained.per_feature.iter().zip(contributions).enumerate() {
            assert!((actual - expected).abs() < 1e-5, "{row:?} feature {feature}: {actual} instead of {expected}");
        }
    }
}

#[test]
fn reasons_are_the_groups_that_raised_the_score_and_the_largest_comes_first() {
    let model = small();
    assert_eq!(model.reason_codes(), ["AMOUNT", "BEHAVIOUR", "DEVICE"]);
    let expected: Expected = fixture_json("small/expected.json");
    let mut seen = [0; 4];
    for row in flat(&expected.rows).chunks_exact(4) {
        let parts = model.explain(row).unwrap().per_feature;
        let mut groups = [(0, parts[0]), (1, parts[1] + parts[3]), (2, parts[2])];
        groups.sort_by(|a, b| b.1.total_cmp(&a.1));
        let raised: Vec<_> = groups.into_iter().filter(|(_, sum)| *sum > 1e-6).collect();

        let reasons = model.top_reasons(row, 2).unwrap();
        seen[raised.len()] += 1;
        assert_eq!(reasons.len(), raised.len().min(2), "{row:?}: {reasons:?} instead of {raised:?}");
        for (reason, (code, sum)) in reasons.iter().zip(raised) {
            assert_eq!(reason.code, code, "{row:?}");
            assert!((reason.contribution - sum).abs() < 1e-5, "{row:?}: {reason:?} instead of {sum}");
        }
    }
    assert!(seen[1..].iter().all(|rows| *rows > 0), "rows with 1, 2 and 3 raising groups are needed, got {seen:?}");
}

#[test]
fn equal_reasons_stay_in_the_order_of_their_codes() {
    use crate::forge::{ForgedNode, ForgedTree, forge, manifest_for};
    let stump = |feature| {
        ForgedTree(vec![
            ForgedNode::Split { feature, mode: "BRANCH_LEQ", threshold: 0.0, missing_is_true: false, children: [1, 2] },
            ForgedNode::Leaf { weight: -1.0 },
            ForgedNode::Leaf { weight: 1.0 },
        ])
    };
    let onnx = forge(&[stump(2), stump(0), stump(1)], 3);
    let features = ["f0", "f1", "f2"];
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest_for(&onnx, &features)).unwrap();
    manifest["reason_groups"] = serde_json::json!({"f0": "Z", "f1": "A", "f2": "M"});
    let model = Model::load(&onnx, &serde_json::to_vec(&manifest).unwrap(), &features).unwrap();
    let reasons = model.top_reasons(&[1.0, 1.0, 1.0], 2).unwrap();
    let codes: Vec<_> = reasons.iter().map(|reason| model.reason_codes()[reason.code].as_str()).collect();
    assert_eq!(codes, ["Z", "A"]);
}
