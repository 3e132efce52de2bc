//! The functions of a platform: how many environments each may have here, and how it is started.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use centinela_infra::{Function, Infrastructure, Mapping};
use centinela_lambda_host::{FunctionHost, FunctionSpec};

use super::config::PlatformConfig;
use super::error::PlatformError;
use super::http_front;
use super::servers::Services;

/// Processors for each environment of a function for whose answer somebody waits: the brokers and the database need the others. A batch
/// is what came during the last invocations, so fewer environments make fewer and larger ones, which cost less and on two processors wait
/// no longer.
const PROCESSORS_PER_ENVIRONMENT: usize = 2;
/// Environments beyond one per processor where they are to overlap: somebody waits for the database while the others compute. More of
/// them only compete, and lose races to each other while a backlog is worked off.
const ENVIRONMENTS_MORE: usize = 1;
/// Least time from one batch of more than two records to the next for such a function, where calls are as fast as this machine. In AWS a
/// mapping has five slots whose invocations take 20 ms and more, so it begins one every 4 ms at the most; without a pace a laptop, which
/// answers in a tenth of that, would cut the same stream into many more and smaller batches than AWS does, and pay for each.
pub(super) const PACE: Duration = Duration::from_millis(4);
/// Environments of a function that reserves no concurrency.
const CONCURRENCY_DEFAULT: usize = 4;
/// Environments of a function for whose answer nobody waits. In AWS it has processors of its own.
const BACKGROUND_ENVIRONMENTS: usize = 2;
/// How far such a function steps back from those for whose answer somebody waits.
const BACKGROUND_NICE: i32 = 10;
/// The AWS SDK puts its value into the user agent of every request, as `app/NAME`, so that a proxy knows who asks.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-appid.html>
const APP_ID: &str = "AWS_SDK_UA_APP_ID";

/// Memory that comes with a whole processor. <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>
const MEMORY_OF_A_PROCESSOR_MB: u32 = 1_769;

/// Whether somebody waits for what the function does: its mapping hands records over at once instead of gathering them, and it has the
/// memory that comes with a processor.
pub(super) fn is_waited_for(infrastructure: &Infrastructure, function: &Function) -> bool {
    let at_once = |mapping: &Mapping| mapping.function == function.name && mapping.window.is_zero();
    function.memory_mb >= MEMORY_OF_A_PROCESSOR_MB && infrastructure.mappings.iter().any(at_once)
}

/// Whether the mappings of functions that are waited for keep to [`PACE`]: where nothing else is slow, or wanted at the same time.
pub(super) fn is_paced(config: &PlatformConfig) -> bool {
    config.latency.is_none() && !config.overlapping && !config.unpaced
}

/// Starts a function, with one environment that is warm: what does not start is known before anything is sent.
pub(super) async fn start(
    config: &PlatformConfig,
    services: &Services,
    function: &Function,
) -> Result<Arc<FunctionHost>, PlatformError> {
    let mut environment = function.environment.clone();
    environment.extend(services.environment());
    environment.insert(APP_ID.to_owned(), function.name.clone());
    let waited_for = is_waited_for(&config.infrastructure, function);
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let useful = if !waited_for {
        BACKGROUND_ENVIRONMENTS
    } else if config.latency.is_some() {
        // With calls as slow as in AWS an environment mostly waits.
        usize::MAX
    } else if config.overlapping {
        processors + ENVIRONMENTS_MORE
    } else {
        (processors / PROCESSORS_PER_ENVIRONMENT).max(1)
    };
    let reserved = function.reserved_concurrency.map_or(CONCURRENCY_DEFAULT, |reserved| reserved as usize);
    // It mostly waits for a decision that another function makes, and its callers wait too.
    let is_asked = http_front::is_asked(&config.infrastructure, &function.name);
    let useful = if is_asked { usize::MAX } else { useful };
    let host = FunctionHost::start(FunctionSpec {
        name: function.name.clone(),
        binary: config.binaries.join(&function.binary),
        environment,
        timeout: function.timeout,
        memory_mb: function.memory_mb,
        concurrency_max: config.environments.unwrap_or(reserved.min(useful)),
        nice: if waited_for || is_asked { 0 } else { BACKGROUND_NICE },
    })
    .await?;
    let started = host.warm(1).await;
    started.map_err(|source| PlatformError::Start { function: function.name.clone(), source })?;
    Ok(host)
}
