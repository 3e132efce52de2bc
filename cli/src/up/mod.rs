//! `centinela up`: starts the platform, sends traffic, shows it, and reconciles every record.

mod blocked;
mod calls;
mod endpoints;
mod files;
mod function_logs;
mod live;
mod names;
mod observed;
mod pacing;
mod past;
mod report_text;
mod run;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use centinela_audit::chaos::{Chaos, Course};
use centinela_infra::Infrastructure;
use centinela_local::aws::{AwsAccess, Latency};
use centinela_local::platform::{Platform, PlatformConfig, Ports, Servers};
use centinela_local::{Calls, ServerError};

use crate::args::{self, Up};
use crate::aws_credentials;
use crate::failure::Failure;
use crate::function_build;
use crate::interrupt::Interrupt;
use crate::open_files;
use crate::terminal;
use crate::traffic::Source;
use crate::traffic::producer::Pace;
use calls::Recording;
use names::default_currency;
use past::Seeds;
use run::{Finished, Run};

/// The environment whose parameters one machine runs with.
const ENVIRONMENT: &str = "local";
/// Undecided records at most when a file is sent as fast as it goes.
const WINDOW_RECORDS: u64 = 4_000;
/// How long invocations in progress may run on once everything is handled.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Runs the platform until it is told to stop.
///
/// # Errors
/// When the request makes no sense, something does not start, or the report is not clean.
pub async fn run(mut arguments: Up, interrupt: Interrupt) -> Result<(), Failure> {
    let pace = check(&arguments)?;
    if arguments.backlog.is_some() {
        // It is to show what the scoring function can do; what else there is takes its share of the machine.
        arguments.traffic.actions.get_or_insert(0.0);
        arguments.traffic.labels.get_or_insert(0.0);
    }
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    open_files::raise(arguments.environments.map_or(processors as u64 + 1, u64::from))?;
    let mut infrastructure = infrastructure(arguments.infra.as_deref())?;
    tell_functions(&arguments, &mut infrastructure)?;
    let source = match pace {
        None => None,
        Some(_) => {
            let mut source =
                Source::open_unless(&arguments.traffic, default_currency(&infrastructure), &interrupt).await?;
            if [&arguments.kafka, &arguments.dynamodb, &arguments.aws_endpoint].into_iter().any(Option::is_some) {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                source.mark(&format!("{:x}", since.as_millis()));
            }
            Some(source)
        }
    };
    // Before the past, which takes a while: what cannot be meant is said at once.
    let servers = servers(&arguments)?;
    let (source, seeds) = tokio::select! {
        lived = past::live_through(&arguments, source, &infrastructure) => lived?,
        () = interrupt.finish.cancelled() => return Err(Failure::Interrupted),
    };
    let chaos = chaos(&arguments, source.as_ref());
    let recording = Recording::new(arguments.calls.as_ref(), &infrastructure);
    let platform = tokio::select! {
        // In this order: a build that is interrupted ends its compilers before it is dropped.
        biased;
        started = start(&arguments, pace, infrastructure, servers, seeds, (chaos.as_ref(), &recording.calls), &interrupt) => started?,
        () = interrupt.finish.cancelled() => return Err(Failure::Interrupted),
    };
    // From here on an interrupt finishes the run; a second one drops it, and with it every process.
    let finished = tokio::select! {
        finished = attend(&arguments, platform, source.zip(pace), chaos, &interrupt) => finished,
        () = interrupt.stop.cancelled() => return Err(Failure::Interrupted),
    };
    let Finished { report, failure } = finished?;
    recording.write()?;
    if !arguments.quiet {
        terminal::print(&report_text::of(&report));
        // A report that is not whole has no units to go by.
        if report.is_whole && report.records.decided > 0 {
            terminal::print(&crate::plan::usd::line(&report));
        }
    }
    if let Some(path) = &arguments.summary {
        endpoints::write_json(path, &report)
            .map_err(|error| Failure::Failed(format!("the report cannot be written to {}: {error}", path.display())))?;
    }
    match report.fault() {
        Some(fault) => Err(Failure::NotClean(fault)),
        None => failure.map_or(Ok(()), Err),
    }
}

