//! The engine's port: what it hands on is the model's answer for the same row.

use centinela_domain::{FEATURES, FeatureVector, Outcome};
use centinela_inference::{Model, ModelScorer};
use centinela_scoring::ports::Scorer;

fn bundled_files() -> (Vec<u8>, Vec<u8>) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/artifacts/current");
    let read = |name| std::fs::read(directory.join(name)).unwrap();
    (read("model.onnx"), read("manifest.json"))
}

#[test]
fn every_row_gets_its_own_score_and_contributions() {
    let scorer = ModelScorer::bundled().unwrap();
    let model = Model::bundled(&FeatureVector::NAMES).unwrap();
    // More than go down a tree together, and some left over.
    let values = [0.0, 3.0, f32::NAN, 40.0, -1.0, 0.5, 7.0, 100.0, 1e6, 0.01, 2.0];
    let rows = values.map(|value| FeatureVector([value; FEATURES]));
    let scored = scorer.score(&rows).unwrap();
    assert_eq!(scored.len(), rows.len());
    for (row, scored) in rows.iter().zip(&scored) {
        assert_eq!(model.score(&row.0, 1).unwrap(), [scored.score]);
        assert_eq!(model.explain(&row.0).unwrap().per_feature, scored.contributions);
    }
    assert!(scorer.score(&[]).unwrap().is_empty());
}

#[test]
fn stamp_and_thresholds_are_the_manifests() {
    let scorer = ModelScorer::bundled().unwrap();
    let manifest = scorer.model().manifest();
    assert_eq!(scorer.stamp().version, manifest.model_version);
    let digest: String = scorer.stamp().digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, manifest.sha256[..16]);
    assert_eq!(scorer.policy().decide(manifest.thresholds.block_above.next_up()), Outcome::Blocked);
}

#[test]
fn a_model_that_groups_its_reasons_differently_is_refused() {
    let (onnx, manifest) = bundled_files();
    ModelScorer::load(&onnx, &manifest).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["reason_groups"]["amount"] = "TIME_OF_DAY".into();
    let error = ModelScorer::load(&onnx, &serde_json::to_vec(&manifest).unwrap()).unwrap_err().to_string();
    assert!(error.contains("`amount`") && error.contains("AMOUNT_UNUSUAL") && error.contains("TIME_OF_DAY"), "{error}");
}
