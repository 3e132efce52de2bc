//! Faults of the pinned tract version that this crate works around. When one of these tests fails after an upgrade, tract has
//! changed: read its release notes, then drop the workaround or mend it.

use centinela_inference::Model;
use serde::Deserialize;

use crate::forge::{
    JsonRows, SMALL_FEATURES, fixture, fixture_json, flat, manifest_for, stock_plan, stock_scores, stock_tract,
};

#[test]
fn tract_inverts_the_label_of_a_binary_ensemble() {
    #[derive(Deserialize)]
    struct Expected {
        rows: JsonRows,
        labels: Vec<i64>,
    }
    let onnx = fixture("small/model.onnx");
    let expected: Expected = fixture_json("small/expected.json");
    let answer = stock_tract(&onnx, "label", &flat(&expected.rows), SMALL_FEATURES.len());
    let answer = answer.cast_to::<i64>().unwrap();
    let labels = answer.try_as_plain_ram().unwrap().as_slice::<i64>().unwrap().to_vec();
    assert!(expected.labels.contains(&1) && expected.labels.contains(&0));
    let inverted: Vec<i64> = expected.labels.iter().map(|label| 1 - label).collect();
    assert_eq!(labels, inverted, "onnxruntime says {:?}", expected.labels);
}

#[test]
fn tracts_quadratic_evaluator_is_not_in_our_graph() {
    let onnx = fixture("small/model.onnx");
    let stock = stock_plan(&onnx, "probabilities", SMALL_FEATURES.len());
    let stock: Vec<String> = stock.nodes.iter().map(|node| node.op.name().into_owned()).collect();
    assert!(stock.iter().any(|name| name == "TreeEnsembleClassifier"), "{stock:?}");

    let model = Model::load(&onnx, &fixture("small/manifest.json"), &SMALL_FEATURES).unwrap();
    let ours = model.operators();
    assert_eq!(ours.iter().filter(|name| *name == "CompactTrees").count(), 1, "{ours:?}");
    assert!(!ours.iter().any(|name| name == "TreeEnsembleClassifier"), "{ours:?}");
}

#[test]
fn tract_reads_greater_or_equal_splits_as_leaves_and_we_refuse_them() {
    #[derive(Deserialize)]
    struct Expected {
        rows: JsonRows,
        probabilities: Vec<f32>,
    }
    let onnx = fixture("gte.onnx");
    let expected: Expected = fixture_json("gte.json");
    let silent = stock_scores(&onnx, &flat(&expected.rows), 2);
    let worst = silent.iter().zip(&expected.probabilities).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(worst > 0.1, "tract evaluates BRANCH_GTE right now: off by {worst}");

    let features = ["first", "second"];
    let error = Model::load(&onnx, &manifest_for(&onnx, &features), &features).unwrap_err();
    assert!(
        error.to_string().contains("tree 0 node 0: mode must be BRANCH_LEQ, BRANCH_LT or LEAF, got BRANCH_GTE"),
        "{error}"
    );
}