/// Refuses what makes no sense, before anything is started; returns the pace, or none when nothing is sent.
fn check(arguments: &Up) -> Result<Option<Pace>, Failure> {
    let traffic = &arguments.traffic;
    let refuse = |line: &str| Err(Failure::Usage(line.to_owned()));
    if traffic.rate == Some(0.0) && traffic.input.is_some() {
        return refuse("--rate 0 sends nothing, so --input has no use; leave one of them out");
    }
    if arguments.kill.is_some() && traffic.duration.is_none() && traffic.input.is_none() {
        return refuse("--kill spaces its kills over the run, so the run needs an end; add --for or --input");
    }
    let ports = [
        ("kafka", arguments.kafka_port),
        ("dynamodb", arguments.dynamodb_port),
        ("s3", arguments.s3_port),
        ("kinesis", arguments.kinesis_port),
        ("lambda", arguments.lambda_port),
        ("the HTTP API", arguments.api_port),
        ("the page of metrics", arguments.metrics_port),
    ];
    let named: Vec<u16> = ports.iter().filter_map(|(_, port)| *port).filter(|port| *port != 0).collect();
    if let Some(twice) =
        named.iter().enumerate().find_map(|(index, port)| named[..index].contains(port).then_some(port))
    {
        return Err(Failure::Usage(format!("port {twice} is asked for twice; every service needs its own")));
    }
    for (service, port) in ports {
        if let Some(port) = port.filter(|port| *port != 0)
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
        {
            return Err(Failure::usage(&ServerError::PortTaken { service, port }));
        }
    }
    arguments.check().map_err(|error| Failure::usage(&error))?;
    files::check(arguments)?;
    if arguments.backlog.is_some() {
        return Ok(Some(Pace::Window(u64::MAX)));
    }
    Ok(match traffic.rate {
        Some(0.0) if arguments.burst.is_some() => return refuse("--rate 0 sends nothing, so --burst has no use"),
        Some(0.0) => None,
        None if traffic.input.is_some() => Some(Pace::Window(WINDOW_RECORDS)),
        rate => Some(paced(rate.unwrap_or(args::RATE_DEFAULT), arguments)?),
    })
}

/// A rate, with a burst where one is asked for that comes within the run.
fn paced(rate: f64, arguments: &Up) -> Result<Pace, Failure> {
    let Some(burst) = arguments.burst else { return Ok(Pace::Rate(rate)) };
    let end = burst.begins + burst.length;
    match arguments.traffic.duration {
        Some(duration) if duration <= end => Err(Failure::Usage(format!(
            "--burst ends {} s after the first transaction, and --for is {} s; make the run longer, or say @TIME",
            end.as_secs_f64(),
            duration.as_secs_f64()
        ))),
        _ => Ok(Pace::Burst(rate, burst)),
    }
}

/// What functions are told besides what the stacks say.
fn tell_functions(arguments: &Up, infrastructure: &mut Infrastructure) -> Result<(), Failure> {
    let mut told = Vec::new();
    if let Some(directory) = &arguments.model {
        for file in ["model.onnx", "manifest.json"] {
            let path = directory.join(file);
            File::open(&path)
                .map_err(|error| Failure::Usage(format!("--model: {} cannot be read: {error}", path.display())))?;
        }
        let place = std::path::absolute(directory).map_err(|error| Failure::failed(&error))?;
        told.push(("MODEL_DIRECTORY", place.display().to_string()));
    }
    told.extend(arguments.guard.clone().map(|guard| ("BLOCK_RATE_GUARD", guard)));
    told.extend(arguments.at_alarms.clone().map(|at_alarms| ("AT_ALARMS", at_alarms)));
    for (variable, value) in told {
        let listening =
            infrastructure.functions.iter_mut().filter(|function| function.environment.contains_key(variable));
        let mut heard = false;
        for function in listening {
            function.environment.insert(variable.to_owned(), value.clone());
            heard = true;
        }
        if !heard {
            return Err(Failure::Usage(format!(
                "no function of the stacks has the variable {variable}; leave its flag out"
            )));
        }
    }
    Ok(())
}

fn infrastructure(directory: Option<&Path>) -> Result<Infrastructure, Failure> {
    match directory {
        None => Infrastructure::bundled(ENVIRONMENT),
        Some(directory) => Infrastructure::load(directory, ENVIRONMENT),
    }
    .map_err(|error| Failure::usage(&error))
}

