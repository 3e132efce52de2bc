//! The replaced evaluator: equal to a plain walk and to tract's own, bit for bit, whatever the trees and the batch.

use centinela_inference::Model;

use crate::forge::{Dice, ForgedTree, forge, forged_features, manifest_for, random_rows, stock_scores};

const N_FEATURES: usize = 5;

fn random_model(seed: u64) -> (Vec<ForgedTree>, Vec<u8>, Model, Dice) {
    let mut dice = Dice(seed);
    let n_trees = 1 + dice.below(12);
    let depth = dice.below(8);
    let trees: Vec<_> = (0..n_trees).map(|_| ForgedTree::random(&mut dice, depth, N_FEATURES)).collect();
    let onnx = forge(&trees, N_FEATURES);
    let features = forged_features(N_FEATURES);
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    let model =
        Model::load(&onnx, &manifest_for(&onnx, &features), &features).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    (trees, onnx, model, dice)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn random_forests_score_like_tracts_own_evaluator_bit_for_bit() {
    for seed in 0..150 {
        let (_, onnx, model, mut dice) = random_model(seed);
        let n_rows = 1 + dice.below(40);
        let rows = random_rows(&mut dice, n_rows, N_FEATURES);
        let scores = model.score(&rows, n_rows).unwrap();
        assert_eq!(bits(&scores), bits(&stock_scores(&onnx, &rows, N_FEATURES)), "seed {seed}");
    }
}

#[test]
fn the_log_odds_are_the_sum_of_the_leaves_that_a_plain_walk_finds() {
    for seed in 1000..1300 {
        let (trees, _, model, mut dice) = random_model(seed);
        let rows = random_rows(&mut dice, 30, N_FEATURES);
        let scores = model.score(&rows, 30).unwrap();
        for (row, score) in rows.chunks_exact(N_FEATURES).zip(scores) {
            let expected = trees.iter().fold(0f32, |sum, tree| sum + tree.walk(row));
            assert_eq!(model.explain(row).unwrap().logit.to_bits(), expected.to_bits(), "seed {seed}, row {row:?}");
            let probability = 1.0 / (1.0 + (-expected).exp());
            assert!((score - probability).abs() < 1e-6, "seed {seed}, row {row:?}: {score} for log-odds {expected}");
        }
    }
}

#[test]
fn what_moved_a_score_is_found_with_it_as_it_is_found_alone() {
    for seed in 3000..3150 {
        let (_, _, model, mut dice) = random_model(seed);
        let n_rows = 1 + dice.below(20);
        let rows = random_rows(&mut dice, n_rows, N_FEATURES);
        let found = model.score_with(&rows, n_rows, |score, shifts| (score, bits(shifts))).unwrap();
        let alone = rows.chunks_exact(N_FEATURES).map(|row| {
            let shifts = bits(&model.explain(row).unwrap().per_feature);
            (model.score(row, 1).unwrap()[0], shifts)
        });
        assert_eq!(found, alone.collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_rows_score_does_not_depend_on_its_batch() {
    for seed in 2000..2030 {
        let (_, _, model, mut dice) = random_model(seed);
        let rows = random_rows(&mut dice, 41, N_FEATURES);
        let together = model.score(&rows, 41).unwrap();
        for n_rows in [1, 2, 7, 8, 9, 17] {
            let apart: Vec<f32> = rows
                .chunks(N_FEATURES * n_rows)
                .flat_map(|part| model.score(part, part.len() / N_FEATURES).unwrap())
                .collect();
            assert_eq!(bits(&apart), bits(&together), "seed {seed}, batches of {n_rows}");
        }
    }
}

#[test]
fn one_model_scores_from_many_threads() {
    let (_, _, model, mut dice) = random_model(7);
    let rows = random_rows(&mut dice, 100, N_FEATURES);
    let expected = model.score(&rows, 100).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(bits(&model.score(&rows, 100).unwrap()), bits(&expected)));
        }
    });
}

#[test]
fn rows_of_another_width_are_refused_and_no_rows_are_no_scores() {
    let (_, _, model, _) = random_model(7);
    assert!(model.score(&[], 0).unwrap().is_empty());
    for (values, n_rows) in [(4, 1), (6, 1), (10, 1), (5, 2), (0, 1), (5, usize::MAX)] {
        let error = model.score(&vec![0.0; values], n_rows).unwrap_err();
        assert!(error.to_string().contains(&format!("got {values}")), "{error}");
    }
    assert!(model.explain(&[0.0; 4]).is_err());
    assert!(model.top_reasons(&[0.0; 6], 3).is_err());
}
