//! The three alarms that were asked for, on lag, on slow decisions (average and p99) and on blocked transactions: each is fired and cleared
//! by what the real function does and prints, and by what the mapping counts. Each is cleared by newer data, not by silence.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use centinela_e2e::built;
use centinela_infra::Infrastructure;
use centinela_local::aws::{Fault, FaultSource, RequestInfo};
use centinela_local::cloudwatch::State;
use centinela_local::platform::{AlarmView, Platform, PlatformConfig};
use futures::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;

use crate::{MINUTE_MS, PATIENCE, now_ms, until};

const FUNCTION: &str = "score-transactions";
const LAG: &str = "centinela-lag";
const SLOW_AVERAGE: &str = "centinela-slow-average";
const SLOW_TAIL: &str = "centinela-slow-p99";
const BLOCK_RATE: &str = "centinela-block-rate";

/// Too few for a percentile to be judged, and for a block rate.
const SLOW: usize = 30;
/// With these there are enough for both, and the slow ones are more than one in a hundred.
const HONEST: usize = 900;
const FRAUDULENT: usize = 300;
/// Devices that these come from.
const DEVICES: usize = 20;
/// With these the slow ones are less than that, by far, and the blocked ones less than one in ten.
const CALM: usize = 6_000;
/// More than 10,000 wait.
const WAITING: usize = 10_600;
/// Sent before they are waited for, so that nothing waits in Kafka for long.
const IN_FLIGHT: usize = 100;
/// Longer than a decision may take, and shorter than the function waits for an answer.
const LATE: Duration = Duration::from_millis(700);
/// After a minute's end, when its last lines have come.
const LOOK_MS: i64 = 3_000;

/// A user and what is sent of the user.
type Sent = (String, Vec<u8>);

/// What DynamoDB does to the function's requests.
#[derive(Default)]
struct Database(Mutex<Fault>);

impl Database {
    fn does(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl FaultSource for Database {
    fn decide(&self, request: &RequestInfo<'_>) -> Fault {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            _ if request.service != "dynamodb" => Fault::None,
            // Once for each batch.
            Fault::Delay(_) if request.operation != "BatchGetItem" => Fault::None,
            fault => fault,
        }
    }
}

/// The function alone, which decides by the model whatever share that blocks. The alarms on slow decisions judge one period of five
/// minutes, where they judge several of one: so a run that is over within a minute is looked at more than once. What they compare, with
/// which threshold, and how many values a percentile needs is as the stacks say.
fn stacks() -> Infrastructure {
    let mut stacks = Infrastructure::bundled("local").expect("the stacks are in order");
    stacks.functions.retain(|function| function.name == FUNCTION);
    stacks.mappings.retain(|mapping| mapping.function == FUNCTION);
    stacks.stream_mappings.clear();
    stacks.triggers.clear();
    stacks.functions[0].environment.insert("BLOCK_RATE_GUARD".to_owned(), "off".to_owned());
    for alarm in [SLOW_AVERAGE, SLOW_TAIL] {
        let resource = stacks.resources.iter_mut().find(|resource| resource.properties["AlarmName"] == alarm);
        let properties = &mut resource.expect("the alarm is declared").properties;
        properties["Period"] = json!(300);
        properties["EvaluationPeriods"] = json!(1);
        properties["DatapointsToAlarm"] = json!(1);
    }
    stacks
}

/// Customers who buy something for the first time, at noon.
fn calm(name: &str, count: usize) -> Vec<Sent> {
    let purchase = |number: usize| {
        let user = format!("{name}-{number}");
        let transaction = json!({
            "transaction_id": format!("t-{user}"), "timestamp": 1_767_787_200_000_u64 + number as u64, "user_id": user,
            "amount": "12.50", "currency": "USD", "device_type": "mobile", "device_id": format!("d-{user}"),
            "ip": format!("10.0.{}.{}", number / 250, number % 250), "user_agent": "shop/1",
        });
        (user, transaction.to_string().into_bytes())
    };
    (0..count).map(purchase).collect()
}

/// Stolen cards, tried out on a few devices: each device is used by many users, each of them new.
fn fraudulent(count: usize) -> Vec<Sent> {
    let purchase = |number: usize| {
        let user = format!("stolen-{number}");
        let transaction = json!({
            "transaction_id": format!("t-{user}"), "timestamp": 1_767_787_200_000_u64 + number as u64 * 50, "user_id": user,
            "amount": "189.90", "currency": "EUR", "device_type": "desktop", "device_id": format!("d-thief-{}", number % DEVICES),
            "ip": format!("198.51.100.{}", number % DEVICES), "user_agent": "a script",
        });
        (user, transaction.to_string().into_bytes())
    };
    (0..count).map(purchase).collect()
}

/// An alarm that has spoken.
struct Spoke {
    alarm: &'static str,
    by: &'static str,
    point: f64,
    after: Duration,
}

struct World {
    platform: Platform,
    producer: FutureProducer,
    database: Arc<Database>,
    said: Arc<Mutex<Vec<String>>>,
    sent: u32,
    /// The minute, since 1970, that the alarms have seen the end of.
    minute: i64,
    table: String,
}

impl World {
    async fn start() -> Self {
        let (database, said) = (Arc::new(Database::default()), Arc::new(Mutex::new(Vec::<String>::new())));
        let mut config = PlatformConfig::new(stacks(), &built(&[FUNCTION]));
        config.faults = Arc::clone(&database) as Arc<dyn FaultSource>;
        let noted = Arc::clone(&said);
        config.say = Arc::new(move |line| noted.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned()));
        let platform = Platform::start(config).await.expect("the platform starts");
        let bootstrap = &platform.endpoints().kafka;
        let producer = ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("a producer");
        let table = "| alarm | fired by | at | after | cleared by | at | after |\n| --- | --- | --- | --- | --- | --- | --- |\n";
        Self { platform, producer, database, said, sent: 0, minute: 0, table: table.to_owned() }
    }

