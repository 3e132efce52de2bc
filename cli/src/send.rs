//! `centinela send`: producers against any Kafka.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use centinela_domain::Currency;
use centinela_local::kafka::{self, KafkaAccess};

use crate::args;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::terminal;
use crate::traffic::producer::{NoObserver, Pace, Sender, Until};
use crate::traffic::progress::Progress;
use crate::traffic::topics::Topics;
use crate::traffic::{Source, Stream};

const LOOK: Duration = Duration::from_millis(100);
const SHOW_EVERY: Duration = Duration::from_secs(2);

/// Sends, shows progress and says how many were acknowledged.
///
/// # Errors
/// When the request makes no sense, the broker cannot be reached or a record was not acknowledged.
pub async fn run(arguments: args::SendTraffic, interrupt: Interrupt) -> Result<(), Failure> {
    let traffic = &arguments.traffic;
    if traffic.rate == Some(0.0) {
        return Err(Failure::Usage("--rate 0 sends nothing; give a rate above 0".to_owned()));
    }
    let pace = match traffic.rate {
        Some(rate) => Pace::Rate(rate),
        None if traffic.input.is_some() => Pace::Window(u64::MAX),
        None => Pace::Rate(args::RATE_DEFAULT),
    };
    let access = arguments.kafka_security.access(&arguments.kafka)?;
    let mut source = Source::open_unless(traffic, Currency::DEFAULT, &interrupt).await?;
    let until = Until { elapsed: traffic.duration, count: arguments.count };
    let progress = Arc::new(Progress::default());
    let topics = topics(&arguments, &access, &mut source).await?;
    let shared = Arc::clone(&progress);
    let started = Instant::now();
    let mut sending = tokio::task::spawn_blocking(move || {
        Sender::connect(&access, topics, shared)?.run(&mut source, pace, until, &NoObserver)
    });
    let mut shown = Instant::now();
    let outcome = loop {
        tokio::select! {
            outcome = &mut sending => break outcome.map_err(|error| Failure::failed(&error))?,
            () = interrupt.finish.cancelled(), if !progress.stop.load(Ordering::Relaxed) => {
                progress.stop.store(true, Ordering::Relaxed);
            }
            () = interrupt.stop.cancelled() => return Err(Failure::Interrupted),
            () = tokio::time::sleep(LOOK) => {}
        }
        if !arguments.quiet && SHOW_EVERY <= shown.elapsed() {
            shown = Instant::now();
            terminal::print(&format!("{}\n", line(&progress, started)));
        }
    };
    // A file that breaks in the middle has sent its beginning.
    terminal::print(&format!("{}\n", line(&progress, started)));
    outcome.map_err(|error| Failure::failed(&error))?;
    let beside = |(sent, acknowledged): (u64, u64)| sent.saturating_sub(acknowledged);
    let unacknowledged =
        progress.sent.load(Ordering::SeqCst).saturating_sub(progress.acknowledged.load(Ordering::SeqCst))
            + Stream::BESIDE.into_iter().map(|stream| beside(progress.of(stream))).sum::<u64>();
    if progress.is_refused() {
        let topic = &arguments.topic;
        let line =
            format!("kafka does not allow writing to topic `{topic}`: authorization failed; grant the right Write");
        return Err(Failure::Failed(line));
    }
    match progress.failure() {
        Some(failure) => Err(Failure::Failed(failure)),
        None if unacknowledged == 0 => Ok(()),
        None => Err(Failure::Failed(format!("{unacknowledged} records were not acknowledged: no answer in time"))),
    }
}

/// Where everything goes. What nobody asked for is left out where that Kafka has no topic for it.
async fn topics(arguments: &args::SendTraffic, access: &KafkaAccess, source: &mut Source) -> Result<Topics, Failure> {
    let traffic = &arguments.traffic;
    let mut found = Vec::new();
    for (stream, topic, asked) in [
        (Stream::Actions, &arguments.actions_topic, traffic.actions),
        (Stream::Labels, &arguments.events_topic, traffic.labels),
    ] {
        let is_wanted = traffic.input.is_none() && asked.is_none_or(|asked| asked > 0.0);
        let (access, name) = (access.clone(), topic.clone());
        let is_there = is_wanted && (asked.is_some() || shows(access, name).await?);
        if !is_there {
            source.leave_out(stream);
            if is_wanted {
                terminal::note(&format!("there is no topic `{topic}` on that Kafka, so no {} are sent", stream.name()));
            }
        }
        found.push(is_there.then(|| topic.clone()));
    }
    let labels = found.pop().flatten();
    Ok(Topics { transactions: arguments.topic.clone(), actions: found.pop().flatten(), labels })
}

async fn shows(access: KafkaAccess, topic: String) -> Result<bool, Failure> {
    let asked = tokio::task::spawn_blocking(move || kafka::shows(&access, &topic)).await;
    asked.map_err(|error| Failure::failed(&error))?.map_err(|error| Failure::failed(&error))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn line(progress: &Progress, started: Instant) -> String {
    let acknowledged = progress.acknowledged.load(Ordering::Relaxed);
    format!(
        "sent {}  acknowledged {}  failed {}  {:.0}/s  behind {} ms{}",
        progress.sent.load(Ordering::Relaxed),
        acknowledged,
        progress.failed.load(Ordering::Relaxed),
        acknowledged as f64 / started.elapsed().as_secs_f64().max(0.001),
        progress.behind_ms.load(Ordering::Relaxed),
        Stream::BESIDE
            .into_iter()
            .map(|stream| (stream.name(), progress.of(stream)))
            .filter(|(_, (sent, _))| *sent > 0)
            .map(|(name, (sent, acknowledged))| format!("  {name} {acknowledged} of {sent}"))
            .collect::<String>(),
    )
}
