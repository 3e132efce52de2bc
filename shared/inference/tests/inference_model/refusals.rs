//! A model that is not certainly the right one does not start; one that is broken is an error, never a panic or a hang.

use centinela_inference::{Model, ModelError};
use prost::Message;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, tensor_shape_proto::dimension, type_proto};

use crate::forge::{Dice, ForgedNode, ForgedTree, SMALL_FEATURES, fixture, forge, manifest_for};

fn load_small(manifest: &serde_json::Value, features: &[&str]) -> Result<Model, ModelError> {
    Model::load(&fixture("small/model.onnx"), &serde_json::to_vec(manifest).unwrap(), features)
}

fn small_manifest() -> serde_json::Value {
    serde_json::from_slice(&fixture("small/manifest.json")).unwrap()
}

/// The error with its causes.
fn chain(error: &ModelError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn another_file_than_the_manifests_is_refused_with_both_digests() {
    let mut onnx = fixture("small/model.onnx");
    let last = onnx.len() - 1;
    onnx[last] ^= 1;
    let error = Model::load(&onnx, &fixture("small/manifest.json"), &SMALL_FEATURES).unwrap_err().to_string();
    let named = small_manifest()["sha256"].as_str().unwrap().to_owned();
    assert!(error.contains(&named), "{error}");
    let digests = error.split(|letter: char| !letter.is_ascii_hexdigit()).filter(|word| word.len() == 64).count();
    assert_eq!(digests, 2, "{error}");
}

#[test]
fn other_features_or_another_order_are_refused_with_both_names() {
    let swapped = ["amount", "device_risk", "velocity", "hour"];
    let error = load_small(&small_manifest(), &swapped).unwrap_err().to_string();
    assert!(error.contains("feature 1") && error.contains("`device_risk`") && error.contains("`velocity`"), "{error}");

    for (features, count) in
        [(&SMALL_FEATURES[..3], "3"), (&["amount", "velocity", "device_risk", "hour", "more"][..], "5")]
    {
        let error = load_small(&small_manifest(), features).unwrap_err().to_string();
        assert!(error.contains(&format!("computes {count} features")) && error.contains("names 4"), "{error}");
    }
}

#[test]
fn a_manifest_cannot_rename_what_the_model_file_was_trained_on() {
    let features = ["amount", "device_risk", "velocity", "hour"];
    let onnx = fixture("small/model.onnx");
    let error = Model::load(&onnx, &manifest_for(&onnx, &features), &features).unwrap_err().to_string();
    assert!(error.contains("the model file names `velocity`"), "{error}");
}

#[test]
fn every_unusable_manifest_is_refused_by_name() {
    let cases: [(&str, serde_json::Value, &str); 17] = [
        ("/schema_version", 1.into(), "schema_version must be 2, got 1"),
        ("/model_version", "".into(), "model_version must be 1 to 16 bytes"),
        ("/model_version", "a version of 17 b".into(), "model_version must be 1 to 16 bytes, got a version of 17 b"),
        ("/thresholds/block_above", 1.5.into(), "block_above 1.5"),
        ("/thresholds/block_above", serde_json::Value::Null, "cannot be read"),
        ("/thresholds/review_above", 0.9.into(), "review_above Some(0.9) and block_above 0.8"),
        ("/thresholds/block_abov", 0.5.into(), "unknown field `block_abov`"),
        ("/calibration/ece", (-0.1).into(), "calibration.ece must be 0 to 1, got -0.1"),
        ("/calibration/base_rate", 2.into(), "calibration.base_rate must be 0 to 1, got 2"),
        ("/training_data_sha256", "abc".into(), "training_data_sha256 must be 64 hexadecimal digits, got abc"),
        ("/reason_groups/unheard_of", "X".into(), "`unheard_of` is missing or unknown"),
        ("/reason_groups", serde_json::json!({"amount": "X"}), "`velocity` is missing or unknown"),
        ("/guard/fallback", "pray".into(), "guard.fallback must be most_suspicious, review or approve, got pray"),
        ("/guard/block_rate_max", 0.into(), "a block rate from 0.0001 to 1"),
        ("/guard/minimum_users", 10.into(), "lets at least one of the minimum be blocked"),
        ("/guard", serde_json::Value::Null, "cannot be read"),
        ("/extra", 1.into(), "unknown field `extra`"),
    ];
    for (place, value, expected) in cases {
        let mut manifest = small_manifest();
        let (parent, key) = place.rsplit_once('/').unwrap();
        manifest.pointer_mut(parent).unwrap()[key] = value;
        let error = chain(&load_small(&manifest, &SMALL_FEATURES).unwrap_err());
        assert!(error.contains(expected), "{place}: {error}");
    }
    load_small(&small_manifest(), &SMALL_FEATURES).unwrap();
}

type Break = fn(&mut ModelProto);

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn trees(model: &mut ModelProto) -> &mut NodeProto {
    &mut graph(model).node[0]
}

fn attribute<'a>(model: &'a mut ModelProto, name: &str) -> &'a mut AttributeProto {
    trees(model).attribute.iter_mut().find(|attribute| attribute.name == name).unwrap()
}

