//! The bundled model in tract as it is shipped, one row at a time.

use std::collections::HashMap;
use std::sync::Arc;

use lambda_runtime::Error;
use serde::Deserialize;
use tract_onnx::prelude::*;

const ONNX: &[u8] = include_bytes!("../../../../model/artifacts/current/model.onnx");
const MANIFEST: &[u8] = include_bytes!("../../../../model/artifacts/current/manifest.json");

#[derive(Deserialize)]
struct Manifest {
    features: Vec<String>,
    thresholds: Thresholds,
}

#[derive(Deserialize)]
struct Thresholds {
    block_above: f32,
}

/// The model with its columns.
pub struct Model {
    plan: Arc<TypedRunnableModel>,
    places: HashMap<String, usize>,
    block_above: f32,
}

impl Model {
    /// The model of this repository.
    pub fn bundled() -> Result<Self, Error> {
        let manifest: Manifest = serde_json::from_slice(MANIFEST)?;
        let width = manifest.features.len();
        let mut model = tract_onnx::onnx().model_for_read(&mut &ONNX[..]).map_err(words)?;
        model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [1, width])).map_err(words)?;
        model.select_outputs_by_name(["probabilities"]).map_err(words)?;
        let plan = model.into_optimized().map_err(words)?.into_runnable().map_err(words)?;
        let places = manifest.features.into_iter().enumerate().map(|(place, name)| (name, place)).collect();
        Ok(Self { plan, places, block_above: manifest.thresholds.block_above })
    }

    /// Columns of a row.
    pub fn width(&self) -> usize {
        self.places.len()
    }

    /// The column of a feature that the model has.
    pub fn place(&self, name: &str) -> usize {
        self.places[name]
    }

    /// Probability of fraud.
    pub fn score(&self, row: &[f32]) -> Result<f32, Error> {
        let input = Tensor::from_shape(&[1, row.len()], row).map_err(words)?;
        let outputs = self.plan.run(tvec!(input.into_tvalue())).map_err(words)?;
        let view = outputs[0].try_as_plain_ram().map_err(words)?;
        view.as_slice::<f32>().map_err(words)?.get(1).copied().ok_or_else(|| Error::from("the model has no answer"))
    }

    /// Whether a score is too high.
    pub fn blocks(&self, score: f32) -> bool {
        score > self.block_above
    }
}

fn words(error: impl std::fmt::Display) -> Error {
    Error::from(format!("tract: {error:#}"))
}
