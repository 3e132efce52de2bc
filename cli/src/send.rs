//! `centinela send`: producers against any Kafka, or against the API.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use centinela_domain::Currency;
use centinela_local::aws::AwsClient;
use centinela_local::kafka::{self, KafkaAccess};
use centinela_traffic::Profile;
use tokio::task::JoinHandle;

use crate::args;
use crate::aws_credentials;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::terminal;
use crate::traffic::api::ApiSender;
use crate::traffic::input::InputError;
use crate::traffic::producer::{NoObserver, Pace, SendError, Sender, Until};
use crate::traffic::progress::Progress;
use crate::traffic::topics::Topics;
use crate::traffic::{Source, Stream};

const LOOK: Duration = Duration::from_millis(100);
const SHOW_EVERY: Duration = Duration::from_secs(2);
/// The token of the API. Never a flag: other users of a machine see those.
const TOKEN_VARIABLE: &str = "CENTINELA_API_TOKEN";

/// Why sending ended before its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Kafka(#[from] SendError),
    #[error(transparent)]
    Input(#[from] InputError),
}

/// Sends, shows progress and says how many were acknowledged, and how fast.
///
/// # Errors
/// When the request makes no sense, nobody can be reached or a record was not acknowledged.
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
    let until = Until { elapsed: traffic.duration, count: arguments.count };
    let progress = Arc::new(Progress::timed());
    let target = Target::of(&arguments)?;
    let mut source = Source::open_unless(traffic, Currency::DEFAULT, &interrupt).await?;
    let profile = Profile::from(arguments.profile);
    source.seen_by(profile);
    if traffic.input.is_none() && traffic.actions.is_none() && !profile.sees_actions() {
        source.leave_out(Stream::Actions);
    }
    let started = Instant::now();
    let sending = target.begin(&arguments, source, pace, until, &progress).await?;
    let outcome = watched(sending, &arguments, &progress, &interrupt, started).await?;
    // A file that breaks in the middle has sent its beginning.
    terminal::print(&format!("{}\n", line(&progress, started)));
    terminal::print(&summary(&progress, pace, arguments.decide));
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

/// Waits for the end, shows how far it is, and lets a person end it.
async fn watched(
    mut sending: JoinHandle<Result<(), Broken>>,
    arguments: &args::SendTraffic,
    progress: &Progress,
    interrupt: &Interrupt,
    started: Instant,
) -> Result<Result<(), Broken>, Failure> {
    let mut shown = Instant::now();
    loop {
        tokio::select! {
            outcome = &mut sending => return outcome.map_err(|error| Failure::failed(&error)),
            () = interrupt.finish.cancelled(), if !progress.stop.load(Ordering::Relaxed) => {
                progress.stop.store(true, Ordering::Relaxed);
            }
            () = interrupt.stop.cancelled() => return Err(Failure::Interrupted),
            () = tokio::time::sleep(LOOK) => {}
        }
        if !arguments.quiet && SHOW_EVERY <= shown.elapsed() {
            shown = Instant::now();
            terminal::print(&format!("{}\n", line(progress, started)));
        }
    }
}

/// Where it goes.
enum Target {
    Kafka(KafkaAccess),
    Api { client: Box<AwsClient>, token: Option<String> },
}

impl Target {
    fn of(arguments: &args::SendTraffic) -> Result<Self, Failure> {
        match (&arguments.kafka, &arguments.api) {
            (Some(kafka), _) => arguments.kafka_security.access(kafka).map(Self::Kafka),
            (None, Some(url)) => {
                let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.trim().is_empty());
                let access = aws_credentials::from_environment(false)?;
                let client = AwsClient::new("execute-api", url, &access).map_err(|error| Failure::usage(&error))?;
                Ok(Self::Api { client: Box::new(client), token })
            }
            (None, None) => Err(Failure::Usage("say where to: --kafka HOST:PORT or --api URL".to_owned())),
        }
    }

    async fn begin(
        self,
        arguments: &args::SendTraffic,
        mut source: Source,
        pace: Pace,
        until: Until,
        progress: &Arc<Progress>,
    ) -> Result<JoinHandle<Result<(), Broken>>, Failure> {
        let progress = Arc::clone(progress);
        match self {
            Self::Kafka(access) => {
                let topics = topics(arguments, &access, &mut source).await?;
                Ok(tokio::task::spawn_blocking(move || {
                    let sender = Sender::connect(&access, topics, progress)?;
                    Ok(sender.run(&mut source, pace, until, &NoObserver)?)
                }))
            }
            Self::Api { client, token } => {
                let (decide, batch) = (arguments.decide, usize::from(arguments.batch));
                let sender = ApiSender { client: *client, token, decide, batch, progress };
                Ok(tokio::spawn(async move { Ok(Box::pin(sender.run(&mut source, pace, until)).await?) }))
            }
        }
    }
}

/// Where everything goes. What nobody asked for is left out where that Kafka has no topic for it.
async fn topics(arguments: &args::SendTraffic, access: &KafkaAccess, source: &mut Source) -> Result<Topics, Failure> {
    let traffic = &arguments.traffic;
    let sees_actions = Profile::from(arguments.profile).sees_actions();
    let mut found = Vec::new();
    for (stream, topic, asked, is_seen) in [
        (Stream::Actions, &arguments.actions_topic, traffic.actions, sees_actions),
        (Stream::Labels, &arguments.events_topic, traffic.labels, true),
    ] {
        let is_wanted = traffic.input.is_none() && asked.map_or(is_seen, |asked| asked > 0.0);
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

/// The rate that was kept, and how long acknowledgements took.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn summary(progress: &Progress, pace: Pace, decide: bool) -> String {
    let mut text = progress.latencies().map(|latencies| format!("\n{}", latencies.table())).unwrap_or_default();
    let sent = progress.sent.load(Ordering::Relaxed);
    let acknowledged = progress.acknowledged.load(Ordering::Relaxed);
    if decide {
        let decided = progress.decided.load(Ordering::Relaxed);
        text.push_str(&format!("{decided} of {acknowledged} answers held the decision, the others where it will be\n"));
    }
    if let (Pace::Rate(wanted), Some(took)) = (pace, progress.sent_for()) {
        let behind_ms = progress.behind_ms_max.load(Ordering::Relaxed);
        // Between so many transactions there is one pause less.
        let kept = sent.saturating_sub(1) as f64 / took.as_secs_f64().max(0.001);
        let kept = if sent > 1 { kept } else { wanted };
        text.push_str(&format!("rate {wanted} /s, kept {kept:.1} /s, at most {behind_ms} ms behind\n"));
    }
    text
}
