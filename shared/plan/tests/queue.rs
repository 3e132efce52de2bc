//! The queueing model against what is known otherwise: theory where there is some, and measured runs.

use centinela_plan::queue::{CALLS, Prediction, Question, calls_mean_ms, fit, predict, question_of};
use centinela_plan::{Invocation, Measured};

const MEASURED: &str = include_str!("../../../infra/measured.json");

/// One record at a time, in one slot, always as long.
fn single(per_second: f64, takes_ms: f64) -> Question {
    Question {
        per_second,
        partitions: 1,
        pollers: 1,
        concurrency: 1,
        batch_max: 1,
        base_ms: takes_ms,
        record_ms: 0.0,
        call_ms_p50: 0.0,
        call_ms_p99: 0.0,
    }
}

fn near(found: f64, expected: f64, share: f64) -> bool {
    (found - expected).abs() <= expected * share
}

#[test]
fn without_batches_it_is_the_queue_of_pollaczek_and_khinchine() {
    // M/D/1: the mean number at work is the load, and half of the records find nobody before them at a load of one half.
    for load in [0.2, 0.5, 0.8] {
        let found = predict(&single(load * 100.0, 10.0));
        assert!(near(found.busy, load, 0.03), "{load}: {found:?}");
        assert!(near(found.invocations_per_second, load * 100.0, 0.03), "{load}: {found:?}");
        assert!(near(found.batch, 1.0, 1e-9) && near(found.invocation_ms, 10.0, 1e-6), "{load}: {found:?}");
    }
    // Half of the records find the slot free and take 10 ms, so the median lies just above.
    let half = predict(&single(50.0, 10.0));
    assert!((9.99..12.0).contains(&half.latency_ms_p50), "{half:?}");
    // The wait's tail is 0.66 exp(-0.1256 t): 0.1256 solves 0.05 (exp(10 x) - 1) = x. One in a hundred waits 33.4 ms, and is served for 10.
    assert!(near(half.latency_ms_p99, 43.4, 0.08), "{half:?}");
}

#[test]
fn when_slots_never_rest_a_batch_is_what_arrives_meanwhile() {
    let question = Question {
        per_second: 5_000.0,
        partitions: 100,
        pollers: 1,
        concurrency: 5,
        batch_max: 1_000,
        base_ms: 20.0,
        record_ms: 0.1,
        call_ms_p50: 0.0,
        call_ms_p99: 0.0,
    };
    let found = predict(&question);
    // Five records a millisecond, five slots: n = 20 + 0.1 n.
    assert!(near(found.batch, 20.0 / 0.9, 0.05), "{found:?}");
    assert!(found.busy > 0.98 && found.keeps_up, "{found:?}");
}

#[test]
fn records_are_conserved_and_more_slots_make_smaller_batches() {
    let at = |concurrency: u32| {
        predict(&Question {
            per_second: 1_667.0,
            partitions: 10,
            pollers: 2,
            concurrency,
            batch_max: 100,
            base_ms: 5.0,
            record_ms: 0.15,
            call_ms_p50: 5.0,
            call_ms_p99: 12.0,
        })
    };
    let mut last: Option<Prediction> = None;
    for concurrency in [2, 4, 10] {
        let found = at(concurrency);
        assert!(near(found.batch * found.invocations_per_second, 1_667.0, 0.03), "{found:?}");
        if let Some(last) = last {
            assert!(found.batch < last.batch && found.latency_ms_p99 < last.latency_ms_p99, "{last:?} then {found:?}");
        }
        last = Some(found);
    }
    assert_eq!(at(10), at(10), "the same question has the same answer");
}

/// With a backlog every slot must have something to do: one batch that takes a little of each partition would lock them all.
#[test]
fn a_busy_poller_uses_all_its_slots() {
    let question = Question {
        per_second: 3_800.0,
        partitions: 10,
        pollers: 1,
        concurrency: 5,
        batch_max: 100,
        base_ms: 9.1,
        record_ms: 0.23,
        call_ms_p50: 5.0,
        call_ms_p99: 12.0,
    };
    let found = predict(&question);
    assert!(found.busy > 0.9 && found.latency_ms_p99 < 250.0, "{found:?}");
    assert!(near(found.batch * found.invocations_per_second, 3_800.0, 0.03), "{found:?}");
}

#[test]
fn a_load_above_the_capacity_is_said_to_be_none_that_it_keeps_up_with() {
    let question = single(120.0, 10.0);
    assert!(near(question.capacity(), 100.0, 1e-9));
    assert!(!predict(&question).keeps_up);
    assert!(predict(&single(90.0, 10.0)).keeps_up);
}

#[test]
fn odd_questions_are_answered_without_a_panic() {
    for per_second in [0.0, f64::NAN, f64::INFINITY, -1.0, 1e12] {
        for partitions in [0, 1, 1_000] {
            let question =
                Question { per_second, partitions, pollers: 0, concurrency: 0, batch_max: 0, ..single(1.0, 0.0) };
            let found = predict(&question);
            assert_eq!(found.slots, 1);
        }
    }
}

#[test]
fn the_line_through_the_runs_is_found_again() {
    let measured = Measured::from_json(MEASURED).expect("it ships");
    let invocation = Invocation { base_ms: 4.0, record_ms: 0.2, cpu_base_ms: 1.0, cpu_record_ms: 0.05 };
    let mut runs = measured.runs.clone();
    for run in &mut runs {
        run.invocation_ms = question_of(run, invocation, 100).mean_ms(run.batch);
        run.cpu_ms = 1.0 + 0.05 * run.batch;
    }
    let found = fit(&runs, measured.invocation).expect("there are runs");
    assert!(near(found.base_ms, 4.0, 1e-6) && near(found.record_ms, 0.2, 1e-6), "{found:?}");
    assert!(near(found.cpu_base_ms, 1.0, 1e-6) && near(found.cpu_record_ms, 0.05, 1e-6), "{found:?}");
    // One run says how long an invocation is, not what of it is the record's.
    let one = fit(&runs[1..], invocation).expect("there is a run");
    assert!(near(one.record_ms, 0.2, 1e-9) && near(one.base_ms, 4.0, 1e-6), "{one:?}");
    assert!(fit(&[], invocation).is_err());
}

/// The runs that ship, with their own fit. The model counts to the end of an invocation; a decision is out before, for the brokers of a laptop
/// have it long before the stream has answered, whose call is as slow as in AWS.
#[test]
fn the_model_says_what_was_measured() {
    let measured = Measured::from_json(MEASURED).expect("it ships");
    let invocation = fit(&measured.runs, measured.invocation).expect("there are runs");
    for run in &measured.runs {
        let found = predict(&question_of(run, invocation, 100));
        let stream_ms = calls_mean_ms(run.call_ms[0], run.call_ms[1]) / f64::from(CALLS);
        assert!(near(found.batch, run.batch, 0.15), "batch of {run:?}: {found:?}");
        assert!(near(found.latency_ms_p50 - stream_ms, run.latency_ms[0], 0.1), "median of {run:?}: {found:?}");
        assert!(near(found.latency_ms_p99 - stream_ms, run.latency_ms[1], 0.1), "99 % of {run:?}: {found:?}");
    }
}
