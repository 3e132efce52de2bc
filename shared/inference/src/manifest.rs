//! What the trainer says about its model, and the checks that the model is that one.
//!
//! A manifest that says anything unknown, or anything else than the ONNX file and the feature code, is refused: a function that
//! does not start is found at deployment, one that scores with the wrong columns is found by a customer.

use std::collections::BTreeMap;

use centinela_domain::guard::{Band, Fallback, InvalidBand};
use centinela_domain::policy::{InvalidPolicy, Policy};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The manifest layout that this code reads.
pub const SCHEMA_VERSION: u32 = 2;

/// Longest `model_version`: every decision carries it.
const MODEL_VERSION_BYTES_MAX: usize = 16;

/// `manifest.json`, as the exporter writes it beside the ONNX file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name of the model, 1 to 16 bytes.
    pub model_version: String,
    /// SHA-256 of the ONNX file, lower-case hexadecimal.
    pub sha256: String,
    /// Input columns, in order.
    pub features: Vec<String>,
    /// What a score leads to.
    pub thresholds: Thresholds,
    /// How much it may want to block, and what happens beyond that.
    pub guard: GuardBand,
    /// How far the score is a probability.
    pub calibration: Calibration,
    /// SHA-256 of the training set, lower-case hexadecimal.
    pub training_data_sha256: String,
    /// Where the training data came from.
    pub generator: String,
    /// How it was trained.
    pub trainer: String,
    /// Quality on the test period, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Feature name to reason code; every feature has one.
    pub reason_groups: BTreeMap<String, String>,
}

/// `0 <= review_above <= block_above <= 1`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// A score above it is blocked.
    pub block_above: f32,
    /// A score above it, and not blocked, is for a person to look at. The default model has none.
    pub review_above: Option<f32>,
}

/// The band of the block rate ([`centinela_domain::guard`]), and what decisions follow outside of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardBand {
    /// How long a user counts, in seconds.
    pub window_seconds: u32,
    /// With fewer users in the window than these it is reckoned as if there were so many.
    pub minimum_users: u32,
    /// The largest share of the window's users whose newest transaction the model may want to block.
    pub block_rate_max: f64,
    /// `most_suspicious`, `review` or `approve`.
    pub fallback: String,
}

/// Measured on transactions that training has not seen.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// `none` when the raw probability is served.
    pub method: String,
    /// Expected calibration error.
    pub ece: f64,
    /// Mean score.
    pub mean_score: f64,
    /// Share of fraud.
    pub base_rate: f64,
}

/// Why a manifest does not belong to this model or this program.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the expected JSON.
    #[error("the model manifest cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// Written by another exporter.
    #[error("manifest schema_version must be {SCHEMA_VERSION}, got {0}: export the model again")]
    SchemaVersion(u32),
    /// The ONNX file is another one.
    #[error("the manifest expects a model with sha256 {expected}, the file has {actual}: deploy both from one export")]
    DigestMismatch {
        /// What the manifest names.
        expected: String,
        /// What the file is.
        actual: String,
    },
    /// Another number of columns.
    #[error(
        "this program computes {expected} features, {place} names {actual}: retrain, or deploy the program it was trained for"
    )]
    FeatureCount {
        /// Manifest or model.
        place: &'static str,
        /// Columns of the program.
        expected: usize,
        /// Columns named there.
        actual: usize,
    },
    /// Another column or another order.
    #[error(
        "feature {position} of this program is `{expected}`, {place} names `{actual}`: retrain, or deploy the program it was trained for"
    )]
    FeatureMismatch {
        /// Manifest or model.
        place: &'static str,
        /// From 0.
        position: usize,
        /// The program's column.
        expected: String,
        /// The column named there.
        actual: String,
    },
    /// Thresholds that make no sense.
    #[error(transparent)]
    Thresholds(#[from] InvalidPolicy),
    /// A band that makes no sense.
    #[error("manifest guard: {0}")]
    Guard(#[from] InvalidBand),
    /// A field outside of its range.
    #[error("manifest {field} must be {expected}, got {actual}")]
    Field {
        /// Which one.
        field: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        actual: String,
    },
    /// Explanations need a group for every feature and no other.
    #[error("manifest reason_groups must name every feature once: `{0}` is missing or unknown")]
    ReasonGroup(String),
    /// A feature that stands for another reason in the program.
    #[error(
        "feature `{feature}` stands for {expected} in this program, the manifest says {actual}: export the model again"
    )]
    OtherReason {
        /// Which one.
        feature: &'static str,
        /// The program's reason code.
        expected: &'static str,
        /// The manifest's.
        actual: String,
    },
}

