//! Why a score is high: path contributions, grouped into reason codes.
//!
//! Each split that a row passes moves the expected log-odds from the split's mean to the child's, weighted by the training rows
//! that went there (Saabas, "Interpreting random forests", 2014). The sum is exact; it is not a Shapley value, but grouped into
//! reason codes the first group agrees with TreeSHAP on the scores that matter.

use std::collections::BTreeMap;

/// The parts of one row's log-odds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributions {
    /// In the order of the model's features. They and the bias add up to the log-odds.
    pub per_feature: Vec<f32>,
    /// The log-odds before any feature is known.
    pub bias: f32,
    /// The log-odds of the served score.
    pub logit: f32,
}

/// A reason group that raised a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Place in the model's reason codes.
    pub code: usize,
    /// How much it raised the log-odds of fraud; above 0.
    pub contribution: f32,
}

/// Which reason code each feature stands for.
#[derive(Debug)]
pub(crate) struct ReasonGroups {
    codes: Vec<String>,
    code_of_feature: Vec<usize>,
}

impl ReasonGroups {
    /// `groups` names a code for every feature; a verified manifest does.
    pub(crate) fn new(features: &[String], groups: &BTreeMap<String, String>) -> Self {
        let mut codes: Vec<String> = Vec::new();
        let code_of_feature = features.iter().filter_map(|feature| groups.get(feature)).map(|name| {
            codes.iter().position(|code| code == name).unwrap_or_else(|| {
                codes.push(name.clone());
                codes.len() - 1
            })
        });
        let code_of_feature = code_of_feature.collect();
        Self { codes, code_of_feature }
    }

    pub(crate) fn codes(&self) -> &[String] {
        &self.codes
    }

    /// Sums what `attribute` reports by code and keeps the `k` largest that raised the score.
    pub(crate) fn top(&self, k: usize, attribute: impl FnOnce(&mut dyn FnMut(usize, f32))) -> Vec<Reason> {
        let mut sums = vec![0f32; self.codes.len()];
        attribute(&mut |feature, shift| sums[self.code_of_feature[feature]] += shift);
        let raised = sums.into_iter().enumerate().filter(|(_, contribution)| *contribution > 0.0);
        let mut reasons: Vec<Reason> = raised.map(|(code, contribution)| Reason { code, contribution }).collect();
        // Stable: ties stay in the order of the codes.
        reasons.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        reasons.truncate(k);
        reasons
    }
}