fn input(model: &mut ModelProto) -> &mut type_proto::Tensor {
    let Some(type_proto::Value::TensorType(tensor)) = graph(model).input[0].r#type.as_mut().unwrap().value.as_mut()
    else {
        panic!("the input is a tensor")
    };
    tensor
}

fn set_dim(model: &mut ModelProto, place: usize, value: i64) {
    input(model).shape.as_mut().unwrap().dim[place].value = Some(dimension::Value::DimValue(value));
}

/// Node 0 of tree 0 of the small model is a split; its children are nodes 1 and 2.
const BROKEN: [(Break, &str); 39] = [
    (|m| m.graph = None, "must be a model with a graph, got none"),
    (|m| m.opset_import.clear(), "imported once with version 1 to 4, got []"),
    (|m| m.opset_import[1].version = 5, "imported once with version 1 to 4, got [5]"),
    (|m| graph(m).node.clear(), "one TreeEnsembleClassifier, got []"),
    (|m| graph(m).node.push(NodeProto::default()), "one TreeEnsembleClassifier, got"),
    (|m| trees(m).op_type = "TreeEnsembleRegressor".into(), "got TreeEnsembleRegressor of domain `ai.onnx.ml`"),
    (|m| trees(m).domain = "elsewhere".into(), "got TreeEnsembleClassifier of domain `elsewhere`"),
    (|m| trees(m).output.truncate(1), "label and probabilities"),
    (|m| trees(m).output.swap(0, 1), "label and probabilities"),
    (|m| graph(m).output[0].name = "elsewhere".into(), "label and probabilities"),
    (|m| trees(m).input[0] = "elsewhere".into(), "what the ensemble reads, got `input` and `elsewhere`"),
    (|m| graph(m).input.clear(), "one tensor, got 0 graph inputs"),
    (|m| graph(m).input[0].r#type = None, "float [rows, features]"),
    (|m| input(m).elem_type = 11, "float [rows, features]"),
    (|m| input(m).shape = None, "float [rows, features]"),
    (|m| set_dim(m, 0, 1), "float [rows, features] with rows left open"),
    (|m| set_dim(m, 1, 5), "must have 4 features, got 5"),
    (|m| set_dim(m, 1, -1), "must have 4 features, got -1"),
    (|m| m.metadata_props.clear(), "the list of feature names, got none"),
    (|m| m.metadata_props[0].value = "amount".into(), "feature names in the model's metadata cannot be read"),
    (|m| attribute(m, "post_transform").s = b"SOFTMAX".to_vec(), "post_transform must be LOGISTIC, got SOFTMAX"),
    (|m| attribute(m, "post_transform").name = "base_values".into(), "attribute base_values must be known"),
    (|m| attribute(m, "class_ids").ints[0] = 1, "class_ids must be 0 for every weight, got 1"),
    (|m| attribute(m, "classlabels_int64s").ints.push(2), "classlabels_int64s must be [0, 1], got [0, 1, 2]"),
    (|m| attribute(m, "nodes_values").floats.truncate(3), "attribute nodes_values must have"),
    (|m| trees(m).attribute.retain(|a| a.name != "nodes_hitrates"), "attribute nodes_hitrates must be given, got none"),
    (|m| attribute(m, "nodes_modes").strings[0] = b"BRANCH_GTE".to_vec(), "tree 0 node 0: mode must be"),
    (|m| attribute(m, "nodes_values").floats[0] = f32::NAN, "tree 0 node 0: threshold NaN"),
    (|m| attribute(m, "nodes_featureids").ints[0] = 4, "tree 0 node 0: reads feature 4, the model has 4"),
    (|m| attribute(m, "nodes_featureids").ints[0] = -1, "tree 0 node 0: reads feature -1"),
    (|m| attribute(m, "nodes_truenodeids").ints[0] = 0, "tree 0 node 0: "),
    (|m| attribute(m, "nodes_truenodeids").ints[0] = 2, "tree 0 node 0: "),
    (
        |m| attribute(m, "nodes_truenodeids").ints[0] = 9_000_000_000,
        "tree 0 node 0: child 9000000000 is not in its tree",
    ),
    (|m| attribute(m, "nodes_nodeids").ints[1] = 0, "node 1 must be the next node of its tree"),
    (|m| attribute(m, "nodes_treeids").ints[0] = 1, "node 0 must be the next node"),
    (|m| attribute(m, "class_nodeids").ints[0] = 99, "class_nodeids must be a node of the tree, got tree 0 node 99"),
    (|m| attribute(m, "class_nodeids").ints[0] = 0, "tree 0 node 0: must have one weight"),
    (|m| attribute(m, "class_weights").floats[0] = f32::NAN, "weight must be within 1000000 of 0, got NaN"),
    (|m| attribute(m, "nodes_hitrates").floats.fill(1.0), "hit counts 1 and 1 must add up to 1"),
];

fn refusal(onnx: &[u8]) -> String {
    chain(&Model::load(onnx, &manifest_for(onnx, &SMALL_FEATURES), &SMALL_FEATURES).unwrap_err())
}

#[test]
fn every_malformed_model_is_refused_by_name() {
    let sound = ModelProto::decode(&fixture("small/model.onnx")[..]).unwrap();
    for (index, (damage, expected)) in BROKEN.into_iter().enumerate() {
        let mut model = sound.clone();
        damage(&mut model);
        let error = refusal(&model.encode_to_vec());
        assert!(error.contains(expected), "case {index}: expected `{expected}`, got `{error}`");
    }
}

/// `less_than.onnx` with other children and counts: node 0 splits into 1 and leaf 2, node 1 into leaves 3 and 4.
fn reshaped(children_of_1: [i64; 2], hits: [f32; 5]) -> String {
    let mut model = ModelProto::decode(&fixture("less_than.onnx")[..]).unwrap();
    attribute(&mut model, "nodes_truenodeids").ints[1] = children_of_1[0];
    attribute(&mut model, "nodes_falsenodeids").ints[1] = children_of_1[1];
    attribute(&mut model, "nodes_hitrates").floats = hits.to_vec();
    let onnx = model.encode_to_vec();
    let features = ["first", "second"];
    chain(&Model::load(&onnx, &manifest_for(&onnx, &features), &features).unwrap_err())
}

#[test]
fn cycles_shared_and_loose_branches_and_endless_paths_are_refused() {
    // Counts this large hide one row, so that the walk itself must find the fault.
    let error = reshaped([0, 4], [1e9, 1e9, 1.0, 2.0, 1.0]);
    assert!(error.contains("tree 0 node 0: is reached twice"), "{error}");
    let error = reshaped([2, 4], [3.0, 2.0, 1.0, 1.0, 1.0]);
    assert!(error.contains("tree 0 node 2: is reached twice"), "{error}");

    let leaf = || ForgedNode::Leaf { weight: 0.5 };
    let forged = |nodes| {
        let onnx = forge(&[ForgedTree(nodes)], 1);
        chain(&Model::load(&onnx, &manifest_for(&onnx, &["f0"]), &["f0"]).unwrap_err())
    };
    let error = forged(vec![leaf(), leaf()]);
    assert!(error.contains("tree 0 node 1: cannot be reached"), "{error}");

    let mut path = Vec::new();
    for split in 0..65 {
        let children = [2 * split + 1, 2 * split + 2];
        path.push(ForgedNode::Split {
            feature: 0,
            mode: "BRANCH_LEQ",
            threshold: 0.0,
            missing_is_true: false,
            children,
        });
        path.push(leaf());
    }
    path.push(leaf());
    let error = forged(path);
    assert!(error.contains("lies deeper than 64 splits"), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_refused_or_has_lost_nothing_that_is_served() {
    let onnx = fixture("small/model.onnx");
    let row = [0.0, 1.0, f32::NAN, -1.0];
    let load = |bytes: &[u8]| Model::load(bytes, &manifest_for(bytes, &SMALL_FEATURES), &SMALL_FEATURES);
    let whole = load(&onnx).unwrap().score(&row, 1).unwrap();
    let mut started = 0;
    for length in 0..onnx.len() {
        if let Ok(model) = load(&onnx[..length]) {
            assert_eq!(model.score(&row, 1).unwrap(), whole, "cut at {length}");
            started += 1;
        }
    }
    // Cuts between the metadata entries that follow the feature names.
    assert!(started <= 2, "{started} cuts started");
}

#[test]
fn a_damaged_file_never_panics_and_never_scores_outside_of_0_to_1() {
    let onnx = fixture("small/model.onnx");
    let mut dice = Dice(3);
    let mut started = 0;
    for _ in 0..4000 {
        let mut damaged = onnx.clone();
        for _ in 0..=dice.below(3) {
            let place = dice.below(damaged.len());
            damaged[place] = dice.next() as u8;
        }
        if let Ok(model) = Model::load(&damaged, &manifest_for(&damaged, &SMALL_FEATURES), &SMALL_FEATURES) {
            let scores = model.score(&[0.0, 1.0, f32::NAN, -1.0], 1).unwrap();
            assert!((0.0..=1.0).contains(&scores[0]));
            started += 1;
        }
    }
    assert!(started > 0, "some damage only changes numbers");
}
