//! From ONNX bytes to a graph that is known to be one binary tree ensemble.
//!
//! Everything is checked here, before tract sees the graph: tract accepts some of what it cannot evaluate truthfully, and indexes
//! what it has not checked. What is not explicitly known to be right is refused.

use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, tensor_shape_proto, type_proto};
use tract_onnx::prelude::Framework;
use tract_onnx::prelude::TractError;

use crate::forest::MalformedTree;

/// The only output that is read. tract's `label` is inverted for binary ensembles.
pub(crate) const PROBABILITIES: &str = "probabilities";

/// Where the exporter keeps the feature names inside the ONNX file: a JSON list.
const FEATURES_KEY: &str = "features";

/// Version 5 of the domain has no TreeEnsembleClassifier any more.
const ML_OPSETS: std::ops::RangeInclusive<i64> = 1..=4;

/// Why an ONNX file cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MalformedModel {
    /// The bytes are cut or are no ONNX at all.
    #[error("the model file is no readable ONNX")]
    Unreadable(#[source] TractError),
    /// The graph has another shape than the exporter's.
    #[error("{part} must be {expected}, got {actual}: export the model with model/export_onnx.py")]
    Graph {
        /// Which part of the file.
        part: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What the file says.
        actual: String,
    },
    /// The input has another width than the caller's rows.
    #[error("the model's input must have {expected} features, got {actual}")]
    InputWidth {
        /// The caller's number of features.
        expected: usize,
        /// The graph's input width.
        actual: i64,
    },
    /// The feature names inside the ONNX file are no list of strings.
    #[error("the feature names in the model's metadata cannot be read")]
    FeatureNames(#[source] serde_json::Error),
    /// A tree is broken.
    #[error(transparent)]
    Tree(#[from] MalformedTree),
}

/// Reads the bytes and checks everything around the trees.
pub(crate) fn read(onnx: &[u8], n_features: usize) -> Result<ModelProto, MalformedModel> {
    let mut reader = onnx;
    let model = tract_onnx::onnx().proto_model_for_read(&mut reader).map_err(MalformedModel::Unreadable)?;
    check_opset(&model)?;
    let graph = model.graph.as_ref().ok_or_else(|| graph_fault("the file", "a model with a graph", "none"))?;
    check_graph(graph)?;
    check_input(graph, n_features)?;
    Ok(model)
}

/// The ensemble's node. Only for what [`read`] has accepted.
pub(crate) fn ensemble(model: &ModelProto) -> Result<&NodeProto, MalformedModel> {
    let node = model.graph.as_ref().and_then(|graph| graph.node.first());
    node.ok_or_else(|| graph_fault("the graph", "one TreeEnsembleClassifier", "no node"))
}

/// The feature names that the exporter put into the file itself.
pub(crate) fn feature_names(model: &ModelProto) -> Result<Vec<String>, MalformedModel> {
    let entry = model.metadata_props.iter().find(|entry| entry.key == FEATURES_KEY);
    let entry = entry.ok_or_else(|| graph_fault("metadata `features`", "the list of feature names", "none"))?;
    serde_json::from_str(&entry.value).map_err(MalformedModel::FeatureNames)
}

fn check_opset(model: &ModelProto) -> Result<(), MalformedModel> {
    let versions: Vec<i64> =
        model.opset_import.iter().filter(|opset| opset.domain == "ai.onnx.ml").map(|opset| opset.version).collect();
    match versions[..] {
        [version] if ML_OPSETS.contains(&version) => Ok(()),
        _ => Err(graph_fault("operator set ai.onnx.ml", "imported once with version 1 to 4", format!("{versions:?}"))),
    }
}

fn check_graph(graph: &GraphProto) -> Result<(), MalformedModel> {
    let [node] = &graph.node[..] else {
        let operators: Vec<_> = graph.node.iter().map(|node| &node.op_type).collect();
        return Err(graph_fault("the graph", "one TreeEnsembleClassifier", format!("{operators:?}")));
    };
    if node.op_type != "TreeEnsembleClassifier" || node.domain != "ai.onnx.ml" {
        let actual = format!("{} of domain `{}`", node.op_type, node.domain);
        return Err(graph_fault("the graph", "one TreeEnsembleClassifier of ai.onnx.ml", actual));
    }
    if !graph.initializer.is_empty() || !graph.sparse_initializer.is_empty() || !graph.value_info.is_empty() {
        return Err(graph_fault("the graph", "free of initializers and value information", "some"));
    }
    let [label, probabilities] = &node.output[..] else {
        return Err(graph_fault("the outputs", "label and probabilities", format!("{:?}", node.output)));
    };
    let known = |name: &String| !name.is_empty() && (name == label || name == probabilities);
    if label.is_empty() || probabilities != PROBABILITIES || !graph.output.iter().all(|output| known(&output.name)) {
        return Err(graph_fault("the outputs", "label and probabilities", format!("{:?}", node.output)));
    }
    Ok(())
}

fn check_input(graph: &GraphProto, n_features: usize) -> Result<(), MalformedModel> {
    let node_inputs = graph.node.first().map(|node| &node.input[..]).unwrap_or_default();
    let ([input], [read]) = (&graph.input[..], node_inputs) else {
        return Err(graph_fault("the input", "one tensor", format!("{} graph inputs", graph.input.len())));
    };
    if input.name != *read || input.name == PROBABILITIES {
        return Err(graph_fault("the input", "what the ensemble reads", format!("`{}` and `{read}`", input.name)));
    }
    let not_a_matrix = || graph_fault("the input", "float [rows, features] with rows left open", "another type");
    let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Err(not_a_matrix());
    };
    let is_float = tensor.elem_type == tract_onnx::pb::tensor_proto::DataType::Float as i32;
    let dims = tensor.shape.as_ref().map(|shape| &shape.dim[..]).unwrap_or_default();
    let (true, [rows, features]) = (is_float, dims) else {
        return Err(not_a_matrix());
    };
    use tensor_shape_proto::dimension::Value::DimValue;
    match (&rows.value, &features.value) {
        (Some(DimValue(_)), _) => Err(not_a_matrix()),
        (_, Some(DimValue(actual))) if usize::try_from(*actual) == Ok(n_features) => Ok(()),
        (_, Some(DimValue(actual))) => Err(MalformedModel::InputWidth { expected: n_features, actual: *actual }),
        _ => Err(not_a_matrix()),
    }
}

fn graph_fault(part: &'static str, expected: &'static str, actual: impl Into<String>) -> MalformedModel {
    MalformedModel::Graph { part, expected, actual: actual.into() }
}
