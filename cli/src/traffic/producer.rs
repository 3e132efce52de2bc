//! The producer: idempotent, acknowledged by all replicas, in an open loop.
//!
//! A rate is a promise about the times at which records are *meant* to be sent; when Kafka or this machine is slower, the loop
//! does not slow down with it: it sends late, says how late, and latency is counted from the time that was meant.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_audit::burst::Course;
use centinela_audit::tracker::Tracker;
use centinela_local::kafka::{self, ClusterError, KafkaAccess};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;

use super::deliveries::{Deliveries, Tag};
use super::input::InputError;
use super::progress::Progress;
use super::topics::Topics;
use super::{Message, Source, Stream};

/// How long the brokers may take to give the producer its id, which would count as latency.
const IDENTIFIED_LIMIT: Duration = Duration::from_secs(2);
/// How long acknowledgements may take once nothing more is sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(35);
/// Between two looks whether a client has lost its brokers meanwhile.
const FLUSH_SLICE: Duration = Duration::from_secs(1);
/// Longest rest between two looks at the clock and at a request to stop.
const REST_MAX: Duration = Duration::from_millis(20);
/// The same while acknowledgements are awaited, which counts as their time.
const REST_MAX_AWAITING: Duration = Duration::from_millis(1);
/// Shortest rest: at high rates what comes due meanwhile is sent together, as late as that.
const REST_MIN: Duration = Duration::from_millis(1);
/// Rest when Kafka's queue or the window is full.
const FULL_REST: Duration = Duration::from_millis(1);

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Records per second; above 0.
    Rate(f64),
    /// The same, and more of them for a while.
    Burst(f64, Course),
    /// As fast as it goes, with at most this many records waiting for their decision (where somebody counts decisions).
    Window(u64),
}

impl Pace {
    /// When the next record is due, after so many; none when nothing says so.
    #[expect(clippy::cast_precision_loss, reason = "2^52 records are never sent")]
    pub fn due(self, started: Instant, sent: u64) -> Option<Instant> {
        match self {
            Self::Rate(rate) => Some(started + Duration::from_secs_f64(sent as f64 / rate)),
            Self::Burst(rate, Course { factor, begins, length }) => {
                let (before, within) = (rate * begins.as_secs_f64(), rate * factor * length.as_secs_f64());
                let extra = (sent as f64 - before).clamp(0.0, within);
                // What the burst sends takes less of the time by its factor.
                let usual = sent as f64 - extra;
                Some(started + Duration::from_secs_f64(usual / rate + extra / (rate * factor)))
            }
            Self::Window(_) => None,
        }
    }

    /// Transactions that are sent in this time; none when nothing says so.
    pub fn within(self, time: Duration) -> Option<f64> {
        match self {
            Self::Rate(rate) => Some(rate * time.as_secs_f64()),
            Self::Burst(rate, Course { factor, begins, length }) => {
                let burst = time.saturating_sub(begins).min(length);
                Some(rate * (time.as_secs_f64() + (factor - 1.0) * burst.as_secs_f64()))
            }
            Self::Window(_) => None,
        }
    }
}

/// When to end, apart from the end of the source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// After this time.
    pub elapsed: Option<Duration>,
    /// After this many records.
    pub count: Option<u64>,
}

/// Whoever wants to know what is sent.
pub trait Observer: Send + Sync {
    /// A record is about to be sent that was meant for `at`.
    fn sending(&self, message: &Message, at: Instant);

    /// Records that were sent and are neither decided nor dead-lettered.
    fn undecided(&self) -> u64;
}

/// Nobody does.
pub struct NoObserver;

impl Observer for NoObserver {
    fn sending(&self, _message: &Message, _at: Instant) {}

    fn undecided(&self) -> u64 {
        0
    }
}

impl Observer for Tracker {
    fn sending(&self, message: &Message, at: Instant) {
        if let Some(id) = message.decision_id {
            self.sending(id, message.fraud, at);
        }
    }

    fn undecided(&self) -> u64 {
        self.undecided()
    }
}

