//! The model: loaded once, then scoring and explaining rows.
//!
//! tract runs the ONNX graph; only its tree evaluator is replaced. The score is the probability of fraud, column 1 of
//! `probabilities`, of each row. The graph's `label` is never read.

use std::fmt;
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::TractError;

use crate::compact::CompactForest;
use crate::explain::{Contributions, Reason, ReasonGroups};
use crate::forest::Forest;
use crate::graph::{self, MalformedModel, PROBABILITIES};
use crate::manifest::{Manifest, ManifestError, check_features};
use crate::operator;

/// Why a model refuses to start, or to score.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The manifest is not this model's or this program's.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The ONNX file is not one that can be served truthfully.
    #[error(transparent)]
    Malformed(#[from] MalformedModel),
    /// tract refused.
    #[error("tract cannot {step} the model")]
    Runtime {
        /// What it was asked to do.
        step: &'static str,
        /// Its words.
        #[source]
        source: TractError,
    },
    /// The graph that tract built has not exactly one tree evaluator.
    #[error("exactly 1 tree evaluator must be replaced, got {0}: this tract version builds another graph")]
    ReplacedNodes(usize),
    /// tract parsed other trees than we did.
    #[error("expected {expected:?} trees and nodes, tract has parsed {actual:?}")]
    OtherTrees {
        /// Ours.
        expected: (usize, usize),
        /// tract's.
        actual: (usize, usize),
    },
    /// The rows do not fit the model.
    #[error("{n_rows} rows of {n_features} features are {} values, got {actual}", n_rows.saturating_mul(*n_features))]
    RowShape {
        /// Rows announced.
        n_rows: usize,
        /// The model's width.
        n_features: usize,
        /// Values given.
        actual: usize,
    },
    /// The graph answered something else than one probability per row.
    #[error("expected {expected} probabilities between 0 and 1, got {actual} of them in range")]
    Answer {
        /// Rows asked.
        expected: usize,
        /// Usable answers.
        actual: usize,
    },
}

/// A verified model. Cheap to share: scoring takes `&self` from any thread.
pub struct Model {
    manifest: Manifest,
    digest: [u8; 32],
    n_features: usize,
    plan: Arc<TypedRunnableModel>,
    forest: Arc<CompactForest>,
    groups: ReasonGroups,
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Model")
            .field("version", &self.manifest.model_version)
            .field("sha256", &self.manifest.sha256)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// The model that is built into the program.
    pub fn bundled(expected_features: &[&str]) -> Result<Self, ModelError> {
        const ONNX: &[u8] = include_bytes!("../../../model/artifacts/current/model.onnx");
        const MANIFEST: &[u8] = include_bytes!("../../../model/artifacts/current/manifest.json");
        Self::load(ONNX, MANIFEST, expected_features)
    }

    /// Checks that file, manifest and program belong together and that the trees are sound, then prepares the graph.
    ///
    /// Anything that is not known to be right is refused; no input makes it panic or run for ever.
    pub fn load(onnx: &[u8], manifest_json: &[u8], expected_features: &[&str]) -> Result<Self, ModelError> {
        let (manifest, digest) = Manifest::verified(manifest_json, onnx, expected_features)?;
        let n_features = expected_features.len();
        let proto = graph::read(onnx, n_features)?;
        check_features("the model file", expected_features, &graph::feature_names(&proto)?)?;
        let forest = Forest::read(graph::ensemble(&proto)?, n_features).map_err(MalformedModel::from)?;
        let forest = Arc::new(CompactForest::new(&forest));

        let mut inference = tract_onnx::onnx().model_for_proto_model(&proto).map_err(runtime("read"))?;
        // One plan for every batch size.
        let rows = inference.symbols.sym("rows");
        let input = InferenceFact::dt_shape(f32::datum_type(), [rows.into(), n_features.to_dim()]);
        inference.set_input_fact(0, input).map_err(runtime("set the input of"))?;
        inference.select_outputs_by_name([PROBABILITIES]).map_err(runtime("find the probabilities of"))?;
        let mut typed = inference.into_optimized().map_err(runtime("optimize"))?;
        operator::replace(&mut typed, &forest)?;
        let plan = typed.into_runnable().map_err(runtime("prepare"))?;

        let groups = ReasonGroups::new(&manifest.features, &manifest.reason_groups);
        Ok(Self { manifest, digest, n_features, plan, forest, groups })
    }

