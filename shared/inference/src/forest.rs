//! The trees of an ONNX TreeEnsembleClassifier, checked: whoever holds a [`Forest`] can walk it without a surprise.
//!
//! Accepts binary ensembles with LOGISTIC output, one weight per leaf, and `<=` or `<` splits. tract reads BRANCH_GTE as a leaf
//! without a word, so any other mode is refused here.

use std::collections::BTreeMap;

use tract_onnx::pb::{AttributeProto, NodeProto};

/// Most trees in a model.
const TREES_MAX: usize = 10_000;
/// Most nodes in a model, leaves included.
const NODES_MAX: usize = 1_000_000;
/// Longest path from a root to a leaf.
const DEPTH_MAX: u32 = 64;
/// Largest weight of a leaf, in log-odds; keeps every sum finite.
const LEAF_ABS_MAX: f32 = 1e6;
/// How far the hit counts of two children may be from their parent's, relative to it: they are counts stored as floats.
const HITS_TOLERANCE: f32 = 1e-6;

/// Why an ensemble cannot be served.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MalformedTree {
    #[error("attribute {name} must be {expected}, got {actual}")]
    Attribute { name: String, expected: &'static str, actual: String },
    #[error("attribute {name} must have {expected} values, got {actual}")]
    AttributeLength { name: &'static str, expected: usize, actual: usize },
    #[error("{what} must be at most {limit}, got {actual}")]
    TooMany { what: &'static str, limit: usize, actual: usize },
    #[error("node {index} must be the next node of its tree or the root of the next tree, got tree {tree} node {node}")]
    Order { index: usize, tree: i64, node: i64 },
    #[error("tree {tree} node {node}: {fault}")]
    Node { tree: usize, node: usize, fault: NodeFault },
}

/// What is wrong with one node.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum NodeFault {
    #[error("mode must be BRANCH_LEQ, BRANCH_LT or LEAF, got {0}")]
    Mode(String),
    #[error("threshold {0} cannot be compared with")]
    Threshold(f32),
    #[error("reads feature {actual}, the model has {n_features}")]
    Feature { actual: i64, n_features: usize },
    #[error("child {0} is not in its tree")]
    Child(i64),
    #[error("is reached twice: a cycle or a shared branch")]
    ReachedTwice,
    #[error("cannot be reached from the root")]
    Unreachable,
    #[error("lies deeper than {DEPTH_MAX} splits")]
    TooDeep,
    #[error("must have one weight for class 0, got {0}")]
    Weights(usize),
    #[error("weight must be within {LEAF_ABS_MAX} of 0, got {0}")]
    Weight(f32),
    #[error("hit count must be positive, got {0}: export with training counts in nodes_hitrates")]
    Hits(f32),
    #[error("hit counts {left} and {right} must add up to {parent}: export with training counts in nodes_hitrates")]
    HitsDoNotAdd { parent: f32, left: f32, right: f32 },
}

/// One node. `children` holds the places in the tree for "true" and "false".
#[derive(Clone, Copy, Debug)]
pub(crate) enum Node {
    /// Goes to "true" when the feature is at most the threshold; a missing value goes where `missing_is_true` says.
    Split { feature: u16, threshold: f32, missing_is_true: bool, children: [usize; 2] },
    /// Adds its weight to the log-odds.
    Leaf { weight: f32 },
}

/// A proper binary tree: every node but the root has one parent, and all hang on node 0.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Training rows that passed each node.
    pub(crate) hits: Vec<f32>,
    /// Splits on the longest path.
    pub(crate) depth: u32,
}

/// The whole ensemble, in the order of summation.
#[derive(Debug)]
pub(crate) struct Forest {
    pub(crate) trees: Vec<Tree>,
}

impl Forest {
    /// Reads and checks the ensemble of a TreeEnsembleClassifier over `n_features` columns.
    pub(crate) fn read(node: &NodeProto, n_features: usize) -> Result<Self, MalformedTree> {
        let columns = Columns::read(node)?;
        let starts = columns.tree_starts()?;
        let weights = columns.leaf_weights(&starts)?;
        let ends = starts.iter().skip(1).copied().chain([columns.modes.len()]);
        let trees = starts.iter().zip(ends).enumerate().map(|(tree, (&start, end))| {
            let fault = |node: usize, fault| MalformedTree::Node { tree, node, fault };
            let nodes = (start..end)
                .map(|index| {
                    columns.node(index, end - start, n_features, &weights[index]).map_err(|f| fault(index - start, f))
                })
                .collect::<Result<Vec<_>, _>>()?;
            let hits = columns.hits[start..end].to_vec();
            let depth = check_shape(&nodes, &hits).map_err(|(node, f)| fault(node, f))?;
            Ok(Tree { nodes, hits, depth })
        });
        Ok(Self { trees: trees.collect::<Result<_, _>>()? })
    }
}