async fn start(
    arguments: &Up,
    pace: Option<Pace>,
    infrastructure: Infrastructure,
    servers: Servers,
    seeds: Seeds,
    (chaos, calls): (Option<&Chaos>, &Calls),
    interrupt: &Interrupt,
) -> Result<Platform, Failure> {
    let latency = latency(arguments)?;
    let names: Vec<String> = infrastructure.functions.iter().map(|function| function.binary.clone()).collect();
    let binaries = function_build::ensure(&names, &interrupt.finish).await?;
    let mut config = PlatformConfig::new(infrastructure, &binaries);
    let fixed = |port: Option<u16>| port.filter(|port| *port != 0);
    config.ports = Ports {
        kafka: fixed(arguments.kafka_port),
        dynamodb: fixed(arguments.dynamodb_port),
        s3: fixed(arguments.s3_port),
        kinesis: fixed(arguments.kinesis_port),
        lambda: fixed(arguments.lambda_port),
        api: fixed(arguments.api_port),
        sns: None,
    };
    config.objects = arguments.s3_directory.as_deref().map(files::empty_directory).transpose()?;
    config.kafka_disk_bytes = arguments.kafka_disk.map(|megabytes| u64::from(megabytes) * 1024 * 1024);
    config.environments = arguments.environments.map(usize::from);
    config.overlapping = matches!(pace, Some(Pace::Window(_))) || chaos.is_some();
    config.mappings_later = arguments.backlog.is_some();
    config.servers = servers;
    config.latency = latency;
    config.remembered_tables = state_tables(&config.infrastructure);
    config.seeds = seeds;
    config.calls = calls.clone();
    config.say = Arc::new(terminal::note);
    if let Some(chaos) = chaos {
        config.mapping_faults = chaos.sources.of_mappings();
        config.faults = chaos.sources.clone();
    }
    Platform::start(config).await.map_err(|error| match error {
        error if error.is_usage() => Failure::usage(&error),
        error => Failure::failed(&error),
    })
}

/// The faults that are asked for.
fn chaos(arguments: &Up, source: Option<&Source>) -> Option<Chaos> {
    let length = arguments.traffic.duration;
    if let Some(kinds) = &arguments.chaos {
        return Some(Chaos::drawn(kinds.clone(), arguments.traffic.seed, length));
    }
    let course = match (length, source.and_then(Source::expected)) {
        (Some(length), _) => Course::Time(length),
        (None, Some(records)) => Course::Records(records),
        (None, None) => Course::Open,
    };
    let kills = arguments.kill.unwrap_or(0);
    (kills > 0 || arguments.redeliver).then(|| Chaos::even(kills, course, arguments.redeliver))
}

/// The servers that are used instead of embedded ones.
fn servers(arguments: &Up) -> Result<Servers, Failure> {
    let security = &arguments.kafka_security;
    let kafka = arguments.kafka.as_deref().map(|bootstrap| security.access(bootstrap)).transpose()?;
    let emulator = &arguments.aws_endpoint;
    let dynamodb = arguments.dynamodb.clone().or_else(|| emulator.clone());
    let asks_aws = dynamodb.is_some() || security.kafka_iam;
    let access = if asks_aws { aws_credentials::from_environment(security.kafka_iam)? } else { AwsAccess::default() };
    Ok(Servers { kafka, dynamodb, kinesis: emulator.clone(), s3: emulator.clone(), access })
}

fn latency(arguments: &Up) -> Result<Option<Arc<Latency>>, Failure> {
    let Some((p50, p99)) = arguments.latency else { return Ok(None) };
    let latency = Latency::new(p50, p99, arguments.traffic.seed).map_err(|error| Failure::usage(&error))?;
    Ok(Some(Arc::new(latency)))
}

/// The tables with the state of users and devices, and with the labels that stand.
fn state_tables(infrastructure: &Infrastructure) -> Vec<String> {
    let variables = ["USER_TABLE", "DEVICE_TABLE", "LABEL_TABLE", "DECISION_TABLE", "METRIC_TABLE"];
    let functions = infrastructure.functions.iter();
    let named = functions.flat_map(|function| variables.iter().filter_map(|name| function.environment.get(*name)));
    named.cloned().collect::<BTreeSet<String>>().into_iter().collect()
}

/// A platform's whole life: announced, watched, reconciled, stopped.
async fn attend(
    arguments: &Up,
    platform: Platform,
    traffic: Option<(Source, Pace)>,
    chaos: Option<Chaos>,
    interrupt: &Interrupt,
) -> Result<Finished, Failure> {
    let outcome = Box::pin(Run::watch(arguments, &platform, traffic, chaos, interrupt)).await;
    let stopped = platform.stop(STOP_GRACE).await;
    let mut finished = outcome?;
    // What did not end in order takes nothing from the report.
    finished.failure = finished.failure.or(stopped.err().map(|error| Failure::failed(&error)));
    Ok(finished)
}
