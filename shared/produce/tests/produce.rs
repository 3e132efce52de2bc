//! The producer before brokers that answer as a test wants it.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use centinela_kafka_access::KafkaAccess;
use centinela_produce::{Code, Producer, Record, SendError, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type TestResult = Result<(), Box<dyn Error>>;

const TOPIC: &str = "approved";
const SOON: Duration = Duration::from_secs(20);

/// What the broker does with a batch.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Code(i16),
    /// It is taken, and the connection breaks before anybody hears of it.
    Lost,
    /// Nothing at all.
    Silence,
    /// The beginning of more than there is memory for.
    Endless,
}

/// A batch as the broker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    partition: i32,
    producer: i64,
    sequence: i32,
    records: i32,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    seen: Vec<Seen>,
    identities: i64,
    metadata: usize,
    partitions: usize,
    /// Who leads partitions with even numbers; broker 7 where nobody is named.
    even: Option<i32>,
    /// In so many answers about topics the first one is not there.
    forgotten: usize,
    /// Where the brokers are said to be: 7 and, where it is there, 8.
    ports: Vec<u16>,
    /// What a broker says of batches for this partition, whatever else is said.
    silent: Option<i32>,
}

/// Brokers of one mind.
struct Broker {
    script: Arc<Mutex<Script>>,
    bootstrap: String,
}

