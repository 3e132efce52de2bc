//! The served score is the trainer's score.

use std::path::PathBuf;

use centinela_domain::FeatureVector;
use centinela_inference::Model;
use serde::Deserialize;

use crate::forge::{JsonRows, SMALL_FEATURES, fixture, fixture_json, flat};

const TOLERANCE: f32 = 1e-6;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parity {
    sha256: String,
    features: Vec<String>,
    rows: Vec<ParityRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParityRow {
    input: Vec<Option<f32>>,
    lightgbm: f64,
    onnxruntime: f64,
}

fn check(model: &Model, parity_json: &[u8]) {
    let parity: Parity = serde_json::from_slice(parity_json).unwrap();
    assert_eq!(parity.sha256, model.manifest().sha256, "parity.json belongs to another model: export again");
    assert_eq!(parity.features, model.manifest().features);
    let inputs: JsonRows = parity.rows.iter().map(|row| row.input.clone()).collect();
    assert!(inputs.len() >= 100, "only {} rows", inputs.len());
    assert!(inputs.iter().flatten().any(Option::is_none), "no missing value among the rows");

    let scores = model.score(&flat(&inputs), inputs.len()).unwrap();
    for (index, (row, score)) in parity.rows.iter().zip(scores).enumerate() {
        for (runtime, expected) in [("LightGBM", row.lightgbm as f32), ("onnxruntime", row.onnxruntime as f32)] {
            assert!((score - expected).abs() <= TOLERANCE, "row {index}: {score}, {runtime} says {expected}");
        }
    }
}

#[test]
fn the_bundled_model_scores_like_lightgbm_and_onnxruntime() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../model/artifacts/current/parity.json");
    check(&Model::bundled(&FeatureVector::NAMES).unwrap(), &std::fs::read(path).unwrap());
}

#[test]
fn the_small_model_scores_like_lightgbm_and_onnxruntime() {
    let model = Model::load(&fixture("small/model.onnx"), &fixture("small/manifest.json"), &SMALL_FEATURES).unwrap();
    check(&model, &fixture("small/parity.json"));
}

#[test]
fn a_strict_comparison_excludes_the_threshold_itself() {
    #[derive(Deserialize)]
    struct Expected {
        rows: JsonRows,
        probabilities: Vec<f32>,
    }
    let onnx = fixture("less_than.onnx");
    let features = ["first", "second"];
    let model = Model::load(&onnx, &crate::forge::manifest_for(&onnx, &features), &features).unwrap();
    let expected: Expected = fixture_json("less_than.json");
    let scores = model.score(&flat(&expected.rows), expected.rows.len()).unwrap();
    for ((row, score), expected) in expected.rows.iter().zip(scores).zip(expected.probabilities) {
        assert!((score - expected).abs() <= TOLERANCE, "{row:?}: {score}, onnxruntime says {expected}");
    }
}
