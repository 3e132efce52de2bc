//! Scoring's [`Scorer`] port, filled by the model.

use centinela_domain::{Band, FEATURES, FeatureVector, ModelStamp, Policy};
use centinela_scoring::ports::{ScoreError, Scored, Scorer};

use crate::manifest::ManifestError;
use crate::model::{Model, ModelError};

/// Scores and explains feature vectors with one model.
#[derive(Debug)]
pub struct ModelScorer {
    model: Model,
    stamp: ModelStamp,
    policy: Policy,
    band: Band,
}

impl ModelScorer {
    /// The model that is built into the program.
    pub fn bundled() -> Result<Self, ModelError> {
        Self::new(Model::bundled(&FeatureVector::NAMES)?)
    }

    /// A model from its files.
    pub fn load(onnx: &[u8], manifest_json: &[u8]) -> Result<Self, ModelError> {
        Self::new(Model::load(onnx, manifest_json, &FeatureVector::NAMES)?)
    }

    /// Refuses a model whose reason groups are not the program's: a decision would name another reason than the model card.
    fn new(model: Model) -> Result<Self, ModelError> {
        let manifest = model.manifest();
        for (feature, reason) in FeatureVector::NAMES.iter().zip(FeatureVector::REASONS) {
            let (expected, actual) =
                (reason.as_str(), manifest.reason_groups.get(*feature).cloned().unwrap_or_default());
            if actual != expected {
                return Err(ManifestError::OtherReason { feature, expected, actual }.into());
            }
        }
        let mut digest = [0; 8];
        digest.copy_from_slice(&model.digest()[..8]);
        let stamp = ModelStamp { version: manifest.model_version.clone(), digest };
        let policy = manifest.policy().map_err(ManifestError::from)?;
        let band = manifest.band()?;
        Ok(Self { model, stamp, policy, band })
    }

    /// The model behind it.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl Scorer for ModelScorer {
    fn score(&self, rows: &[FeatureVector]) -> Result<Vec<Scored>, ScoreError> {
        let matrix = rows.iter().map(|row| row.0).collect::<Vec<_>>();
        let scored = self.model.score_with(matrix.as_flattened(), rows.len(), |score, shifts| {
            let mut contributions = [0f32; FEATURES];
            contributions.copy_from_slice(shifts);
            Scored { score, contributions }
        });
        scored.map_err(|error| ScoreError(Box::new(error)))
    }

    fn stamp(&self) -> &ModelStamp {
        &self.stamp
    }

    fn policy(&self) -> Policy {
        self.policy
    }

    fn band(&self) -> Option<Band> {
        Some(self.band)
    }
}