impl Broker {
    async fn start(answers: &[Answer]) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let script = Script { answers: answers.iter().copied().collect(), partitions: 2, ..Script::default() };
        let broker = Self { script: Arc::new(Mutex::new(script)), bootstrap: address.to_string() };
        broker.listen(listener)?;
        Ok(broker)
    }

    /// Another broker of the cluster.
    fn listen(&self, listener: TcpListener) -> Result<(), Box<dyn Error>> {
        self.script().ports.push(listener.local_addr()?.port());
        let shared = Arc::clone(&self.script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&shared)));
            }
        });
        Ok(())
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn producer(&self, idempotent: bool) -> Result<Producer, Box<dyn Error>> {
        Ok(Producer::new(Settings {
            access: KafkaAccess::plaintext(&self.bootstrap),
            client_id: "test".to_owned(),
            topics: vec![TOPIC.to_owned(), "other".to_owned()],
            idempotent,
            record_bytes_max: 1_000,
        })?)
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Mutex<Script>>) -> Option<()> {
    loop {
        let length = socket.read_i32().await.ok()?;
        let mut request = vec![0; usize::try_from(length).ok()?];
        socket.read_exact(&mut request).await.ok()?;
        let answered = answer(&request, &mut script.lock().unwrap_or_else(PoisonError::into_inner));
        match answered {
            Ok(body) => {
                let mut answer = (4 + body.len() as u32).to_be_bytes().to_vec();
                answer.extend_from_slice(&request[4..8]);
                answer.extend_from_slice(&body);
                socket.write_all(&answer).await.ok()?;
            }
            Err(Answer::Silence) => {}
            Err(Answer::Endless) => socket.write_all(&i32::MAX.to_be_bytes()).await.ok()?,
            Err(_) => return None,
        }
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn numbers(out: &mut Vec<u8>, numbers: &[i32]) {
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

/// The body of an answer, or how there is none.
fn answer(request: &[u8], script: &mut Script) -> Result<Vec<u8>, Answer> {
    let key = i16::from_be_bytes([request[0], request[1]]);
    // Behind the client's name.
    let body = &request[8 + 2 + "test".len()..];
    let mut out = Vec::new();
    match key {
        3 => {
            script.metadata += 1;
            numbers(&mut out, &[0, script.ports.len() as i32]);
            for (node, port) in (7..).zip(&script.ports) {
                numbers(&mut out, &[node]);
                text(&mut out, "127.0.0.1");
                numbers(&mut out, &[(*port).into()]);
                out.extend_from_slice(&(-1i16).to_be_bytes());
            }
            text(&mut out, "cluster");
            numbers(&mut out, &[7, 2]);
            let is_there = script.forgotten == 0;
            script.forgotten = script.forgotten.saturating_sub(1);
            let first = if is_there { (TOPIC, 0i16, script.partitions) } else { (TOPIC, 3, 0) };
            for (name, code, partitions) in [first, ("other", 3, 0)] {
                out.extend_from_slice(&code.to_be_bytes());
                text(&mut out, name);
                out.push(0);
                numbers(&mut out, &[partitions as i32]);
                // The last first: they may come in any order.
                for partition in (0..partitions as i32).rev() {
                    out.extend_from_slice(&[0; 2]);
                    let leader = script.even.filter(|_| partition % 2 == 0).unwrap_or(7);
                    numbers(&mut out, &[partition, leader, 1, 7, 1, 7]);
                }
            }
        }
        22 => {
            script.identities += 1;
            numbers(&mut out, &[0]);
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&script.identities.to_be_bytes());
            out.extend_from_slice(&[0; 2]);
        }
        0 => {
            let at = |at: usize| i32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
            // No transaction, all replicas, a limit; one topic.
            assert_eq!((&body[..4], at(8)), (&[255, 255, 255, 255][..], 1));
            let mut place = 12 + 2 + TOPIC.len();
            let count = at(place);
            place += 4;
            numbers(&mut out, &[1]);
            text(&mut out, TOPIC);
            numbers(&mut out, &[count]);
            for _ in 0..count {
                let (partition, length) = (at(place), at(place + 4) as usize);
                let batch = place + 8;
                assert_eq!(at(batch + 8) as usize, length - 12, "one whole batch");
                let mut producer = [0; 8];
                producer.copy_from_slice(&body[batch + 43..batch + 51]);
                script.seen.push(Seen {
                    partition,
                    producer: i64::from_be_bytes(producer),
                    sequence: at(batch + 53),
                    records: at(batch + 57),
                });
                place += 8 + length;
                if script.silent == Some(partition) {
                    return Err(Answer::Silence);
                }
                let code = match script.answers.pop_front().unwrap_or(Answer::Code(0)) {
                    Answer::Code(code) => code,
                    other => return Err(other),
                };
                numbers(&mut out, &[partition]);
                out.extend_from_slice(&code.to_be_bytes());
                out.extend_from_slice(&[0; 24]);
            }
            numbers(&mut out, &[0]);
        }
        other => panic!("nobody asks {other}"),
    }
    Ok(out)
}

fn near(partition: u32) -> Record<'static> {
    Record { topic: TOPIC, near: Some(partition), key: Some(b"key"), value: b"value", headers: &[("a", b"b")] }
}

fn batch(partition: i32, producer: i64, sequence: i32, records: i32) -> Seen {
    Seen { partition, producer, sequence, records }
}

#[tokio::test]
async fn a_batch_is_one_request_and_sequences_go_on_by_its_records() -> TestResult {
    let broker = Broker::start(&[]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.connect(SOON).await?, ["other"]);
    let records = [near(1), near(0), near(1), near(3), near(4)];
    assert_eq!(producer.send(&records, SOON).await, vec![Ok(()); 5]);
    assert_eq!(producer.send(&records[..1], SOON).await, [Ok(())]);
    assert!(producer.send(&[], SOON).await.is_empty());
    let script = broker.script();
    assert_eq!(script.seen, [batch(0, 1, 0, 2), batch(1, 1, 0, 3), batch(1, 1, 3, 1)]);
    assert_eq!((script.metadata, script.identities), (1, 1), "everything else was asked for at the start");
    Ok(())
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_sent_again_under_its_number() -> TestResult {
    let broker = Broker::start(&[Answer::Code(0), Answer::Lost, Answer::Code(46)]).await?;
    let producer = broker.producer(true)?;
    for _ in 0..2 {
        assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    }
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    let expected = [batch(0, 1, 0, 1), batch(0, 1, 1, 1), batch(0, 1, 1, 1), batch(0, 1, 2, 1)];
    assert_eq!(broker.script().seen, expected);
    Ok(())
}

#[tokio::test]
async fn what_was_not_answered_in_time_is_followed_under_another_id() -> TestResult {
    let broker = Broker::start(&[Answer::Code(0), Answer::Silence]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    let answers = producer.send(&[near(0)], Duration::from_millis(100)).await;
    assert!(matches!(answers[..], [Err(SendError::Unacknowledged(_))]), "{answers:?}");
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    assert_eq!(broker.script().seen, [batch(0, 1, 0, 1), batch(0, 1, 1, 1), batch(0, 2, 0, 1)]);
    Ok(())
}

#[tokio::test]
async fn a_producer_that_the_brokers_do_not_know_any_more_asks_for_another_id() -> TestResult {
    let broker = Broker::start(&[Answer::Code(0), Answer::Code(45)]).await?;
    let producer = broker.producer(true)?;
    for _ in 0..2 {
        assert_eq!(producer.send(&[near(1)], SOON).await, [Ok(())]);
    }
    assert_eq!(broker.script().seen, [batch(1, 1, 0, 1), batch(1, 1, 1, 1), batch(1, 2, 0, 1)]);
    Ok(())
}

#[tokio::test]
async fn without_an_id_nothing_is_numbered() -> TestResult {
    let broker = Broker::start(&[Answer::Lost]).await?;
    let producer = broker.producer(false)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    assert_eq!(broker.script().seen, [batch(0, -1, -1, 1); 2]);
    assert_eq!(broker.script().identities, 0);
    Ok(())
}

#[tokio::test]
async fn a_leader_that_is_none_any_more_is_looked_for() -> TestResult {
    let broker = Broker::start(&[Answer::Code(6)]).await?;
    let producer = broker.producer(true)?;
    producer.connect(SOON).await?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    assert_eq!(broker.script().metadata, 2);
    Ok(())
}

#[tokio::test]
async fn of_a_batch_that_is_refused_the_good_records_go_out_alone() -> TestResult {
    // The batch, and then each of its records.
    let broker = Broker::start(&[Answer::Code(10), Answer::Code(0), Answer::Code(10), Answer::Code(0)]).await?;
    let producer = broker.producer(true)?;
    let answers = producer.send(&[near(0), near(2), near(4)], SOON).await;
    assert_eq!(answers, [Ok(()), Err(SendError::Refused(Code(10))), Ok(())]);
    // What was refused has no number.
    let expected = [batch(0, 1, 0, 3), batch(0, 1, 0, 1), batch(0, 1, 1, 1), batch(0, 1, 1, 1)];
    assert_eq!(broker.script().seen, expected);
    Ok(())
}

#[tokio::test]
async fn what_no_broker_takes_is_refused_and_not_tried_for_ever() -> TestResult {
    let broker = Broker::start(&[Answer::Code(29)]).await?;
    let producer = broker.producer(true)?;
    let large = [b'x'; 1_000];
    let unwritten = [
        near(0),
        Record { topic: "other", ..near(0) },
        Record { topic: "unheard of", ..near(0) },
        Record { value: &large, ..near(0) },
    ];
    let answers = producer.send(&unwritten, SOON).await;
    let refused = |code| Err(SendError::Refused(Code(code)));
    assert_eq!(answers[..3], [refused(29), refused(3), refused(3)]);
    assert!(matches!(answers[3], Err(SendError::TooLarge { limit: 1_000, .. })), "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn a_topic_with_fewer_partitions_than_before_takes_the_records_elsewhere() -> TestResult {
    let broker = Broker::start(&[Answer::Code(3)]).await?;
    let producer = broker.producer(true)?;
    producer.connect(SOON).await?;
    broker.script().partitions = 1;
    assert_eq!(producer.send(&[near(1)], SOON).await, [Ok(())]);
    let partitions: Vec<i32> = broker.script().seen.iter().map(|seen| seen.partition).collect();
    assert_eq!(partitions, [1, 0]);
    Ok(())
}

#[tokio::test]
async fn brokers_that_are_away_are_no_reason_not_to_start() -> TestResult {
    let away = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string();
    let broker = Broker { script: Arc::default(), bootstrap: away };
    let producer = broker.producer(true)?;
    assert!(producer.connect(Duration::from_millis(500)).await.is_err());
    let answers = producer.send(&[near(0)], Duration::from_millis(200)).await;
    assert!(matches!(answers[..], [Err(SendError::Unacknowledged(_))]), "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn a_doubt_outlives_a_time_in_which_nobody_leads() -> TestResult {
    let broker = Broker::start(&[Answer::Code(0), Answer::Lost]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    broker.script().even = Some(-1);
    let answers = producer.send(&[near(0)], Duration::from_millis(300)).await;
    assert!(matches!(answers[..], [Err(SendError::Unacknowledged(_))]), "{answers:?}");
    broker.script().even = None;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    // Under the number of the batch that is in doubt it would be taken for a repetition, and dropped.
    assert_eq!(broker.script().seen, [batch(0, 1, 0, 1), batch(0, 1, 1, 1), batch(0, 2, 0, 1)]);
    Ok(())
}

#[tokio::test]
async fn a_broker_that_forgets_a_topic_for_a_moment_takes_nothing_for_a_repetition() -> TestResult {
    let broker = Broker::start(&[Answer::Code(0), Answer::Code(6)]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    broker.script().forgotten = 2;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    // Not 0 under the first id: there is such a batch.
    assert_eq!(broker.script().seen, [batch(0, 1, 0, 1), batch(0, 1, 1, 1), batch(0, 2, 0, 1)]);
    Ok(())
}

#[tokio::test]
async fn a_topic_that_is_gone_is_refused_after_a_second() -> TestResult {
    let broker = Broker::start(&[Answer::Code(3)]).await?;
    let producer = broker.producer(true)?;
    producer.connect(SOON).await?;
    broker.script().forgotten = usize::MAX;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Err(SendError::Refused(Code(3)))]);
    Ok(())
}

#[tokio::test]
async fn what_is_refused_after_a_doubt_leaves_its_number_to_nobody() -> TestResult {
    // The brokers were too slow to say that they have it, and do not take it again.
    let broker = Broker::start(&[Answer::Code(7), Answer::Code(29)]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Err(SendError::Refused(Code(29)))]);
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    assert_eq!(broker.script().seen, [batch(0, 1, 0, 1), batch(0, 1, 0, 1), batch(0, 2, 0, 1)]);
    Ok(())
}

#[tokio::test]
async fn a_number_that_was_used_before_without_us_proves_nothing() -> TestResult {
    let broker = Broker::start(&[Answer::Code(46)]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    assert_eq!(broker.script().seen, [batch(0, 1, 0, 1), batch(0, 2, 0, 1)]);
    Ok(())
}

#[tokio::test]
async fn an_error_that_nobody_knows_is_tried_again() -> TestResult {
    let broker = Broker::start(&[Answer::Code(-1), Answer::Code(12_345)]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    assert_eq!(broker.script().seen, [batch(0, 1, 0, 1); 3]);
    Ok(())
}

#[tokio::test]
async fn brokers_that_have_moved_are_found() -> TestResult {
    let broker = Broker::start(&[]).await?;
    let away = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let here = std::mem::replace(&mut broker.script().ports[0], away);
    let producer = broker.producer(true)?;
    assert_eq!(producer.connect(SOON).await?, ["other"], "what one broker knows is said");
    broker.script().ports[0] = here;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    Ok(())
}

#[tokio::test]
async fn what_a_leader_acknowledges_is_known_though_another_is_silent() -> TestResult {
    let broker = Broker::start(&[]).await?;
    broker.listen(TcpListener::bind("127.0.0.1:0").await?)?;
    broker.script().even = Some(8);
    broker.script().silent = Some(0);
    let producer = broker.producer(true)?;
    producer.connect(SOON).await?;
    let answers = producer.send(&[near(0), near(1)], Duration::from_millis(200)).await;
    assert!(matches!(answers[..], [Err(SendError::Unacknowledged(_)), Ok(())]), "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn a_broker_that_breaks_every_connection_is_asked_with_pauses() -> TestResult {
    let broker = Broker::start(&[Answer::Lost; 1_000]).await?;
    let producer = broker.producer(true)?;
    producer.connect(SOON).await?;
    let answers = producer.send(&[near(0)], Duration::from_millis(400)).await;
    assert!(matches!(answers[..], [Err(SendError::Unacknowledged(_))]), "{answers:?}");
    // 10, 20, 40, 80 and 160 ms, and one at once.
    assert!(broker.script().seen.len() <= 8, "{}", broker.script().seen.len());
    Ok(())
}

#[tokio::test]
async fn an_answer_without_an_end_costs_no_memory_and_one_more_try() -> TestResult {
    let broker = Broker::start(&[Answer::Endless]).await?;
    let producer = broker.producer(true)?;
    assert_eq!(producer.send(&[near(0)], SOON).await, [Ok(())]);
    assert_eq!(broker.script().seen, [batch(0, 1, 0, 1); 2]);
    Ok(())
}

#[tokio::test]
async fn what_is_too_much_for_one_batch_leaves_in_several_one_behind_the_other() -> TestResult {
    let broker = Broker::start(&[]).await?;
    let producer = broker.producer(true)?;
    let value = [b'x'; 900];
    let records = vec![Record { value: &value, ..near(0) }; 5_000];
    assert_eq!(producer.send(&records, SOON).await, vec![Ok(()); 5_000]);
    let seen = broker.script().seen.clone();
    let mut next = 0;
    for batch in &seen {
        assert_eq!(batch.sequence, next);
        next += batch.records;
    }
    assert!(next == 5_000 && seen.len() == 5, "{seen:?}");
    Ok(())
}

#[test]
fn an_address_that_is_none_is_named() {
    for wrong in ["", "broker", "broker:port", ":9092", "a:1,b"] {
        let settings = Settings {
            access: KafkaAccess::plaintext(wrong),
            client_id: String::new(),
            topics: Vec::new(),
            idempotent: false,
            record_bytes_max: 1,
        };
        let problem = Producer::new(settings).expect_err("it is no address").to_string();
        assert!(problem.contains(&format!("`{wrong}`")), "{problem}");
    }
}
