//! From records to acknowledgements.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use centinela_kafka_access::KafkaAccess;
use futures::future::join_all;
use tokio::sync::Mutex;
use tracing::warn;

use crate::batch::{self, BATCH_BYTES, RECORD_BYTES, Stamp};
use crate::connection::{Address, Connection, Opening};
use crate::failure::{Code, Meaning, Problem, ProduceError, SendError, described};
use crate::protocol::{INIT_PRODUCER_ID, METADATA, Metadata, PRODUCE};
use crate::tls;

/// One attempt waits this long for the replicas.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The first pause between attempts; it doubles with each.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(320);
/// A topic that is not there may be on its way to the brokers' memory for so long.
const TOPIC_PATIENCE: Duration = Duration::from_secs(1);
/// What brokers take for one batch by default, less its own header.
const PARCEL_BYTES_MAX: usize = 1_000_000;

/// Which cluster and which topics.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cluster, and how to get into it.
    pub access: KafkaAccess,
    /// The client's name in the brokers' logs.
    pub client_id: String,
    /// Every topic that is written to.
    pub topics: Vec<String>,
    /// Whether the brokers drop what is repeated after a lost answer.
    pub idempotent: bool,
    /// Bytes of the largest record that is sent.
    pub record_bytes_max: usize,
}

/// A record on its way.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// One of the settings' topics.
    pub topic: &'a str,
    /// A partition of another topic: the record goes to the one of that number, counted round where there are fewer. None where its key
    /// decides, as for Kafka's Java client.
    pub near: Option<u32>,
    /// What it is about.
    pub key: Option<&'a [u8]>,
    /// What it says.
    pub value: &'a [u8],
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl Record<'_> {
    fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + RECORD_BYTES);
        RECORD_BYTES + self.key.map_or(0, <[u8]>::len) + self.value.len() + headers.sum::<usize>()
    }
}

/// Sends records, one batch of them at a time.
pub struct Producer {
    settings: Settings,
    opening: Opening,
    bootstrap: Vec<Address>,
    state: Mutex<State>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

struct Broker {
    address: Address,
    connection: Option<Connection>,
}

#[derive(Clone, Copy)]
struct Partition {
    /// -1 where there is none.
    leader: i32,
    /// Of the next record, for this producer's id.
    sequence: i32,
}

struct Topic {
    code: Code,
    partitions: Vec<Partition>,
}

impl Topic {
    /// Whether nothing can be sent to it: at once where that is for good, and otherwise when nobody has patience any more.
    fn is_refused(&self, is_patient: bool) -> bool {
        self.code.meaning(1) == Meaning::Refused || !is_patient && self.code == Code::UNKNOWN_TOPIC_OR_PARTITION
    }
}

#[derive(Default)]
struct State {
    brokers: HashMap<i32, Broker>,
    topics: HashMap<String, Topic>,
    /// What the brokers know this producer by, with its epoch.
    identity: Option<(i64, i16)>,
    /// Something is on its way, and it is not known whether it arrived: the next sequence is not known either.
    is_in_doubt: bool,
    /// Where the next record without a key goes.
    turn: u32,
}

/// Records of one partition that leave together, and stay together for ever: a repetition is known by its first and its last.
struct Parcel {
    topic: usize,
    partition: u32,
    records: Vec<usize>,
    /// An attempt ended without a word on whether it arrived.
    is_in_doubt: bool,
}

/// Records that are not answered yet.
struct Sending<'a> {
    records: &'a [Record<'a>],
    answers: Vec<Option<Result<(), SendError>>>,
    /// Records whose topic is not known yet.
    unplaced: Vec<usize>,
    /// In the order in which they go to their partitions.
    parcels: Vec<Parcel>,
    /// What was wrong last.
    problem: String,
}

