//! The Lambda host with real processes of a real `lambda_runtime` function.

mod api;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use centinela_local::lambda::{FunctionHost, FunctionSpec, HostError, InvokeError, LogStream, PAYLOAD_BYTES_MAX};
use serde_json::{Value, json};

const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture-function");

fn spec() -> FunctionSpec {
    FunctionSpec {
        name: "fixture".to_owned(),
        binary: FIXTURE.into(),
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        timeout: Duration::from_secs(20),
        memory_mb: 512,
        concurrency_max: 2,
        nice: 0,
    }
}

async fn host(spec: FunctionSpec) -> Arc<FunctionHost> {
    FunctionHost::start(spec).await.expect("the fixture can be hosted")
}

async fn invoke(host: &FunctionHost, event: Value) -> Result<Value, InvokeError> {
    let body = host.invoke(Bytes::from(event.to_string())).await?;
    Ok(serde_json::from_slice(&body).expect("the fixture answers JSON"))
}

async fn pid(host: &FunctionHost) -> u64 {
    invoke(host, json!({ "do": "sleep" })).await.expect("an answer")["pid"].as_u64().expect("a process id")
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn exists(pid: u64) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_the_function_comes_back() {
    let host = host(spec()).await;
    let answer = invoke(&host, json!({ "amount_minor": 1234 })).await.expect("an answer");
    assert_eq!(answer, json!({ "amount_minor": 1234 }));
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_lambdas_and_nothing_of_the_platforms_own() {
    let host = host(spec()).await;
    let variables = invoke(&host, json!({ "do": "environment" })).await.expect("an answer");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "fixture");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "512");
    assert_eq!(variables["AWS_LAMBDA_LOG_GROUP_NAME"], "/aws/lambda/fixture");
    assert_eq!(variables["TZ"], ":UTC");
    assert_eq!(variables["GREETING"], "hello");
    let known = ["AWS_", "LAMBDA_", "_HANDLER", "_X_AMZN", "TZ", "LANG", "PATH", "HOME", "GREETING"];
    let variables = variables.as_object().expect("an object");
    let leaked: Vec<&String> =
        variables.keys().filter(|name| !known.iter().any(|known| name.starts_with(known))).collect();
    assert!(leaked.is_empty(), "leaked into the function: {leaked:?}");
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_knows_its_request_and_its_deadline() {
    let host = host(spec()).await;
    let before_ms =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis() as u64;
    let first = invoke(&host, json!({ "do": "context" })).await.expect("an answer");
    let second = invoke(&host, json!({ "do": "context" })).await.expect("an answer");
    assert_eq!(first["arn"], host.arn());
    assert_ne!(first["request_id"], second["request_id"]);
    let left_ms = first["deadline_ms"].as_u64().expect("a deadline") - before_ms;
    assert!((20_000..25_000).contains(&left_ms), "{left_ms} ms left of a timeout of 20 s");
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_are_reused_and_never_more_than_the_concurrency() {
    let host = host(spec()).await;
    let invocations = (0..8).map(|_| {
        let host = Arc::clone(&host);
        tokio::spawn(async move { invoke(&host, json!({ "do": "sleep", "ms": 30 })).await.expect("an answer") })
    });
    for invocation in invocations.collect::<Vec<_>>() {
        invocation.await.expect("no panic");
    }
    let stats = host.stats();
    assert_eq!((stats.cold_starts, stats.invocations, stats.environments, stats.busy), (2, 8, 2, 0));
    assert_eq!((stats.init_ms.len(), stats.first_decision_ms.len()), (2, 2));
    assert!(stats.billed_ms >= 8 * 30, "billed {} ms", stats.billed_ms);
    assert!(stats.rss_mb_max > 0);
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_too_slow_is_killed_and_replaced() {
    let host = host(FunctionSpec { timeout: Duration::from_millis(300), ..spec() }).await;
    let slow = pid(&host).await;
    let outcome = invoke(&host, json!({ "do": "sleep", "ms": 60_000 })).await;
    assert!(matches!(outcome, Err(InvokeError::Timeout { .. })), "{outcome:?}");
    assert!(!exists(slow), "the slow process is still there");
    assert_ne!(pid(&host).await, slow);
    assert_eq!(host.stats().timeouts, 1);
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_is_told_with_the_last_words_and_the_next_invocation_works() {
    let host = host(spec()).await;
    let outcome = invoke(&host, json!({ "do": "crash" })).await;
    let Err(InvokeError::Crashed { status, last_words }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(status.code(), Some(7));
    assert!(last_words.contains("told to crash"), "{last_words}");
    pid(&host).await;
    assert_eq!((host.stats().crashes, host.stats().cold_starts), (1, 2));
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_function_keeps_its_environment() {
    let host = host(spec()).await;
    let before = pid(&host).await;
    for order in ["fail", "panic"] {
        let outcome = invoke(&host, json!({ "do": order })).await;
        let Err(InvokeError::Function { message, .. }) = outcome else { panic!("{outcome:?}") };
        assert!(message.contains(&format!("told to {order}")), "{message}");
    }
    assert_eq!(pid(&host).await, before);
    assert_eq!(host.stats().errors, 2);
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_does_not_start_says_why_and_is_not_started_in_a_loop() {
    for (init, words) in [("exit", "cannot reach the model"), ("report", "Fixture.NoModel: the model file is empty")] {
        let mut spec = spec();
        spec.environment.insert("FIXTURE_INIT".to_owned(), init.to_owned());
        let host = host(spec).await;
        let until = Instant::now() + Duration::from_millis(400);
        let mut attempts = 0_u64;
        while Instant::now() < until {
            let outcome = invoke(&host, json!({})).await;
            let Err(InvokeError::InitFailed { message }) = outcome else { panic!("{outcome:?}") };
            assert!(message.contains(words), "{message}");
            attempts += 1;
        }
        let starts = host.stats().cold_starts;
        assert!(starts <= 4 && starts < attempts, "{starts} starts for {attempts} attempts in 0.4 s");
        assert_eq!(host.stats().init_failures, starts);
        host.stop(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_binary_is_refused_before_anything_starts() {
    let outcome = FunctionHost::start(FunctionSpec { binary: "/nowhere/bootstrap".into(), ..spec() }).await;
    assert!(matches!(outcome, Err(HostError::BinaryMissing { .. })));
    let directory = FunctionHost::start(FunctionSpec { binary: "/".into(), ..spec() }).await;
    assert!(matches!(directory, Err(HostError::NotExecutable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn six_megabytes_are_the_limit_in_both_directions() {
    let host = host(spec()).await;
    let largest = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX - 2));
    let answer = host.invoke(Bytes::from(largest.clone())).await.expect("exactly the limit passes");
    assert_eq!(answer, largest);
    let outcome = host.invoke(Bytes::from(largest + " ")).await;
    assert!(matches!(outcome, Err(InvokeError::PayloadTooLarge { .. })), "{outcome:?}");
    let outcome = invoke(&host, json!({ "do": "big" })).await;
    assert!(matches!(outcome, Err(InvokeError::ResponseTooLarge | InvokeError::Crashed { .. })), "{outcome:?}");
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_that_the_function_prints_arrives() {
    let host = host(spec()).await;
    let mut logs = host.logs();
    invoke(&host, json!({ "do": "print" })).await.expect("an answer");
    let (mut metric, mut error) = (None, None);
    while metric.is_none() || error.is_none() {
        let line =
            tokio::time::timeout(Duration::from_secs(10), logs.recv()).await.expect("a line in time").expect("a line");
        match line.stream {
            LogStream::Stdout if line.text.contains("_aws") => metric = Some(line.text.clone()),
            LogStream::Stderr => error = Some(line.text.clone()),
            LogStream::Stdout => {}
        }
    }
    assert_eq!(metric.as_deref(), Some(r#"{"_aws":{"Timestamp":1},"handled":3}"#));
    assert_eq!(error.as_deref(), Some("a line on standard error"));
    assert_eq!(host.stats().log_lines_dropped, 0);
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cpu_time_of_dead_environments_stays_in_the_sum() {
    let host = host(spec()).await;
    let mut alive = Duration::ZERO;
    // A busy machine gives the function less than it asks for, so it asks until it has had enough.
    while alive < Duration::from_millis(100) {
        invoke(&host, json!({ "do": "burn", "ms": 100 })).await.expect("an answer");
        alive = host.stats().cpu_time;
        assert!(host.stats().invocations < 200, "{alive:?} after 200 times 100 ms of work");
    }
    assert_eq!(host.kill_all(), 1);
    until("the process is gone", || host.stats().environments == 0).await;
    assert!(host.stats().cpu_time >= alive, "{:?} of {alive:?} remain", host.stats().cpu_time);
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_idle_environment_is_replaced_without_an_error() {
    let host = host(spec()).await;
    let first = pid(&host).await;
    let environments = host.environments();
    assert_eq!(environments.len(), 1);
    assert!(!environments[0].busy);
    assert!(host.kill(environments[0].pid));
    until("the process is gone", || !exists(first)).await;
    until("the host knows", || host.environments().is_empty()).await;
    assert_ne!(pid(&host).await, first);
    assert!(!host.kill(environments[0].pid), "a dead environment cannot be killed");
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warming_starts_environments_before_the_first_invocation() {
    let host = host(spec()).await;
    host.warm(5).await.expect("the fixture starts");
    assert_eq!(host.environments().len(), 2);
    pid(&host).await;
    assert_eq!(host.stats().cold_starts, 2);
    host.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_a_busy_invocation_finish_and_leaves_no_process() {
    let host = host(FunctionSpec { concurrency_max: 1, ..spec() }).await;
    let process = pid(&host).await;
    let busy = tokio::spawn({
        let host = Arc::clone(&host);
        async move { invoke(&host, json!({ "do": "sleep", "ms": 400 })).await }
    });
    until("the environment is busy", || host.stats().busy == 1).await;
    let waiting = tokio::spawn({
        let host = Arc::clone(&host);
        async move { invoke(&host, json!({})).await }
    });
    host.stop(Duration::from_secs(10)).await;
    assert!(busy.await.expect("no panic").is_ok());
    let waiting = waiting.await.expect("no panic");
    assert!(matches!(waiting, Err(InvokeError::Stopped)), "{waiting:?}");
    assert!(!exists(process));
    let late = invoke(&host, json!({})).await;
    assert!(matches!(late, Err(InvokeError::Stopped)), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_kills_what_outlasts_the_grace_period() {
    let host = host(spec()).await;
    let process = pid(&host).await;
    let stuck = tokio::spawn({
        let host = Arc::clone(&host);
        async move { invoke(&host, json!({ "do": "burn", "ms": 15_000 })).await }
    });
    until("the environment is busy", || host.stats().busy == 1).await;
    let began = Instant::now();
    host.stop(Duration::from_millis(50)).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(!exists(process));
    assert!(stuck.await.expect("no panic").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_host_leaves_no_process() {
    let host = host(spec()).await;
    let process = pid(&host).await;
    drop(host);
    until("the process is gone", || !exists(process)).await;
}

/// When the platform dies without a chance to clean up, its Runtime API connections close; the function must not live on.
#[test]
fn a_function_whose_platform_died_exits_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut function = Command::new(FIXTURE)
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().expect("an address").to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "fixture")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "g")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "s")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the fixture starts");
    let (mut connection, _) = listener.accept().expect("the function asks for work");
    assert!(connection.read(&mut [0; 64]).expect("a request") > 0);
    drop((connection, listener));
    let deadline = Instant::now() + Duration::from_secs(10);
    let status = loop {
        match function.try_wait().expect("a child") {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        function.kill().expect("a child that lives");
        function.wait().expect("a child that ends");
    }
    assert!(status.is_some_and(|status| !status.success()), "the function outlived its platform");
}