/// The attributes, as columns over nodes and over leaf weights.
struct Columns<'a> {
    tree_ids: &'a [i64],
    node_ids: &'a [i64],
    features: &'a [i64],
    modes: &'a [Vec<u8>],
    thresholds: &'a [f32],
    true_ids: &'a [i64],
    false_ids: &'a [i64],
    missing_is_true: &'a [i64],
    hits: &'a [f32],
    weight_tree_ids: &'a [i64],
    weight_node_ids: &'a [i64],
    weights: &'a [f32],
}

const NODE_ATTRIBUTES: [&str; 9] = [
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_modes",
    "nodes_values",
    "nodes_truenodeids",
    "nodes_falsenodeids",
    "nodes_missing_value_tracks_true",
    "nodes_hitrates",
];
const CLASS_ATTRIBUTES: [&str; 6] =
    ["class_treeids", "class_nodeids", "class_ids", "class_weights", "classlabels_int64s", "post_transform"];

impl<'a> Columns<'a> {
    fn read(node: &'a NodeProto) -> Result<Self, MalformedTree> {
        let mut attributes: BTreeMap<&str, &AttributeProto> = BTreeMap::new();
        for attribute in &node.attribute {
            let name = attribute.name.as_str();
            // `base_values` among others would change the score, and tract reads them differently from other runtimes.
            let known = NODE_ATTRIBUTES.contains(&name) || CLASS_ATTRIBUTES.contains(&name);
            if !known || attributes.insert(name, attribute).is_some() {
                return Err(attribute_fault(name, "known and given once", "an attribute that is not"));
            }
        }
        let get =
            |name: &'static str| attributes.get(name).copied().ok_or_else(|| attribute_fault(name, "given", "none"));

        let post_transform = &get("post_transform")?.s;
        if post_transform != b"LOGISTIC" {
            return Err(attribute_fault("post_transform", "LOGISTIC", String::from_utf8_lossy(post_transform)));
        }
        let labels = &get("classlabels_int64s")?.ints;
        if labels[..] != [0, 1] {
            return Err(attribute_fault("classlabels_int64s", "[0, 1]", format!("{labels:?}")));
        }
        let class_ids = &get("class_ids")?.ints;
        if let Some(class) = class_ids.iter().find(|class| **class != 0) {
            return Err(attribute_fault("class_ids", "0 for every weight", class.to_string()));
        }

        let n_nodes = get("nodes_modes")?.strings.len();
        if n_nodes > NODES_MAX {
            return Err(MalformedTree::TooMany { what: "the number of nodes", limit: NODES_MAX, actual: n_nodes });
        }
        let n_weights = class_ids.len();
        let ints = |name, n| sized(name, &get(name)?.ints[..], n);
        let floats = |name, n| sized(name, &get(name)?.floats[..], n);
        Ok(Self {
            tree_ids: ints("nodes_treeids", n_nodes)?,
            node_ids: ints("nodes_nodeids", n_nodes)?,
            features: ints("nodes_featureids", n_nodes)?,
            modes: &get("nodes_modes")?.strings,
            thresholds: floats("nodes_values", n_nodes)?,
            true_ids: ints("nodes_truenodeids", n_nodes)?,
            false_ids: ints("nodes_falsenodeids", n_nodes)?,
            missing_is_true: ints("nodes_missing_value_tracks_true", n_nodes)?,
            hits: floats("nodes_hitrates", n_nodes)?,
            weight_tree_ids: ints("class_treeids", n_weights)?,
            weight_node_ids: ints("class_nodeids", n_weights)?,
            weights: floats("class_weights", n_weights)?,
        })
    }

    /// The first node of every tree. Trees and their nodes are numbered from 0 without a gap, in order.
    fn tree_starts(&self) -> Result<Vec<usize>, MalformedTree> {
        let mut starts: Vec<usize> = Vec::new();
        for (index, (&tree, &node)) in self.tree_ids.iter().zip(self.node_ids).enumerate() {
            let next_of_tree =
                starts.last().is_some_and(|start| (tree, node) == (starts.len() as i64 - 1, (index - start) as i64));
            let next_root = (tree, node) == (starts.len() as i64, 0);
            match (next_of_tree, next_root) {
                (true, _) => {}
                (_, true) => starts.push(index),
                _ => return Err(MalformedTree::Order { index, tree, node }),
            }
        }
        match starts.len() {
            0 => Err(attribute_fault("nodes_treeids", "at least one tree", "none")),
            n if n > TREES_MAX => {
                Err(MalformedTree::TooMany { what: "the number of trees", limit: TREES_MAX, actual: n })
            }
            _ => Ok(starts),
        }
    }

