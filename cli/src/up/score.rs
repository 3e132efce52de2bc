//! How good the scores were, where the truth is known.

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

/// Measures score, truth and whether it was blocked; none without both frauds and genuine transactions.
#[expect(clippy::cast_precision_loss, reason = "counts of transactions are far below 2^52")]
pub fn measure(mut labelled: Vec<(f32, bool, bool)>) -> Option<ScoreMetrics> {
    let count = labelled.len() as u64;
    let frauds = labelled.iter().filter(|(_, fraud, _)| *fraud).count() as u64;
    let genuine = count - frauds;
    if frauds == 0 || genuine == 0 {
        return None;
    }
    let blocked = labelled.iter().filter(|(_, _, blocked)| *blocked).count() as u64;
    let caught = labelled.iter().filter(|(_, fraud, blocked)| *fraud && *blocked).count() as u64;
    let score_sum: f64 = labelled.iter().map(|(score, _, _)| f64::from(*score)).sum();
    labelled.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut true_positives, mut seen) = (0u64, 0u64);
    let (mut average_precision, mut pairs) = (0.0, 0.0);
    // Rows with the same score are one step: their order means nothing.
    for step in labelled.chunk_by(|a, b| a.0.to_bits() == b.0.to_bits()) {
        let hits = step.iter().filter(|(_, fraud, _)| *fraud).count() as u64;
        let misses = step.len() as u64 - hits;
        pairs += misses as f64 * (true_positives as f64 + hits as f64 / 2.0);
        true_positives += hits;
        seen += step.len() as u64;
        average_precision += hits as f64 / frauds as f64 * (true_positives as f64 / seen as f64);
    }
    Some(ScoreMetrics {
        transactions: count,
        frauds,
        base_rate: frauds as f64 / count as f64,
        score_mean: score_sum / count as f64,
        average_precision,
        roc_auc: pairs / (frauds as f64 * genuine as f64),
        blocked_precision: (blocked > 0).then(|| caught as f64 / blocked as f64),
        blocked_recall: caught as f64 / frauds as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_perfect_order_scores_one_and_a_constant_scores_like_a_coin() {
        let perfect = measure(vec![(0.9, true, true), (0.1, false, false), (0.2, false, false)]).unwrap();
        assert!(close(perfect.average_precision, 1.0) && close(perfect.roc_auc, 1.0));
        assert_eq!(perfect.blocked_precision, Some(1.0));
        let constant = measure(vec![(0.5, true, false), (0.5, false, false), (0.5, false, false)]).unwrap();
        assert!(close(constant.average_precision, 1.0 / 3.0) && close(constant.roc_auc, 0.5));
        assert_eq!(constant.blocked_precision, None);
    }

    #[test]
    fn a_mixed_order_gives_the_textbook_figures() {
        // By hand: precision 1/1 at recall 1/2, 2/3 at recall 1; 3 of 4 pairs in the right order.
        let mixed =
            measure(vec![(0.9, true, true), (0.8, false, true), (0.7, true, false), (0.1, false, false)]).unwrap();
        assert!(close(mixed.average_precision, 0.5 + 0.5 * 2.0 / 3.0), "{mixed:?}");
        assert!(close(mixed.roc_auc, 0.75), "{mixed:?}");
        assert!(close(mixed.blocked_recall, 0.5));
    }

    #[test]
    fn without_frauds_there_is_nothing_to_measure() {
        assert_eq!(measure(vec![(0.5, false, false)]), None);
    }
}
