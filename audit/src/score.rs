//! How good the scores were, where the truth is known.

use std::collections::BTreeMap;

use serde::Serialize;

/// Measures of the scores of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScoreMetrics {
    /// Labelled transactions with a decision.
    pub transactions: u64,
    /// Of these, fraud.
    pub frauds: u64,
    /// Share of fraud.
    pub base_rate: f64,
    /// Mean score: of a calibrated model, the base rate.
    pub score_mean: f64,
    /// Average precision; the base rate is what a coin would get.
    pub average_precision: f64,
    /// Area under the ROC curve; a coin gets 0.5.
    pub roc_auc: f64,
    /// Of the blocked transactions, the share that was fraud; none when nothing was blocked.
    pub blocked_precision: Option<f64>,
    /// Of the frauds, the share that was blocked.
    pub blocked_recall: f64,
}

/// Labelled transactions by score. Scores that differ by less than one part in two thousand count as one, so that memory does not grow
/// with the run.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    bins: BTreeMap<u32, Bin>,
    sum: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    genuine: u64,
    frauds: u64,
    blocked: u64,
    caught: u64,
}

/// Bits of a score that are left out: of the 23 after the point, 11 remain.
const BITS_LEFT_OUT: u32 = 12;

impl Scores {
    /// Counts a transaction; `score` is from 0 to 1.
    pub fn add(&mut self, score: f32, fraud: bool, blocked: bool) {
        // The bits of positive floats are in the order of the floats.
        let bin = self.bins.entry(score.max(0.0).to_bits() >> BITS_LEFT_OUT).or_default();
        if fraud {
            bin.frauds += 1;
        } else {
            bin.genuine += 1;
        }
        bin.blocked += u64::from(blocked);
        bin.caught += u64::from(blocked && fraud);
        self.sum += f64::from(score);
    }

    /// The measures; none without both frauds and genuine transactions.
    #[expect(clippy::cast_precision_loss, reason = "counts of transactions are far below 2^52")]
    pub fn measure(&self) -> Option<ScoreMetrics> {
        let all = |count: fn(&Bin) -> u64| self.bins.values().map(count).sum::<u64>();
        let (frauds, genuine) = (all(|bin| bin.frauds), all(|bin| bin.genuine));
        if frauds == 0 || genuine == 0 {
            return None;
        }
        let count = frauds + genuine;
        let (blocked, caught) = (all(|bin| bin.blocked), all(|bin| bin.caught));
        let (mut true_positives, mut seen) = (0u64, 0u64);
        let (mut average_precision, mut pairs) = (0.0, 0.0);
        // From the highest score down. Rows with the same score are one step: their order means nothing.
        for Bin { genuine: misses, frauds: hits, .. } in self.bins.values().rev().copied() {
            pairs += misses as f64 * (true_positives as f64 + hits as f64 / 2.0);
            true_positives += hits;
            seen += hits + misses;
            average_precision += hits as f64 / frauds as f64 * (true_positives as f64 / seen as f64);
        }
        Some(ScoreMetrics {
            transactions: count,
            frauds,
            base_rate: frauds as f64 / count as f64,
            score_mean: self.sum / count as f64,
            average_precision,
            roc_auc: pairs / (frauds as f64 * genuine as f64),
            blocked_precision: (blocked > 0).then(|| caught as f64 / blocked as f64),
            blocked_recall: caught as f64 / frauds as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(labelled: &[(f32, bool, bool)]) -> Option<ScoreMetrics> {
        let mut scores = Scores::default();
        labelled.iter().for_each(|(score, fraud, blocked)| scores.add(*score, *fraud, *blocked));
        scores.measure()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_perfect_order_scores_one_and_a_constant_scores_like_a_coin() {
        let perfect = measure(&[(0.9, true, true), (0.1, false, false), (0.2, false, false)]).unwrap();
        assert!(close(perfect.average_precision, 1.0) && close(perfect.roc_auc, 1.0));
        assert_eq!(perfect.blocked_precision, Some(1.0));
        let constant = measure(&[(0.5, true, false), (0.5, false, false), (0.5, false, false)]).unwrap();
        assert!(close(constant.average_precision, 1.0 / 3.0) && close(constant.roc_auc, 0.5));
        assert_eq!(constant.blocked_precision, None);
    }

    #[test]
    fn a_mixed_order_gives_the_textbook_figures() {
        // By hand: precision 1/1 at recall 1/2, 2/3 at recall 1; 3 of 4 pairs in the right order.
        let mixed = measure(&[(0.9, true, true), (0.8, false, true), (0.7, true, false), (0.1, false, false)]).unwrap();
        assert!(close(mixed.average_precision, 0.5 + 0.5 * 2.0 / 3.0), "{mixed:?}");
        assert!(close(mixed.roc_auc, 0.75), "{mixed:?}");
        assert!(close(mixed.blocked_recall, 0.5));
    }

    #[test]
    fn without_frauds_there_is_nothing_to_measure() {
        assert_eq!(measure(&[(0.5, false, false)]), None);
    }
}