    /// What the trainer says about it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the ONNX file.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Columns of a row.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// The operators of the prepared graph, in the order of their evaluation.
    pub fn operators(&self) -> Vec<String> {
        self.plan.model().nodes.iter().map(|node| node.op.name().into_owned()).collect()
    }

    /// Probability of fraud of each of `n_rows` rows, which lie one after the other; NaN is a missing value.
    ///
    /// A row's score does not depend on the rows beside it.
    pub fn score(&self, rows: &[f32], n_rows: usize) -> Result<Vec<f32>, ModelError> {
        self.score_with(rows, n_rows, |score, _| score)
    }

    /// The same, and how much each feature moved the row's log-odds, made into something by `make`.
    pub fn score_with<T>(
        &self,
        rows: &[f32],
        n_rows: usize,
        mut make: impl FnMut(f32, &[f32]) -> T,
    ) -> Result<Vec<T>, ModelError> {
        if n_rows.checked_mul(self.n_features) != Some(rows.len()) {
            return Err(ModelError::RowShape { n_rows, n_features: self.n_features, actual: rows.len() });
        }
        if n_rows == 0 {
            return Ok(Vec::new());
        }
        let input = Tensor::from_shape(&[n_rows, self.n_features], rows).map_err(runtime("take rows into"))?;
        let outputs = self.plan.run(tvec!(input.into_tvalue())).map_err(runtime("run"))?;
        let answers = match &outputs[..] {
            [probabilities, shifts] if matches!(probabilities.shape(), [_, 2]) => {
                values(probabilities)?.chunks_exact(2).zip(values(shifts)?.chunks_exact(self.n_features))
            }
            _ => [].chunks_exact(2).zip([].chunks_exact(self.n_features)),
        };
        let scores = answers.map(|(pair, shifts)| (pair[1], shifts)).filter(|(score, _)| (0.0..=1.0).contains(score));
        let made: Vec<T> = scores.map(|(score, shifts)| make(score, shifts)).collect();
        if made.len() == n_rows { Ok(made) } else { Err(ModelError::Answer { expected: n_rows, actual: made.len() }) }
    }

    /// How much each feature moved the log-odds of one row.
    pub fn explain(&self, row: &[f32]) -> Result<Contributions, ModelError> {
        let mut per_feature = vec![0f32; self.n_features];
        let logit = self.explain_into(row, &mut per_feature)?;
        Ok(Contributions { per_feature, bias: self.forest.bias(), logit })
    }

    /// [`Self::explain`] without an allocation: overwrites one place per feature and returns the log-odds.
    pub fn explain_into(&self, row: &[f32], per_feature: &mut [f32]) -> Result<f32, ModelError> {
        self.check_row(row)?;
        self.check_row(per_feature)?;
        per_feature.fill(0.0);
        Ok(self.forest.attribute(row, |feature, shift| per_feature[feature] += shift))
    }

    /// Up to `k` reason groups that raised the score of one row, the largest first; ties in the order of [`Self::reason_codes`].
    pub fn top_reasons(&self, row: &[f32], k: usize) -> Result<Vec<Reason>, ModelError> {
        self.check_row(row)?;
        Ok(self.groups.top(k, |visit| {
            self.forest.attribute(row, visit);
        }))
    }

    /// The manifest's reason codes, in the order in which the features name them first.
    pub fn reason_codes(&self) -> &[String] {
        self.groups.codes()
    }

    fn check_row(&self, row: &[f32]) -> Result<(), ModelError> {
        if row.len() == self.n_features {
            return Ok(());
        }
        Err(ModelError::RowShape { n_rows: 1, n_features: self.n_features, actual: row.len() })
    }
}

fn values(output: &TValue) -> Result<&[f32], ModelError> {
    output.try_as_plain_ram().and_then(|view| view.as_slice()).map_err(runtime("read the answer of"))
}

pub(crate) fn runtime(step: &'static str) -> impl FnOnce(TractError) -> ModelError {
    move |source| ModelError::Runtime { step, source }
}