/// Why nothing can be sent, or no more.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nobody answers, or refuses us.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The broker has no such topic.
    #[error(
        "kafka at {bootstrap} has no topic `{topic}` that we may see; create it first, or grant the right Describe on it"
    )]
    NoTopic { bootstrap: String, topic: String },
    /// The client refused its settings or a record.
    #[error("the kafka producer")]
    Client(#[from] KafkaError),
    /// The file cannot be read on.
    #[error(transparent)]
    Input(#[from] InputError),
}

type Client = BaseProducer<Deliveries>;

/// How long a client gathers what goes to the same partition. Of transactions it counts as latency; what goes out between them is
/// handled in batches anyway.
const LINGER: &str = "1";
const LINGER_BESIDE: &str = "50";

/// A producer that is connected: for transactions, and for what goes out between them. Its acknowledgements are heard while it sends and
/// rests, by the thread that does so: a thread of their own would be woken for each.
pub struct Sender {
    access: KafkaAccess,
    transactions: Client,
    beside: Client,
    topics: Topics,
    progress: Arc<Progress>,
    began: Instant,
}

impl Sender {
    /// Connects and looks for the topics. Blocks for up to 8 s.
    ///
    /// # Errors
    /// When no broker answers, the login is refused or there is no such topic.
    pub fn connect(access: &KafkaAccess, topics: Topics, progress: Arc<Progress>) -> Result<Self, SendError> {
        let began = Instant::now();
        let (transactions, beside) = Self::clients(access, &topics, &progress, began)?;
        Ok(Self { access: access.clone(), transactions, beside, topics, progress, began })
    }

    fn clients(
        access: &KafkaAccess,
        topics: &Topics,
        progress: &Arc<Progress>,
        began: Instant,
    ) -> Result<(Client, Client), SendError> {
        for topic in topics.all() {
            if !kafka::shows(access, topic)? {
                return Err(SendError::NoTopic { bootstrap: access.bootstrap.clone(), topic: topic.to_owned() });
            }
        }
        let transactions = Self::client(access, LINGER, progress, began)?;
        let beside = Self::client(access, LINGER_BESIDE, progress, began)?;
        let until = Instant::now() + IDENTIFIED_LIMIT;
        for client in [&transactions, &beside] {
            while !client.context().is_identified() && Instant::now() < until {
                client.poll(REST_MAX);
            }
        }
        Ok((transactions, beside))
    }

    fn client(
        access: &KafkaAccess,
        linger_ms: &str,
        progress: &Arc<Progress>,
        began: Instant,
    ) -> Result<Client, KafkaError> {
        let mut config = access.client();
        config
            .set("client.id", "centinela-send")
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", linger_ms)
            // Not compressed: batches of one or two records have little that repeats.
            .set("message.max.bytes", "1048588")
            .set("message.timeout.ms", "30000")
            .set("queue.buffering.max.messages", "100000")
            // Partitions may be added while it runs.
            .set("topic.metadata.refresh.interval.ms", "5000");
        kafka::tell_when_identified(&mut config);
        config.create_with_context(Deliveries::new(Arc::clone(progress), began))
    }

    /// Hears what was acknowledged by now.
    fn hear(&self) {
        for client in [&self.transactions, &self.beside] {
            let mut awaited = i32::MAX;
            while client.in_flight_count() < awaited {
                awaited = client.in_flight_count();
                client.poll(Timeout::After(Duration::ZERO));
            }
            client.context().lost().mend(client.client(), &self.access.bootstrap);
        }
    }

    /// Rests for so long, or less.
    fn rest(&self, rest: Duration) {
        self.hear();
        let is_awaiting = self.transactions.in_flight_count() > 0;
        std::thread::sleep(rest.min(if is_awaiting { REST_MAX_AWAITING } else { REST_MAX }).max(REST_MIN));
    }

    /// Waits for the acknowledgements of everything.
    fn flush(&self) -> Result<(), KafkaError> {
        let until = Instant::now() + FLUSH_LIMIT;
        let flushed = self.flush_one(&self.transactions, until);
        self.flush_one(&self.beside, until)?;
        flushed
    }

    fn flush_one(&self, client: &Client, until: Instant) -> Result<(), KafkaError> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match client.flush(left.min(FLUSH_SLICE)) {
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) if FLUSH_SLICE < left => {
                    client.context().lost().mend(client.client(), &self.access.bootstrap);
                }
                flushed => return flushed,
            }
        }
    }

    /// Sends until the source ends, `until` is reached or somebody asks to stop; then waits for the acknowledgements. Blocks.
    ///
    /// # Errors
    /// When the source cannot be read on or the client refuses a record.
    pub fn run(
        mut self,
        source: &mut Source,
        pace: Pace,
        until: Until,
        observer: &dyn Observer,
    ) -> Result<(), SendError> {
        let outcome = self.send_all(source, pace, until, observer);
        let flushed = self.flush();
        self.progress.gate.end();
        outcome?;
        match flushed {
            // What was not acknowledged in time is counted as failed by its own delivery report.
            Ok(()) | Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn send_all(
        &mut self,
        source: &mut Source,
        pace: Pace,
        until: Until,
        observer: &dyn Observer,
    ) -> Result<(), SendError> {
        let mut started = Instant::now();
        let mut sent = 0u64;
        while !self.progress.stop.load(Ordering::Relaxed) && until.count.is_none_or(|count| sent < count) {
            if self.progress.gate.is_closed() {
                started += self.wait_while_held()?;
            }
            let Some(message) = source.next()? else { break };
            if message.stream != Stream::Transactions {
                // It happened between two transactions, so it goes out between them.
                if !self.send(&message, Instant::now())? {
                    break;
                }
                continue;
            }
            let Some(at) = self.next_time(pace, until.elapsed, started, sent, observer) else { break };
            observer.sending(&message, at);
            if !self.send(&message, at)? {
                break;
            }
            sent += 1;
            self.progress.handed_over(sent, at);
        }
        Ok(())
    }

    /// Rests until it is let go or stopped, then connects anew; returns how long that took.
    fn wait_while_held(&mut self) -> Result<Duration, SendError> {
        let began = Instant::now();
        self.flush()?;
        self.progress.gate.wait(true);
        while self.progress.gate.is_closed() && !self.progress.stop.load(Ordering::Relaxed) {
            std::thread::sleep(REST_MAX);
        }
        self.progress.gate.wait(false);
        // A producer that is to end sends nothing more, and the topic may be away just now.
        if !self.progress.stop.load(Ordering::Relaxed) {
            (self.transactions, self.beside) = Self::clients(&self.access, &self.topics, &self.progress, self.began)?;
        }
        Ok(began.elapsed())
    }

    /// Waits for the time of the next record and returns it; none when sending has to end before.
    fn next_time(
        &self,
        pace: Pace,
        elapsed_max: Option<Duration>,
        started: Instant,
        sent: u64,
        observer: &dyn Observer,
    ) -> Option<Instant> {
        let due = pace.due(started, sent);
        let end = elapsed_max.map(|elapsed| started + elapsed);
        loop {
            let now = Instant::now();
            let at = due.unwrap_or(now);
            if end.is_some_and(|end| end <= at) || self.progress.stop.load(Ordering::Relaxed) {
                return None;
            }
            let rest = match pace {
                Pace::Rate(_) | Pace::Burst(..) => at.saturating_duration_since(now),
                Pace::Window(window) if window <= observer.undecided() => FULL_REST,
                Pace::Window(_) => Duration::ZERO,
            };
            if rest.is_zero() {
                self.hear();
                return Some(at);
            }
            self.rest(rest);
        }
    }

    /// False when it was told to stop before the client had room for the record.
    fn send(&self, message: &Message, meant: Instant) -> Result<bool, SendError> {
        let Tag(tag) = Tag::new(message.stream, meant.saturating_duration_since(self.began));
        let Some(topic) = self.topics.of(message.stream) else { return Ok(true) };
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let timestamp = i64::try_from(now_ms).unwrap_or(i64::MAX);
        let mut record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, tag).payload(&message.value[..]).timestamp(timestamp);
        if let Some(key) = &message.key {
            record = record.key(&key[..]);
        }
        let client = if message.stream == Stream::Transactions { &self.transactions } else { &self.beside };
        loop {
            match client.send(record) {
                Ok(()) => {
                    self.progress.sent_beside(message.stream);
                    return Ok(true);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if self.progress.stop.load(Ordering::Relaxed) {
                        return Ok(false);
                    }
                    record = back;
                    self.rest(FULL_REST);
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use centinela_domain::Currency;
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::args::{Command, up_by_default};

    /// Is held up at one record and notes the times that the records were meant for.
    #[derive(Default)]
    struct HeldUp {
        meant: Mutex<Vec<Instant>>,
        late: Mutex<Vec<bool>>,
    }

    impl Observer for HeldUp {
        fn sending(&self, _message: &Message, at: Instant) {
            let mut meant = self.meant.lock().unwrap();
            self.late.lock().unwrap().push(at + Duration::from_millis(20) < Instant::now());
            meant.push(at);
            if meant.len() == 3 {
                std::thread::sleep(Duration::from_millis(60));
            }
        }

        fn undecided(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_burst_sends_more_for_a_while_and_the_usual_before_and_after_it() {
        let course = Course { factor: 10.0, begins: Duration::from_secs(2), length: Duration::from_secs(1) };
        let (pace, started) = (Pace::Burst(100.0, course), Instant::now());
        let due_ms = |sent| pace.due(started, sent).map(|at| (at - started).as_millis());
        assert_eq!([0, 100, 200, 700, 1_200, 1_300].map(due_ms), [0, 1_000, 2_000, 2_500, 3_000, 4_000].map(Some));
        for (seconds, sent) in [(1, 100.0), (3, 1_200.0), (4, 1_300.0)] {
            let within = pace.within(Duration::from_secs(seconds)).expect("it has a rate");
            assert!((within - sent).abs() < 1e-6, "{within} in {seconds} s");
        }
    }

    #[test]
    fn a_producer_hears_of_its_id() {
        let cluster = MockCluster::new(1).unwrap();
        let access = KafkaAccess::plaintext(&cluster.bootstrap_servers());
        let client = Sender::client(&access, LINGER, &Arc::new(Progress::default()), Instant::now()).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !client.context().is_identified() {
            assert!(Instant::now() < until, "it has an id within half a second, and nothing was heard of it");
            client.poll(REST_MAX);
        }
    }

    #[test]
    fn a_producer_that_was_held_up_still_counts_from_the_times_that_were_meant() {
        let Command::Up(arguments) = up_by_default() else { panic!("the default is `up`") };
        let mut source = Source::open(&arguments.traffic, Currency::DEFAULT).unwrap();
        let progress = Arc::new(Progress::default());
        let began = Instant::now();
        // Nobody listens there; the records wait in the client, which is all that this needs.
        let access = KafkaAccess::plaintext("127.0.0.1:1");
        let client = || Sender::client(&access, LINGER, &progress, began).unwrap();
        let (transactions, beside) = (client(), client());
        let topics = Topics { transactions: "transactions".to_owned(), actions: None, labels: None };
        let mut sender = Sender { access, transactions, beside, topics, progress, began };
        let observer = HeldUp::default();
        let until = Until { elapsed: None, count: Some(12) };
        sender.send_all(&mut source, Pace::Rate(200.0), until, &observer).unwrap();
        let meant = observer.meant.into_inner().unwrap();
        for pair in meant.windows(2) {
            assert_eq!((pair[1] - pair[0]).as_millis(), 5, "the schedule moved with the delay");
        }
        assert!(observer.late.into_inner().unwrap()[3], "the record after the delay was not late");
        assert!(sender.progress.behind_ms_max.load(Ordering::Relaxed) >= 20, "the report does not say how late");
    }
}
