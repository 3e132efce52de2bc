//! Models to test with: the committed fixtures, and ensembles forged from protobuf types.

use std::path::PathBuf;

use prost::Message;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use tract_onnx::prelude::*;

pub const SMALL_FEATURES: [&str; 4] = ["amount", "velocity", "device_risk", "hour"];

/// The bytes of a committed fixture.
pub fn fixture(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A committed fixture, parsed.
pub fn fixture_json<T: for<'a> Deserialize<'a>>(path: &str) -> T {
    serde_json::from_slice(&fixture(path)).unwrap()
}

/// Rows as JSON has them: a missing value is null.
pub type JsonRows = Vec<Vec<Option<f32>>>;

/// Rows one after the other.
pub fn flat(rows: &JsonRows) -> Vec<f32> {
    rows.iter().flatten().map(|value| value.unwrap_or(f32::NAN)).collect()
}

/// A manifest that fits these bytes and features.
pub fn manifest_for(onnx: &[u8], features: &[&str]) -> Vec<u8> {
    let sha256: String = Sha256::digest(onnx).iter().map(|byte| format!("{byte:02x}")).collect();
    let reason_groups: serde_json::Map<_, _> =
        features.iter().map(|feature| ((*feature).to_owned(), "ONLY".into())).collect();
    let manifest = serde_json::json!({
        "schema_version": 2,
        "model_version": "forged",
        "sha256": sha256,
        "features": features,
        "thresholds": {"block_above": 0.8, "review_above": null},
        "guard": {"window_seconds": 600, "minimum_users": 500, "block_rate_max": 0.02, "fallback": "most_suspicious"},
        "calibration": {"method": "none", "ece": 0.0, "mean_score": 0.1, "base_rate": 0.1},
        "training_data_sha256": "0".repeat(64),
        "generator": "test",
        "trainer": "test",
        "metrics": {},
        "reason_groups": reason_groups,
    });
    serde_json::to_vec(&manifest).unwrap()
}

/// What tract answers for one output, with nothing of ours in between.
pub fn stock_tract(onnx: &[u8], output: &str, rows: &[f32], n_features: usize) -> Tensor {
    let plan = stock_plan(onnx, output, n_features).into_runnable().unwrap();
    let input = Tensor::from_shape(&[rows.len() / n_features, n_features], rows).unwrap();
    plan.run(tvec!(input.into_tvalue())).unwrap().remove(0).into_tensor()
}

/// tract's own optimized graph for one output.
pub fn stock_plan(onnx: &[u8], output: &str, n_features: usize) -> TypedModel {
    let mut model = tract_onnx::onnx().model_for_read(&mut &onnx[..]).unwrap();
    let rows = model.symbols.sym("rows");
    model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [rows.into(), n_features.to_dim()])).unwrap();
    model.select_outputs_by_name([output]).unwrap();
    model.into_optimized().unwrap()
}

/// Column 1 of tract's own probabilities.
pub fn stock_scores(onnx: &[u8], rows: &[f32], n_features: usize) -> Vec<f32> {
    let answer = stock_tract(onnx, "probabilities", rows, n_features);
    answer.try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().chunks_exact(2).map(|pair| pair[1]).collect()
}

/// A small random generator (SplitMix64): the same numbers everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A node of a forged tree.
#[derive(Clone, Debug)]
pub enum ForgedNode {
    Split { feature: usize, mode: &'static str, threshold: f32, missing_is_true: bool, children: [usize; 2] },
    Leaf { weight: f32 },
}

/// A forged tree; node 0 is the root.
#[derive(Clone, Debug)]
pub struct ForgedTree(pub Vec<ForgedNode>);

/// Values that thresholds and inputs are drawn from, so that ties are common.
const GRID: [f32; 12] = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 1e-45, -1e-45, f32::MAX, f32::MIN, 3.25, 1.0000001];
const UNUSUAL: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

impl ForgedTree {
    /// A random tree of at most `depth` splits a path, its nodes numbered at random.
    pub fn random(dice: &mut Dice, depth: usize, n_features: usize) -> Self {
        let mut nodes = vec![ForgedNode::Leaf { weight: 0.0 }];
        grow(dice, &mut nodes, 0, depth, n_features);
        let mut place: Vec<usize> = (0..nodes.len()).collect();
        for index in (2..place.len()).rev() {
            place.swap(index, 1 + dice.below(index));
        }
        let mut shuffled = nodes.clone();
        for (index, mut node) in nodes.into_iter().enumerate() {
            if let ForgedNode::Split { children, .. } = &mut node {
                *children = children.map(|child| place[child]);
            }
            shuffled[place[index]] = node;
        }
        Self(shuffled)
    }

    /// The weight of the leaf that a row reaches: the definition in the ONNX standard, step by step.
    pub fn walk(&self, row: &[f32]) -> f32 {
        let mut index = 0;
        loop {
            match self.0[index] {
                ForgedNode::Leaf { weight } => return weight,
                ForgedNode::Split { feature, mode, threshold, missing_is_true, children: [when_true, when_false] } => {
                    let value = row[feature];
                    let is_true = match mode {
                        _ if value.is_nan() => missing_is_true,
                        "BRANCH_LEQ" => value <= threshold,
                        "BRANCH_LT" => value < threshold,
                        other => panic!("{other} is not forged"),
                    };
                    index = if is_true { when_true } else { when_false };
                }
            }
        }
    }

    /// One training row per leaf.
    fn hits(&self, index: usize) -> f32 {
        match self.0[index] {
            ForgedNode::Leaf { .. } => 1.0,
            ForgedNode::Split { children, .. } => children.iter().map(|child| self.hits(*child)).sum(),
        }
    }
}