    /// The weights of every node; only leaves may have one.
    fn leaf_weights(&self, starts: &[usize]) -> Result<Vec<Vec<f32>>, MalformedTree> {
        let mut weights = vec![Vec::new(); self.modes.len()];
        for ((&tree, &node), &weight) in self.weight_tree_ids.iter().zip(self.weight_node_ids).zip(self.weights) {
            let start = usize::try_from(tree).ok().and_then(|tree| starts.get(tree));
            let index = start.zip(usize::try_from(node).ok()).and_then(|(start, node)| start.checked_add(node));
            match index.filter(|index| self.tree_ids.get(*index) == Some(&tree)) {
                Some(index) => weights[index].push(weight),
                None => {
                    return Err(attribute_fault(
                        "class_nodeids",
                        "a node of the tree",
                        format!("tree {tree} node {node}"),
                    ));
                }
            }
        }
        Ok(weights)
    }

    fn node(&self, index: usize, n_nodes: usize, n_features: usize, weights: &[f32]) -> Result<Node, NodeFault> {
        let hits = self.hits[index];
        if !(hits.is_finite() && hits > 0.0) {
            return Err(NodeFault::Hits(hits));
        }
        let threshold = match &self.modes[index][..] {
            b"LEAF" => return leaf(weights),
            b"BRANCH_LEQ" => at_most(self.thresholds[index])?,
            b"BRANCH_LT" => below(self.thresholds[index])?,
            mode => return Err(NodeFault::Mode(String::from_utf8_lossy(mode).into_owned())),
        };
        if !weights.is_empty() {
            return Err(NodeFault::Weights(weights.len()));
        }
        let child = |id: i64| usize::try_from(id).ok().filter(|id| *id < n_nodes).ok_or(NodeFault::Child(id));
        let feature = self.features[index];
        let known = u16::try_from(feature).ok().filter(|feature| usize::from(*feature) < n_features);
        Ok(Node::Split {
            feature: known.ok_or(NodeFault::Feature { actual: feature, n_features })?,
            threshold,
            missing_is_true: self.missing_is_true[index] != 0,
            children: [child(self.true_ids[index])?, child(self.false_ids[index])?],
        })
    }
}

fn leaf(weights: &[f32]) -> Result<Node, NodeFault> {
    match *weights {
        [weight] if weight.abs() <= LEAF_ABS_MAX => Ok(Node::Leaf { weight }),
        [weight] => Err(NodeFault::Weight(weight)),
        _ => Err(NodeFault::Weights(weights.len())),
    }
}

fn at_most(threshold: f32) -> Result<f32, NodeFault> {
    if threshold.is_nan() { Err(NodeFault::Threshold(threshold)) } else { Ok(threshold) }
}

/// `x < t` is `x <= the float before t`, so that a walk knows one comparison only.
fn below(threshold: f32) -> Result<f32, NodeFault> {
    if threshold.is_nan() || threshold == f32::NEG_INFINITY {
        return Err(NodeFault::Threshold(threshold));
    }
    Ok(threshold.next_down())
}

/// Walks from the root; every node must be met exactly once. Returns the depth.
fn check_shape(nodes: &[Node], hits: &[f32]) -> Result<u32, (usize, NodeFault)> {
    let mut met = vec![false; nodes.len()];
    let mut open = vec![(0, 0)];
    let mut depth_max = 0;
    while let Some((index, depth)) = open.pop() {
        if std::mem::replace(&mut met[index], true) {
            return Err((index, NodeFault::ReachedTwice));
        }
        depth_max = depth_max.max(depth);
        let Node::Split { children, .. } = nodes[index] else { continue };
        if depth == DEPTH_MAX {
            return Err((index, NodeFault::TooDeep));
        }
        let (parent, left, right) = (hits[index], hits[children[0]], hits[children[1]]);
        if (left + right - parent).abs() > parent * HITS_TOLERANCE {
            return Err((index, NodeFault::HitsDoNotAdd { parent, left, right }));
        }
        open.extend(children.map(|child| (child, depth + 1)));
    }
    match met.iter().position(|met| !met) {
        Some(index) => Err((index, NodeFault::Unreachable)),
        None => Ok(depth_max),
    }
}

fn sized<'a, T>(name: &'static str, values: &'a [T], expected: usize) -> Result<&'a [T], MalformedTree> {
    if values.len() == expected {
        return Ok(values);
    }
    Err(MalformedTree::AttributeLength { name, expected, actual: values.len() })
}

fn attribute_fault(name: &str, expected: &'static str, actual: impl Into<String>) -> MalformedTree {
    MalformedTree::Attribute { name: name.to_owned(), expected, actual: actual.into() }
}
