//! Prints what one row costs, with our tree evaluator and with tract's own, in one run.
//!
//! `cargo run --release --example score_cost`

#![expect(clippy::print_stdout, reason = "a report for the terminal")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use centinela_domain::FeatureVector;
use centinela_inference::Model;
use tract_onnx::prelude::*;

/// Time spent per measurement; the best of three counts.
const MEASUREMENT: Duration = Duration::from_millis(150);

const ONNX: &[u8] = include_bytes!("../../../model/artifacts/current/model.onnx");

fn main() -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let model = Model::bundled(&FeatureVector::NAMES)?;
    println!("model {}, loaded in {:.1} ms", model.manifest().model_version, started.elapsed().as_secs_f64() * 1e3);
    let stock = stock_plan(model.n_features())?;

    println!("{:>6} {:>12} {:>12} {:>8} {:>12}", "rows", "ours us/row", "tract us/row", "ratio", "reasons us");
    for n_rows in [1, 8, 100, 1000] {
        let rows = rows(n_rows, model.n_features());
        let ours = cost_us(n_rows, || model.score(&rows, n_rows).map(drop))?;
        let tracts = cost_us(n_rows, || {
            let input = Tensor::from_shape(&[n_rows, model.n_features()], &rows)?;
            stock.run(tvec!(input.into_tvalue())).map(drop)
        })?;
        let mut contributions = vec![0f32; model.n_features()];
        let reasons = cost_us(n_rows, || {
            rows.chunks_exact(model.n_features())
                .try_for_each(|row| model.explain_into(row, black_box(&mut contributions)).map(drop))
        })?;
        println!("{n_rows:>6} {ours:>12.2} {tracts:>12.1} {:>7.0}x {reasons:>12.2}", tracts / ours);
    }
    Ok(())
}

/// The same graph with nothing replaced.
fn stock_plan(n_features: usize) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = tract_onnx::onnx().model_for_read(&mut &ONNX[..])?;
    let rows = model.symbols.sym("rows");
    model.set_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), [rows.into(), n_features.to_dim()]))?;
    model.select_outputs_by_name(["probabilities"])?;
    model.into_optimized()?.into_runnable()
}

/// Rows that take many different paths, some values missing.
fn rows(n_rows: usize, n_features: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..n_rows * n_features).map(|_| if next() < 0.05 { f32::NAN } else { next() * 10.0 }).collect()
}

/// Microseconds per row: the best of three measurements.
fn cost_us<E>(n_rows: usize, mut work: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let started = Instant::now();
        let mut runs = 0;
        while started.elapsed() < MEASUREMENT {
            work()?;
            runs += 1;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e6 / f64::from(runs) / n_rows as f64);
    }
    Ok(best)
}