impl Manifest {
    /// Reads and checks a manifest against the ONNX bytes and the program's features. Returns it with the file's digest.
    pub(crate) fn verified(
        json: &[u8],
        onnx: &[u8],
        expected_features: &[&str],
    ) -> Result<(Self, [u8; 32]), ManifestError> {
        let manifest: Self = serde_json::from_slice(json).map_err(ManifestError::Unreadable)?;
        if manifest.schema_version != SCHEMA_VERSION {
            return Err(ManifestError::SchemaVersion(manifest.schema_version));
        }
        let digest: [u8; 32] = Sha256::digest(onnx).into();
        let actual: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if actual != manifest.sha256 {
            return Err(ManifestError::DigestMismatch { expected: manifest.sha256, actual });
        }
        check_features("the manifest", expected_features, &manifest.features)?;
        manifest.policy()?;
        manifest.band()?;
        manifest.check_fields()?;
        manifest.check_reason_groups()?;
        Ok((manifest, digest))
    }

    /// The thresholds as a policy.
    pub fn policy(&self) -> Result<Policy, InvalidPolicy> {
        Policy::new(self.thresholds.block_above, self.thresholds.review_above)
    }

    /// The band that a guard watches.
    pub fn band(&self) -> Result<Band, ManifestError> {
        let GuardBand { window_seconds, minimum_users, block_rate_max, fallback: named } = &self.guard;
        let known = Fallback::ALL.into_iter().find(|fallback| fallback.as_str() == named);
        let fallback = known.ok_or_else(|| ManifestError::Field {
            field: "guard.fallback",
            expected: "most_suspicious, review or approve",
            actual: named.clone(),
        })?;
        Ok(Band::new(i64::from(*window_seconds) * 1000, *minimum_users as usize, *block_rate_max, fallback)?)
    }

    fn check_fields(&self) -> Result<(), ManifestError> {
        let field = |field, expected, actual: &dyn ToString| {
            Err(ManifestError::Field { field, expected, actual: actual.to_string() })
        };
        if !(1..=MODEL_VERSION_BYTES_MAX).contains(&self.model_version.len()) {
            return field("model_version", "1 to 16 bytes", &self.model_version);
        }
        if self.training_data_sha256.len() != 64
            || !self.training_data_sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return field("training_data_sha256", "64 hexadecimal digits", &self.training_data_sha256);
        }
        let Calibration { ece, mean_score, base_rate, .. } = self.calibration;
        for (name, value) in
            [("calibration.ece", ece), ("calibration.mean_score", mean_score), ("calibration.base_rate", base_rate)]
        {
            if !(0.0..=1.0).contains(&value) {
                return field(name, "0 to 1", &value);
            }
        }
        Ok(())
    }

    fn check_reason_groups(&self) -> Result<(), ManifestError> {
        let ungrouped = self.features.iter().find(|name| !self.reason_groups.contains_key(*name));
        let unknown = self.reason_groups.keys().find(|name| !self.features.contains(name));
        match ungrouped.or(unknown) {
            Some(name) => Err(ManifestError::ReasonGroup(name.clone())),
            None => Ok(()),
        }
    }
}

/// Both lists must be the same, in order.
pub(crate) fn check_features(place: &'static str, expected: &[&str], actual: &[String]) -> Result<(), ManifestError> {
    for (position, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        if expected != actual {
            let (expected, actual) = ((*expected).to_owned(), actual.clone());
            return Err(ManifestError::FeatureMismatch { place, position, expected, actual });
        }
    }
    if expected.len() != actual.len() {
        return Err(ManifestError::FeatureCount { place, expected: expected.len(), actual: actual.len() });
    }
    Ok(())
}