/// Parcels on their way to a leader, and what became of them.
struct Asked {
    leader: i32,
    parcels: Vec<usize>,
    connection: Option<Connection>,
    /// Whether the connection was there before: then it may have been closed meanwhile.
    was_kept: bool,
    outcome: Result<Vec<Code>, Problem>,
}

impl Producer {
    /// Makes ready, without a word to anybody.
    ///
    /// # Errors
    /// When an address or a certificate cannot be used.
    pub fn new(settings: Settings) -> Result<Self, ProduceError> {
        let access = &settings.access;
        let parsed: Option<Vec<Address>> = access.bootstrap.split(',').map(Address::parse).collect();
        let bootstrap = parsed.ok_or_else(|| ProduceError::Bootstrap(access.bootstrap.clone()))?;
        let tls = if access.is_encrypted() { Some(tls::connector(access.ca.as_deref())?) } else { None };
        let opening = Opening { client_id: settings.client_id.clone(), tls, login: access.login.clone() };
        Ok(Self { settings, opening, bootstrap, state: Mutex::default() })
    }

    /// Asks for the topics, for this producer's id, and for a connection to every leader. What is done here no batch waits for later.
    /// Returns the topics that are not there.
    ///
    /// # Errors
    /// When nobody answers, with why. The producer may be used all the same: it asks again.
    pub async fn connect(&self, limit: Duration) -> Result<Vec<String>, String> {
        let connecting = async {
            let mut state = self.state.lock().await;
            let state = &mut *state;
            self.ask_for_topics(state).await?;
            let is_missing = |name: &&String| state.topics.get(*name).is_none_or(|topic| !is_there(topic.code));
            let missing: Vec<String> = self.settings.topics.iter().filter(is_missing).cloned().collect();
            // A broker that is away is no reason not to say what the others know.
            if self.settings.idempotent
                && let Err(problem) = self.identify(state).await
            {
                warn!(error = described(&problem), "no kafka broker gave the producer an id");
            }
            let leaders = state.topics.values().flat_map(|topic| &topic.partitions).map(|partition| partition.leader);
            let leaders: BTreeSet<i32> = leaders.collect();
            let openings =
                state.brokers.iter_mut().filter(|(node, _)| leaders.contains(node)).map(async |(_, broker)| {
                    match broker.connection.take() {
                        Some(connection) => broker.connection = Some(connection),
                        None => broker.connection = Some(Connection::open(&broker.address, &self.opening).await?),
                    }
                    Ok::<_, Problem>(())
                });
            for problem in join_all(openings).await.into_iter().filter_map(Result::err) {
                warn!(error = described(&problem), "a kafka broker leads and cannot be reached");
            }
            Ok(missing)
        };
        match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected.map_err(|problem: Problem| described(&problem)),
            Err(_) => Err(described(&Problem::NoAnswer { waited_ms: limit.as_millis() })),
        }
    }

    /// Sends records; one answer each, in their order. What is not acknowledged within the limit is answered so, and may still arrive.
    pub async fn send(&self, records: &[Record<'_>], limit: Duration) -> Vec<Result<(), SendError>> {
        let ends = tokio::time::Instant::now() + limit;
        let mut sending = Sending::new(records, self.settings.record_bytes_max);
        let is_in_time = tokio::time::timeout_at(ends, async {
            let mut state = self.state.lock().await;
            self.send_all(&mut state, &mut sending, ends).await;
        });
        // What is left unanswered says so.
        is_in_time.await.unwrap_or_default();
        let Sending { answers, problem, .. } = sending;
        let unanswered = || Err(SendError::Unacknowledged(problem.clone()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(unanswered)).collect()
    }

    /// Goes on until every record is answered; somebody else ends it when the time is over.
    async fn send_all(&self, state: &mut State, sending: &mut Sending<'_>, ends: tokio::time::Instant) {
        if state.is_in_doubt {
            state.forget_identity();
        }
        let mut pause = PAUSE_FIRST;
        let mut knows_topics = !state.topics.is_empty();
        let mut missing_since = None;
        let mut may_hurry = true;
        loop {
            if !knows_topics {
                // What is rare is kept out of the way of every batch's future.
                match Box::pin(self.ask_for_topics(state)).await {
                    Ok(()) => knows_topics = true,
                    Err(problem) => sending.problem = described(&problem),
                }
            }
            let is_patient = missing_since.is_none_or(|since: Instant| since.elapsed() < TOPIC_PATIENCE);
            if !sending.place(state, &self.settings.topics, is_patient) {
                if knows_topics {
                    missing_since.get_or_insert_with(Instant::now);
                }
                knows_topics = false;
            }
            if sending.is_done() {
                return;
            }
            if self.settings.idempotent
                && state.identity.is_none()
                && let Err(problem) = Box::pin(self.identify(state)).await
            {
                sending.problem = described(&problem);
                if let Problem::Refused(code) = problem
                    && code.meaning(1) == Meaning::Refused
                {
                    sending.refuse_all(code);
                    return;
                }
                // Who was known may be gone.
                knows_topics = false;
            } else {
                let (next, all_led) = sending.next(state, &self.settings.topics);
                let round = self.ask_leaders(next, state, sending, ends).await;
                knows_topics &= all_led && round.knows_leaders;
                if sending.is_done() {
                    return;
                }
                // A stale connection once: a broker that closes every connection is not asked without a pause.
                if round.is_progress || round.is_stale && std::mem::take(&mut may_hurry) {
                    continue;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Sends parcels to their leaders, all at once, and takes over what they say.
    async fn ask_leaders(
        &self,
        next: BTreeMap<i32, Vec<usize>>,
        state: &mut State,
        sending: &mut Sending<'_>,
        ends: tokio::time::Instant,
    ) -> Heard {
        let topics = &self.settings.topics;
        // Until the answers are heard, which may be never.
        state.is_in_doubt |= !next.is_empty();
        // All end in time to be heard: what one leader has acknowledged is not sent again because another is silent.
        let ends = ends.min(tokio::time::Instant::now() + ATTEMPT);
        let parts: &Sending<'_> = sending;
        let asking = next.into_iter().map(|(leader, parcels)| {
            let stamps = parcels.iter().map(|&parcel| state.stamp(topics, &parts.parcels[parcel])).collect();
            let broker = state.brokers.get_mut(&leader);
            let broker = broker.map(|broker| (broker.address.clone(), broker.connection.take()));
            self.ask(leader, parcels, broker, stamps, parts, ends)
        });
        let mut all = Heard::default();
        let mut apart = Vec::new();
        for asked in join_all(asking).await {
            let heard = sending.hear(asked, state, topics, &mut apart);
            all.knows_leaders &= heard.knows_leaders;
            all.is_stale |= heard.is_stale;
            all.is_progress |= heard.is_progress;
            all.is_known &= heard.is_known;
        }
        sending.take_apart(&apart);
        state.is_in_doubt = sending.parcels.iter().any(|parcel| parcel.is_in_doubt);
        if !all.is_known {
            state.forget_identity();
        }
        all
    }

    async fn ask(
        &self,
        leader: i32,
        parcels: Vec<usize>,
        broker: Option<(Address, Option<Connection>)>,
        stamps: Vec<Stamp>,
        sending: &Sending<'_>,
        ends: tokio::time::Instant,
    ) -> Asked {
        let started = Instant::now();
        let (address, connection) = broker.unzip();
        let mut connection = connection.flatten().filter(Connection::is_usable);
        let was_kept = connection.is_some();
        let asking = async {
            let connection = match (&mut connection, address) {
                (Some(connection), _) => connection,
                (none, Some(address)) => none.insert(Box::pin(Connection::open(&address, &self.opening)).await?),
                (None, None) => return Err(Problem::Malformed("a leader is no broker")),
            };
            let places: Vec<(&str, u32)> = parcels
                .iter()
                .map(|&parcel| &sending.parcels[parcel])
                .map(|parcel| (self.settings.topics[parcel.topic].as_str(), parcel.partition))
                .collect();
            let (mut scratch, now_ms) = (Vec::new(), now_ms());
            let asked = connection.ask(PRODUCE, &self.opening.client_id, |request| {
                request.produce(ATTEMPT.as_millis() as i32, &places, |place, out| {
                    let records = sending.parcels[parcels[place]].records.iter();
                    let records: Vec<&Record<'_>> = records.map(|&record| &sending.records[record]).collect();
                    batch::write(out, &mut scratch, &records, stamps[place], now_ms);
                });
            });
            let produced = asked.await?.produced()?;
            let code_of = |place: &(&str, u32)| {
                let found = produced.iter().find(|(topic, partition, _)| (*topic, *partition) == *place);
                found.map(|(_, _, code)| *code).ok_or(Problem::Malformed("a batch is not answered"))
            };
            places.iter().map(code_of).collect()
        };
        let outcome = match tokio::time::timeout_at(ends, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Problem::NoAnswer { waited_ms: started.elapsed().as_millis() }),
        };
        // What comes on it next would answer this request.
        let connection = connection.filter(|_| outcome.is_ok());
        Asked { leader, parcels, connection, was_kept, outcome }
    }

    /// Learns who leads what, from whoever answers first.
    async fn ask_for_topics(&self, state: &mut State) -> Result<(), Problem> {
        let mut problem = Problem::OutOfTime;
        // Who was heard of lately is likely to answer.
        let mut known: Vec<&Broker> = state.brokers.values().collect();
        known.sort_by_key(|broker| broker.connection.is_none());
        let known: Vec<Address> = known.into_iter().map(|broker| broker.address.clone()).collect();
        for address in known.iter().chain(&self.bootstrap) {
            let kept = state.brokers.values_mut().find(|broker| broker.address == *address);
            let kept = kept.and_then(|broker| broker.connection.take()).filter(Connection::is_usable);
            match self.ask_broker_for_topics(address, kept).await {
                Ok((metadata, connection)) => {
                    state.learn(metadata);
                    if let Some(broker) = state.brokers.values_mut().find(|broker| broker.address == *address) {
                        broker.connection = Some(connection);
                    }
                    return Ok(());
                }
                Err(found) => {
                    warn!(broker = %address, error = described(&found), "a kafka broker did not say who leads what");
                    problem = found;
                }
            }
        }
        Err(problem)
    }

    async fn ask_broker_for_topics(
        &self,
        address: &Address,
        kept: Option<Connection>,
    ) -> Result<(Metadata, Connection), Problem> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(address, &self.opening).await?,
        };
        let asked =
            connection.ask(METADATA, &self.opening.client_id, |request| request.metadata(&self.settings.topics));
        let answer = tokio::time::timeout(ATTEMPT, asked).await;
        let metadata = answer.map_err(|_| Problem::NoAnswer { waited_ms: ATTEMPT.as_millis() })??.metadata()?;
        Ok((metadata, connection))
    }

    /// Gets an id that the brokers know repetitions by. Any of them gives one.
    async fn identify(&self, state: &mut State) -> Result<(), Problem> {
        let mut problem = Problem::OutOfTime;
        let mut brokers: Vec<&mut Broker> = state.brokers.values_mut().collect();
        brokers.sort_by_key(|broker| broker.connection.is_none());
        for broker in brokers {
            let asking = async {
                let mut connection = match broker.connection.take().filter(Connection::is_usable) {
                    Some(connection) => connection,
                    None => Connection::open(&broker.address, &self.opening).await?,
                };
                let asked =
                    connection.ask(INIT_PRODUCER_ID, &self.opening.client_id, |request| request.init_producer_id());
                let identity = asked.await?.producer_id();
                broker.connection = Some(connection);
                identity
            };
            match tokio::time::timeout(ATTEMPT, asking).await {
                Ok(Ok(identity)) => {
                    state.identity = Some(identity);
                    return Ok(());
                }
                Ok(Err(found)) => problem = found,
                Err(_) => problem = Problem::NoAnswer { waited_ms: ATTEMPT.as_millis() },
            }
        }
        Err(problem)
    }
}

impl State {
    /// Takes over who leads what. Sequences and connections stay; where a sequence is lost, all begin anew, for a broker that remembers a
    /// partition's first batch would take what follows for a repetition of it, and drop it.
    fn learn(&mut self, metadata: Metadata) {
        let mut before = std::mem::take(&mut self.brokers);
        for (node, host, port) in metadata.brokers {
            let address = Address { host, port };
            let kept = before.remove(&node).filter(|broker| broker.address == address);
            self.brokers.insert(node, kept.unwrap_or(Broker { address, connection: None }));
        }
        for (name, code, leaders) in metadata.topics {
            if self.topics.get(&name).is_some_and(|topic| topic.partitions.len() > leaders.len()) {
                self.forget_identity();
            }
            let known = self.topics.get(&name).map_or(&[][..], |topic| &topic.partitions);
            let sequence = |place: usize| known.get(place).map_or(0, |partition| partition.sequence);
            let partitions = leaders.into_iter().enumerate();
            let partitions =
                partitions.map(|(place, leader)| Partition { leader, sequence: sequence(place) }).collect();
            self.topics.insert(name, Topic { code, partitions });
        }
    }

    /// Begins anew under another id: what was sent under this one can no longer be told from what was not.
    fn forget_identity(&mut self) {
        self.identity = None;
        self.is_in_doubt = false;
        for partition in self.topics.values_mut().flat_map(|topic| &mut topic.partitions) {
            partition.sequence = 0;
        }
    }

    fn partition(&mut self, topics: &[String], parcel: &Parcel) -> Option<&mut Partition> {
        self.topics.get_mut(&topics[parcel.topic])?.partitions.get_mut(parcel.partition as usize)
    }

    fn stamp(&mut self, topics: &[String], parcel: &Parcel) -> Stamp {
        let Some((producer, epoch)) = self.identity else { return Stamp::NONE };
        let sequence = self.partition(topics, parcel).map_or(0, |partition| partition.sequence);
        Stamp { producer, epoch, sequence }
    }
}

/// What answers of leaders change.
struct Heard {
    /// Whether what is known of leaders still holds.
    knows_leaders: bool,
    /// Whether the brokers know this producer.
    is_known: bool,
    /// Whether a connection was gone that was there before: nobody's fault, and no reason to wait.
    is_stale: bool,
    /// Whether something is acknowledged.
    is_progress: bool,
}

impl Default for Heard {
    fn default() -> Self {
        Self { knows_leaders: true, is_known: true, is_stale: false, is_progress: false }
    }
}

impl<'a> Sending<'a> {
    fn new(records: &'a [Record<'a>], record_bytes_max: usize) -> Self {
        let too_large = |record: &Record<'_>| {
            let bytes = record.bytes();
            (bytes > record_bytes_max).then_some(Err(SendError::TooLarge { bytes, limit: record_bytes_max }))
        };
        let answers: Vec<_> = records.iter().map(too_large).collect();
        let unplaced = (0..records.len()).filter(|&record| answers[record].is_none()).collect();
        let problem = described(&Problem::OutOfTime);
        Self { records, answers, unplaced, parcels: Vec::new(), problem }
    }

    fn is_done(&self) -> bool {
        self.unplaced.is_empty() && self.parcels.is_empty()
    }

    /// Answers the records of a parcel, which is empty then.
    fn answer(&mut self, place: usize, answer: &Result<(), SendError>) {
        for record in std::mem::take(&mut self.parcels[place].records) {
            self.answers[record] = Some(answer.clone());
        }
    }

    fn refuse_all(&mut self, code: Code) {
        for answer in self.answers.iter_mut().filter(|answer| answer.is_none()) {
            *answer = Some(Err(SendError::Refused(code)));
        }
    }

    /// Packs the records whose topics are known, and refuses those whose topics are not there. Returns whether all topics are known.
    fn place(&mut self, state: &mut State, topics: &[String], is_patient: bool) -> bool {
        // A topic that was made anew may have fewer partitions.
        let is_gone = |parcel: &mut Parcel| {
            let topic = state.topics.get(&topics[parcel.topic]);
            topic.is_some_and(|topic| !is_there(topic.code) || topic.partitions.len() <= parcel.partition as usize)
        };
        let gone: Vec<Parcel> = self.parcels.extract_if(.., is_gone).collect();
        if gone.iter().any(|parcel| parcel.is_in_doubt) {
            // Its records may be packed otherwise, under a number that the brokers have seen.
            state.forget_identity();
        }
        self.unplaced.extend(gone.into_iter().flat_map(|parcel| parcel.records));
        let mut parcels: BTreeMap<(usize, u32), Vec<(Parcel, usize)>> = BTreeMap::new();
        for record in std::mem::take(&mut self.unplaced) {
            let wanted = &self.records[record];
            let place = topics.iter().position(|topic| topic == wanted.topic);
            let known = place.and_then(|place| Some((place, state.topics.get(&topics[place])?)));
            let (topic, partitions) = match known {
                Some((place, topic)) if is_there(topic.code) && !topic.partitions.is_empty() => {
                    (place, topic.partitions.len())
                }
                Some((_, topic)) if topic.is_refused(is_patient) => {
                    self.answers[record] = Some(Err(SendError::Refused(topic.code)));
                    continue;
                }
                // No topic that was named at the start.
                None if place.is_none() => {
                    self.answers[record] = Some(Err(SendError::Refused(Code::UNKNOWN_TOPIC_OR_PARTITION)));
                    continue;
                }
                _ => {
                    self.unplaced.push(record);
                    continue;
                }
            };
            let number = match (wanted.near, wanted.key) {
                (Some(near), _) => near,
                (None, Some(key)) => murmur2(key) & 0x7fff_ffff,
                (None, None) => {
                    state.turn = state.turn.wrapping_add(1);
                    state.turn
                }
            };
            let partition = number % partitions as u32;
            let of_partition = parcels.entry((topic, partition)).or_default();
            let bytes = wanted.bytes();
            match of_partition.last_mut() {
                Some((parcel, filled)) if *filled + bytes <= PARCEL_BYTES_MAX => {
                    parcel.records.push(record);
                    *filled += bytes;
                }
                _ => {
                    let parcel = Parcel { topic, partition, records: vec![record], is_in_doubt: false };
                    of_partition.push((parcel, BATCH_BYTES + bytes));
                }
            }
        }
        self.parcels.extend(parcels.into_values().flatten().map(|(parcel, _)| parcel));
        self.unplaced.is_empty()
    }

    /// The next parcel of each partition, by leader, those of a topic together; and whether every partition has a leader.
    fn next(&self, state: &State, topics: &[String]) -> (BTreeMap<i32, Vec<usize>>, bool) {
        let mut next: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        let mut all_led = true;
        let mut chosen = BTreeSet::new();
        for (place, parcel) in self.parcels.iter().enumerate() {
            if !chosen.insert((parcel.topic, parcel.partition)) {
                continue;
            }
            let topic = state.topics.get(&topics[parcel.topic]);
            let partition = topic.and_then(|topic| topic.partitions.get(parcel.partition as usize));
            match partition.filter(|partition| state.brokers.contains_key(&partition.leader)) {
                Some(partition) => next.entry(partition.leader).or_default().push(place),
                None => all_led = false,
            }
        }
        for parcels in next.values_mut() {
            parcels.sort_by_key(|&place| (self.parcels[place].topic, self.parcels[place].partition));
        }
        (next, all_led)
    }

    /// Takes over what a leader says of some parcels; what is to be taken apart is added to `apart`.
    fn hear(&mut self, asked: Asked, state: &mut State, topics: &[String], apart: &mut Vec<usize>) -> Heard {
        let Asked { leader, parcels, connection, was_kept, outcome } = asked;
        if let Some(broker) = state.brokers.get_mut(&leader) {
            broker.connection = connection;
        }
        let codes = match outcome {
            Ok(codes) => codes,
            Err(problem) => {
                self.problem = described(&problem);
                for place in parcels {
                    self.parcels[place].is_in_doubt = true;
                }
                let is_stale = was_kept && matches!(problem, Problem::Closed | Problem::Broken(_));
                if !is_stale {
                    warn!(leader, error = self.problem, "a kafka broker did not say what became of a batch");
                }
                // A broker that is gone leads nothing any more.
                return Heard { knows_leaders: false, is_stale, ..Heard::default() };
            }
        };
        let mut heard = Heard::default();
        for (&place, code) in parcels.iter().zip(codes) {
            let count = self.parcels[place].records.len();
            match code.meaning(count) {
                // The broker has it already: its first answer was lost. Without a first one it is another batch that it has.
                Meaning::Repeated if !self.parcels[place].is_in_doubt => {
                    self.problem = code.to_string();
                    heard.is_known = false;
                }
                Meaning::Done | Meaning::Repeated => {
                    heard.is_progress = true;
                    if let Some(partition) = state.partition(topics, &self.parcels[place]) {
                        // Behind the largest number comes 0.
                        partition.sequence = partition.sequence.wrapping_add(count as i32) & i32::MAX;
                    }
                    self.answer(place, &Ok(()));
                }
                meaning @ (Meaning::Refused | Meaning::Apart) => {
                    // Its number goes to what follows, which may only be if it was never used.
                    heard.is_known &= !self.parcels[place].is_in_doubt;
                    if meaning == Meaning::Apart {
                        apart.push(place);
                    } else {
                        self.answer(place, &Err(SendError::Refused(code)));
                    }
                }
                Meaning::OtherIdentity => {
                    self.problem = code.to_string();
                    heard.is_known = false;
                }
                meaning @ (Meaning::Elsewhere | Meaning::Later) => {
                    self.problem = code.to_string();
                    heard.knows_leaders &= meaning == Meaning::Later;
                    // It may be in the log of the leader all the same.
                    self.parcels[place].is_in_doubt = true;
                }
            }
        }
        heard
    }

    /// Drops the parcels that are answered, and makes of each record of these places a parcel of its own.
    fn take_apart(&mut self, places: &[usize]) {
        let parcels = std::mem::take(&mut self.parcels).into_iter().enumerate();
        for (place, parcel) in parcels.filter(|(_, parcel)| !parcel.records.is_empty()) {
            if !places.contains(&place) {
                self.parcels.push(parcel);
                continue;
            }
            let Parcel { topic, partition, records, .. } = parcel;
            let alone = |record| Parcel { topic, partition, records: vec![record], is_in_doubt: false };
            self.parcels.extend(records.into_iter().map(alone));
        }
    }
}

/// A topic without a leader is there.
fn is_there(code: Code) -> bool {
    matches!(code, Code::NONE | Code::LEADER_NOT_AVAILABLE)
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// The hash by which Kafka's Java client finds a key's partition.
fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const FACTOR: u32 = 0x5bd1_e995;
    let mix = |word: u32| {
        let mixed = word.wrapping_mul(FACTOR);
        (mixed ^ mixed >> 24).wrapping_mul(FACTOR)
    };
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_mul(FACTOR) ^ mix(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 4];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(FACTOR);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Kafka's own `Utils`.
    #[test]
    fn a_key_has_the_hash_that_it_has_in_java() {
        let known = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
