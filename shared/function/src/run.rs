//! From the start of a process to the loop that asks Lambda for work.

use std::fmt::Debug;
use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use centinela_delivery::Causes;
use centinela_telemetry::emf::{self, Counts};
use lambda_runtime::{Config, Context, Diagnostic, Error, LambdaEvent, service_fn};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use tracing::{error, info, warn};

use crate::invocation::{invalid, micros_since, now};
use crate::{Answer, Environment, Failure, Invocation, configure, runtime_api};

/// Where Lambda is asked for work: a host and a port. Emulators give a URL, whose path says which function asks; the lean loop has no use
/// for one.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// Which client asks: the lean one, unless this says `sdk`.
const WIRE_CLIENT: &str = "WIRE_CLIENT";
/// Set where an environment is a restored snapshot, which the lean loop knows nothing of.
const INITIALIZATION_TYPE: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// A function of ours, ready for invocations.
pub trait Function: Sized {
    /// What it is told by its environment. Printed at the start, so it must not print a secret.
    type Config: Debug;
    /// What it counts.
    type Counts: Counts;

    /// Reads the environment, and notes every problem there; `None` when it cannot go on.
    fn configure(environment: &mut Environment<'_>) -> Option<Self::Config>;

    /// Makes every client and warms it.
    fn connect(config: Self::Config) -> impl Future<Output = Result<Self, Error>>;

    /// Handles one event.
    fn handle(&self, invocation: &Invocation<'_>) -> impl Future<Output = Result<Answer<Self::Counts>, Failure>>;
}

/// Starts a function and gives it events for as long as there are any.
///
/// # Errors
/// When it cannot start, or Lambda cannot be asked.
pub async fn run<F: Function>() -> Result<(), Error> {
    let started = Instant::now();
    centinela_telemetry::init()?;
    let host = Box::pin(start::<F>(started))
        .await
        .inspect_err(|error| error!(error = &**error, "the function cannot start"))?;
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|found| found == value);
    match std::env::var(RUNTIME_API) {
        Ok(authority)
            if !authority.contains('/') && !is(WIRE_CLIENT, "sdk") && !is(INITIALIZATION_TYPE, "snap-start") =>
        {
            let invoke = async |payload: &str, context: Context| {
                let body = host.invoke(payload, &context).await?;
                Ok::<_, Diagnostic>(body.into_bytes())
            };
            Box::pin(runtime_api::serve(&authority, Config::from_env(), invoke)).await
        }
        _ => {
            let host = &host;
            let invoke = |LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>| async move {
                let body = host.invoke(payload.get(), &context).await?;
                RawValue::from_string(body).map_err(invalid)
            };
            Box::pin(lambda_runtime::run(service_fn(invoke))).await
        }
    }
}

async fn start<F: Function>(started: Instant) -> Result<Host<F>, Error> {
    let config = configure(|name| std::env::var(name).ok(), F::configure)?;
    info!(?config, "starting");
    let function = F::connect(config).await?;
    Ok(Host { function, init_us: micros_since(started), warm: AtomicBool::new(false) })
}

/// A function between two invocations.
struct Host<F> {
    function: F,
    init_us: u64,
    warm: AtomicBool,
}

impl<F: Function> Host<F> {
    /// Handles an event and prints its metric line. The answer is JSON.
    async fn invoke(&self, payload: &str, context: &Context) -> Result<String, Failure> {
        let started = Instant::now();
        let is_first = !self.warm.swap(true, Ordering::Relaxed);
        let oldest = AtomicI64::new(i64::MAX);
        let invocation = Invocation { payload, context, started, is_first, oldest };
        let Answer { body, metrics } = self.function.handle(&invocation).await?;
        let body = String::from_utf8(body).unwrap_or_else(|bytes| String::from_utf8_lossy(bytes.as_bytes()).into());
        let invocation = emf::Invocation {
            function: &context.env_config.function_name,
            request_id: &context.request_id,
            at_ms: now().0,
            total_us: micros_since(started),
            init_us: is_first.then_some(self.init_us),
            oldest_record_ms: invocation.oldest_record_ms(),
        };
        print(emf::line(&invocation, &metrics));
        serde_json::from_str::<IgnoredAny>(&body).map_err(invalid)?;
        Ok(body)
    }
}

/// In one write, so that no other line gets in between.
fn print(mut line: String) {
    line.push('\n');
    if let Err(error) = std::io::stdout().lock().write_all(line.as_bytes()) {
        warn!(error = %Causes(&error), "metrics were not printed");
    }
}
