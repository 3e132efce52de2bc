//! From a score to an outcome.

use crate::decision::Outcome;

/// Score thresholds. Invariant: `0 <= review_above <= block_above <= 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    block_above: f32,
    review_above: Option<f32>,
}

/// Thresholds that make no sense together.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq)]
#[error(
    "thresholds must satisfy 0 <= review_above <= block_above <= 1, got review_above {review_above:?} and block_above {block_above}"
)]
pub struct InvalidPolicy {
    block_above: f32,
    review_above: Option<f32>,
}

impl Policy {
    /// Checks the thresholds.
    pub fn new(block_above: f32, review_above: Option<f32>) -> Result<Self, InvalidPolicy> {
        let sane = (0.0..=1.0).contains(&block_above)
            && review_above.is_none_or(|review| (0.0..=block_above).contains(&review));
        if sane { Ok(Self { block_above, review_above }) } else { Err(InvalidPolicy { block_above, review_above }) }
    }

    /// A score above a threshold crosses it; the threshold itself does not.
    pub fn decide(&self, score: f32) -> Outcome {
        if score > self.block_above { Outcome::Blocked } else { self.short_of_blocking(score) }
    }

    /// The answer if nothing were blocked: for a person where there is such a band, approved otherwise.
    pub fn short_of_blocking(&self, score: f32) -> Outcome {
        match self.review_above {
            Some(review_above) if score > review_above => Outcome::Review,
            _ => Outcome::Approved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_threshold_itself_is_approved_and_one_step_above_is_blocked() {
        let policy = Policy::new(0.8, None).unwrap();
        assert_eq!(policy.decide(0.8), Outcome::Approved);
        assert_eq!(policy.decide(0.8f32.next_up()), Outcome::Blocked);
    }

    #[test]
    fn thresholds_in_the_wrong_order_are_refused() {
        assert!(Policy::new(0.5, Some(0.6)).is_err());
        assert!(Policy::new(f32::NAN, None).is_err());
        assert!(Policy::new(1.5, None).is_err());
    }

    proptest! {
        #[test]
        fn a_higher_score_never_gets_a_milder_outcome(a in 0f32..=1.0, b in 0f32..=1.0, x in 0f32..=1.0, y in 0f32..=1.0) {
            let policy = Policy::new(x.max(y), Some(x.min(y))).unwrap();
            prop_assert!(policy.decide(a.min(b)) <= policy.decide(a.max(b)));
        }
    }
}