    async fn send(&mut self, transactions: &[Sent]) {
        let sent = transactions.iter().map(|(user, transaction)| {
            self.producer.send(FutureRecord::to("transactions").key(user).payload(transaction), PATIENCE)
        });
        for taken in join_all(sent).await {
            taken.expect("kafka takes it");
        }
        self.sent += u32::try_from(transactions.len()).expect("a few thousand");
    }

    /// Until all that was sent is decided, and counted by whoever judges it. The line that counts a batch has its latencies too, of more than
    /// 100 records not every one.
    async fn decided(&self) {
        until("all is decided", || {
            let totals = self.platform.metric_totals();
            let decided = totals.iter().find(|total| total.metric.name == "Decided");
            decided.is_some_and(|decided| decided.sum >= f64::from(self.sent)) && self.lag() == 0
        })
        .await;
    }

    async fn send_in_turn(&mut self, transactions: &[Sent]) {
        for some in transactions.chunks(IN_FLIGHT) {
            self.send(some).await;
            self.decided().await;
        }
    }

    fn lag(&self) -> u64 {
        self.platform.stats().mappings.values().map(|mapping| mapping.lag).sum()
    }

    /// The alarms see the end of a minute, of the one that it is now or of a later one.
    fn minute(&mut self) {
        self.minute = self.minute.max(now_ms().div_euclid(MINUTE_MS)) + 1;
        self.platform.observe(self.minute * MINUTE_MS + LOOK_MS);
    }

    fn view(&self, alarm: &str) -> AlarmView {
        let mut alarms = self.platform.alarms().into_iter();
        alarms.find(|view| view.name == alarm).expect("the alarm is declared")
    }

    #[track_caller]
    fn is_well(&self, alarm: &str) {
        let view = self.view(alarm);
        assert_eq!(view.state, State::Ok, "{alarm}: {}", view.reason);
    }

    /// It speaks, and has told people.
    #[track_caller]
    fn spoke(&self, alarm: &'static str, by: &'static str, since: Instant) -> Spoke {
        let view = self.view(alarm);
        assert_eq!(view.state, State::Alarm, "{alarm}: {}", view.reason);
        let subject = format!("message on centinela-alerts: ALARM: \"{alarm}\"");
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(said.iter().any(|line| line.contains(&subject)), "{said:?}");
        Spoke { alarm, by, point: view.value.expect("it speaks of data"), after: since.elapsed() }
    }

    /// It has stopped, because of what it sees.
    #[track_caller]
    fn stopped(&mut self, spoke: &Spoke, by: &str, since: Instant) {
        let view = self.view(spoke.alarm);
        assert_eq!(view.state, State::Ok, "{}: {}", spoke.alarm, view.reason);
        let point = view.value.expect("it is well by data");
        assert!(point < spoke.point, "{}: {}", spoke.alarm, view.reason);
        let (fired_s, cleared_s) = (spoke.after.as_secs_f64(), since.elapsed().as_secs_f64());
        let Spoke { alarm, by: fired_by, point: fired_at, .. } = spoke;
        writeln!(
            self.table,
            "| `{alarm}` | {fired_by} | {fired_at:.1} | {fired_s:.1} s | {by} | {point:.1} | {cleared_s:.1} s |"
        )
        .expect("it is a string");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alarms_that_were_asked_for_are_fired_and_cleared_by_what_the_function_does() {
    let mut world = World::start().await;

    let began = Instant::now();
    world.database.does(Fault::Delay(LATE));
    world.send(&calm("slow", SLOW)).await;
    world.decided().await;
    world.minute();
    let average = world.spoke(SLOW_AVERAGE, "30 decisions while DynamoDB answers 700 ms late", began);
    // Of so few it is not known.
    world.is_well(BLOCK_RATE);
    assert_ne!(world.view(SLOW_TAIL).state, State::Alarm, "{}", world.view(SLOW_TAIL).reason);

    let frauds = Instant::now();
    world.database.does(Fault::None);
    world.send_in_turn(&fraudulent(FRAUDULENT)).await;
    world.send_in_turn(&calm("honest", HONEST)).await;
    world.minute();
    world.stopped(&average, "1,200 decisions without delay", frauds);
    let tail = world.spoke(SLOW_TAIL, "these 30 among 1,230", began);
    let blocked = world.spoke(BLOCK_RATE, "300 stolen cards on 20 devices, among 1,230", frauds);

    let calmed = Instant::now();
    world.send_in_turn(&calm("calm", CALM)).await;
    world.minute();
    for spoke in [tail, blocked] {
        world.stopped(&spoke, "6,000 purchases of honest customers", calmed);
    }

    let outage = Instant::now();
    world.is_well(LAG);
    world.database.does(Fault::Throttle);
    world.send(&calm("waiting", WAITING)).await;
    until("they wait", || world.lag() > 10_000).await;
    world.minute();
    // For one minute only so far.
    world.is_well(LAG);
    world.minute();
    let lag = world.spoke(LAG, "10,600 transactions while DynamoDB refuses everything", outage);

    let healed = Instant::now();
    world.database.does(Fault::None);
    world.decided().await;
    world.minute();
    world.stopped(&lag, "all of them decided, once DynamoDB answers", healed);

    println!("{}", world.table);
    world.platform.stop(Duration::from_secs(5)).await.expect("it ends in order");
}