fn grow(dice: &mut Dice, nodes: &mut Vec<ForgedNode>, index: usize, depth: usize, n_features: usize) {
    if depth == 0 || dice.below(6) == 0 {
        nodes[index] = ForgedNode::Leaf { weight: (dice.below(2_000_001) as f32 - 1e6) / 3e6 };
        return;
    }
    let children = [nodes.len(), nodes.len() + 1];
    nodes.extend([ForgedNode::Leaf { weight: 0.0 }, ForgedNode::Leaf { weight: 0.0 }]);
    nodes[index] = ForgedNode::Split {
        feature: dice.below(n_features),
        mode: dice.pick(&["BRANCH_LEQ", "BRANCH_LT"]),
        threshold: dice.pick(&GRID),
        missing_is_true: dice.below(2) == 0,
        children,
    };
    for child in children {
        grow(dice, nodes, child, depth - 1, n_features);
    }
}

/// Rows of grid values with some missing and some infinite.
pub fn random_rows(dice: &mut Dice, n_rows: usize, n_features: usize) -> Vec<f32> {
    let value = |dice: &mut Dice| if dice.below(5) == 0 { dice.pick(&UNUSUAL) } else { dice.pick(&GRID) };
    (0..n_rows * n_features).map(|_| value(dice)).collect()
}

/// Names for forged columns.
pub fn forged_features(n_features: usize) -> Vec<String> {
    (0..n_features).map(|index| format!("f{index}")).collect()
}

/// The trees as an ONNX file of the shape that the exporter writes.
pub fn forge(trees: &[ForgedTree], n_features: usize) -> Vec<u8> {
    let mut columns = Columns::default();
    for (tree, forged) in trees.iter().enumerate() {
        for (node, kind) in forged.0.iter().enumerate() {
            columns.push(tree as i64, node as i64, kind, forged.hits(node));
        }
    }
    let features = serde_json::to_string(&forged_features(n_features)).unwrap();
    let node = NodeProto {
        op_type: "TreeEnsembleClassifier".into(),
        domain: "ai.onnx.ml".into(),
        input: vec!["input".into()],
        output: vec!["label".into(), "probabilities".into()],
        attribute: columns.attributes(),
        ..Default::default()
    };
    let graph = GraphProto {
        name: "forged".into(),
        input: vec![matrix("input", n_features)],
        output: vec![matrix("probabilities", 2)],
        node: vec![node],
        ..Default::default()
    };
    let model = ModelProto {
        ir_version: 4,
        opset_import: vec![OperatorSetIdProto { domain: "ai.onnx.ml".into(), version: 1 }],
        graph: Some(graph),
        metadata_props: vec![StringStringEntryProto { key: "features".into(), value: features }],
        ..Default::default()
    };
    model.encode_to_vec()
}

fn matrix(name: &str, columns: usize) -> ValueInfoProto {
    let dim = |value| Dimension { value, ..Default::default() };
    let shape = TensorShapeProto { dim: vec![dim(None), dim(Some(dimension::Value::DimValue(columns as i64)))] };
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(shape) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), r#type: Some(kind), ..Default::default() }
}

#[derive(Default)]
struct Columns {
    ints: [Vec<i64>; 6],
    modes: Vec<Vec<u8>>,
    thresholds: Vec<f32>,
    hits: Vec<f32>,
    leaf_ints: [Vec<i64>; 3],
    weights: Vec<f32>,
}

impl Columns {
    fn push(&mut self, tree: i64, node: i64, kind: &ForgedNode, hits: f32) {
        let (feature, mode, threshold, missing, children) = match kind {
            ForgedNode::Leaf { weight } => {
                for (column, value) in self.leaf_ints.iter_mut().zip([tree, node, 0]) {
                    column.push(value);
                }
                self.weights.push(*weight);
                (0, "LEAF", 0.0, 0, [0, 0])
            }
            ForgedNode::Split { feature, mode, threshold, missing_is_true, children } => {
                (*feature as i64, *mode, *threshold, i64::from(*missing_is_true), children.map(|child| child as i64))
            }
        };
        for (column, value) in self.ints.iter_mut().zip([tree, node, feature, children[0], children[1], missing]) {
            column.push(value);
        }
        self.modes.push(mode.as_bytes().to_vec());
        self.thresholds.push(threshold);
        self.hits.push(hits);
    }

    fn attributes(self) -> Vec<AttributeProto> {
        let named = |name: &str, kind: AttributeType| AttributeProto {
            name: name.into(),
            r#type: kind as i32,
            ..Default::default()
        };
        let ints = |name, ints| AttributeProto { ints, ..named(name, AttributeType::Ints) };
        let floats = |name, floats| AttributeProto { floats, ..named(name, AttributeType::Floats) };
        let [trees, nodes, features, when_true, when_false, missing] = self.ints;
        let [leaf_trees, leaf_nodes, classes] = self.leaf_ints;
        vec![
            ints("nodes_treeids", trees),
            ints("nodes_nodeids", nodes),
            ints("nodes_featureids", features),
            ints("nodes_truenodeids", when_true),
            ints("nodes_falsenodeids", when_false),
            ints("nodes_missing_value_tracks_true", missing),
            AttributeProto { strings: self.modes, ..named("nodes_modes", AttributeType::Strings) },
            floats("nodes_values", self.thresholds),
            floats("nodes_hitrates", self.hits),
            ints("class_treeids", leaf_trees),
            ints("class_nodeids", leaf_nodes),
            ints("class_ids", classes),
            floats("class_weights", self.weights),
            ints("classlabels_int64s", vec![0, 1]),
            AttributeProto { s: b"LOGISTIC".to_vec(), ..named("post_transform", AttributeType::String) },
        ]
    }
}
