//! From the start of a process to the loop that asks Lambda for work.

use std::fmt::Debug;
use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Instant;

use centinela_delivery::Causes;
use centinela_telemetry::emf::{self, Counts};
use centinela_wire::WireClient;
use lambda_runtime::{Config, Context, Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tracing::{error, info, warn};

use crate::invocation::{invalid, micros_since, now};
use crate::{Answer, ConfigError, Environment, Failure, Invocation, configure, runtime_api};

/// Where Lambda is asked for work: a host and a port. Emulators give a URL, whose path says which function asks; the lean loop has no use
/// for one.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
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
    let (client, host) = Box::pin(start::<F>(started))
        .await
        .inspect_err(|error| error!(error = &**error, "the function cannot start"))?;
    let is_restored = std::env::var(INITIALIZATION_TYPE).is_ok_and(|found| found == "snap-start");
    match std::env::var(RUNTIME_API) {
        Ok(authority) if !authority.contains('/') && client == WireClient::Lean && !is_restored => {
            let invoke = async |payload: &str, context: Context| {
                let body: Box<str> = host.invoke(payload, &context).await?.into();
                Ok::<_, Diagnostic>(String::from(body).into_bytes())
            };
            Box::pin(runtime_api::serve(&authority, Config::from_env(), invoke)).await
        }
        _ => {
            let host = &host;
            let invoke = |LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>| async move {
                host.invoke(payload.get(), &context).await
            };
            Box::pin(lambda_runtime::run(service_fn(invoke))).await
        }
    }
}

async fn start<F: Function>(started: Instant) -> Result<(WireClient, Host<F>), Error> {
    let (client, config) = configured::<F>(|name| std::env::var(name).ok())?;
    info!(?config, "starting");
    let function = F::connect(config).await?;
    Ok((client, Host { function, init_us: micros_since(started), warm: AtomicBool::new(false) }))
}

/// Which client asks Lambda for work, and what the function is told.
fn configured<F: Function>(lookup: impl Fn(&str) -> Option<String>) -> Result<(WireClient, F::Config), ConfigError> {
    configure(lookup, |environment| {
        let client = environment.wire_client();
        Some((client, F::configure(environment)?))
    })
}

/// A function between two invocations.
struct Host<F> {
    function: F,
    init_us: u64,
    warm: AtomicBool,
}

impl<F: Function> Host<F> {
    /// Handles an event and prints its metric line.
    async fn invoke(&self, payload: &str, context: &Context) -> Result<Box<RawValue>, Failure> {
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
        RawValue::from_string(body).map_err(invalid)
    }
}

/// In one write, so that no other line gets in between.
fn print(mut line: String) {
    line.push('\n');
    if let Err(error) = std::io::stdout().lock().write_all(line.as_bytes()) {
        warn!(error = %Causes(&error), "metrics were not printed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Counts for Nothing {
        const NAMES: &'static [&'static str] = &[];
        const ALWAYS: &'static [&'static str] = &[];

        fn values(&self) -> impl Iterator<Item = u64> {
            std::iter::empty()
        }
    }

    /// A function that asks nothing of DynamoDB or Kinesis, and so not for a client either.
    struct Deaf;

    impl Function for Deaf {
        type Config = String;
        type Counts = Nothing;

        fn configure(environment: &mut Environment<'_>) -> Option<String> {
            Some(environment.text("TABLE"))
        }

        async fn connect(_: String) -> Result<Self, Error> {
            Ok(Self)
        }

        async fn handle(&self, _: &Invocation<'_>) -> Result<Answer<Nothing>, Failure> {
            unreachable!("it is not started")
        }
    }

    #[test]
    fn every_function_refuses_a_client_that_nobody_knows() {
        let said = |client: Option<&'static str>| {
            configured::<Deaf>(move |name| if name == "WIRE_CLIENT" { client.map(str::to_owned) } else { None })
        };
        let problem = said(Some("leen")).unwrap_err().to_string();
        assert_eq!(problem, "invalid configuration: WIRE_CLIENT must be lean or sdk, not `leen`; TABLE is not set");
        for (client, expected) in
            [(None, WireClient::Lean), (Some("lean"), WireClient::Lean), (Some("sdk"), WireClient::Sdk)]
        {
            let told = configured::<Deaf>(move |name| {
                if name == "WIRE_CLIENT" { client.map(str::to_owned) } else { Some("table".to_owned()) }
            });
            assert_eq!(told, Ok((expected, "table".to_owned())), "{client:?}");
        }
    }
}
