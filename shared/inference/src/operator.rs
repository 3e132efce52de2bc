//! The tract operator that takes the place of tract's own tree evaluator, which costs time quadratic in the number of leaves.

use std::sync::Arc;

use tract_onnx::tract_core::internal::*;
use tract_onnx_opl::ml::tree_ensemble_classifier::TreeEnsembleClassifier;

use crate::compact::CompactForest;
use crate::model::{ModelError, runtime};

/// Columns of tract's evaluator for two classes. It fills the first and leaves the other 0; the graph behind it expects that.
const CLASSES: usize = 2;

/// Scores rows into log-odds, its first output, and says in the second how much each feature moved them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CompactTrees {
    forest: Arc<CompactForest>,
}

impl Op for CompactTrees {
    fn name(&self) -> StaticName {
        "CompactTrees".into()
    }

    op_as_typed_op!();
}

impl EvalOp for CompactTrees {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[n_rows, n_features] = input.shape() else {
            bail!("tree input must be [rows, features], got {:?}", input.shape())
        };
        let mut logits = vec![0f32; n_rows];
        let mut shifts = Tensor::zero::<f32>(&[n_rows, n_features])?;
        let rows = input.try_as_plain_ram()?;
        self.forest.score(
            rows.as_slice::<f32>()?,
            n_features,
            &mut logits,
            shifts.try_as_plain_ram_mut()?.as_slice_mut::<f32>()?,
        );
        let mut scores = vec![0f32; n_rows * CLASSES];
        for (score, logit) in scores.chunks_exact_mut(CLASSES).zip(logits) {
            score[0] = logit;
        }
        Ok(tvec!(Tensor::from_shape(&[n_rows, CLASSES], &scores)?.into_tvalue(), shifts.into_tvalue()))
    }
}

impl TypedOp for CompactTrees {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = &inputs[0].shape;
        Ok(tvec!(f32::fact(&[rows[0].clone(), CLASSES.into()]), f32::fact(&[rows[0].clone(), rows[1].clone()])))
    }

    as_op!();
}

/// Puts ours in the place of tract's evaluator, and what it says of features behind the model's output. There must be exactly one, holding
/// the same trees.
pub(crate) fn replace(model: &mut TypedModel, forest: &Arc<CompactForest>) -> Result<(), ModelError> {
    let mut replaced = Vec::new();
    for (place, node) in model.nodes.iter_mut().enumerate() {
        let Some(stock) = node.op_as::<TreeEnsembleClassifier>() else { continue };
        let data = &stock.ensemble.data;
        let actual = (data.trees.len(), data.nodes.len() / 5);
        if actual != forest.size() {
            return Err(ModelError::OtherTrees { expected: forest.size(), actual });
        }
        node.op = Box::new(CompactTrees { forest: Arc::clone(forest) });
        replaced.push(place);
    }
    let [trees] = replaced[..] else { return Err(ModelError::ReplacedNodes(replaced.len())) };
    let facts = {
        let inputs = model.node_input_facts(trees).map_err(runtime("find the rows of"))?;
        model.node(trees).op.output_facts(&inputs).map_err(runtime("explain"))?
    };
    model.nodes[trees].outputs.extend(facts.into_iter().skip(1).map(|fact| Outlet { fact, successors: tvec!() }));
    let outputs = [model.output_outlets().map_err(runtime("find the probabilities of"))?[0], OutletId::new(trees, 1)];
    model.select_output_outlets(&outputs).map_err(runtime("explain"))
}
