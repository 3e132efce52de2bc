//! What a batch's calls cost their caller: CPU of the calling thread, by the lean client and by the SDK's, in the clear and over TLS.
//!
//! `cargo run --release --example call_cost -- CALLS` (2,000 of each if left out). The services are the embedded ones, on threads of their
//! own, whose time is not counted. It takes turns between the clients and prints medians of five rounds.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::error::Error;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::Credentials;
use centinela_adapters::aws::{Services, WireClient};
use centinela_adapters::{DynamoConfig, DynamoLimits, DynamoStateStore, KinesisConfig, KinesisStream, SystemClock};
use centinela_contracts::stored_user::StoredUser;
use centinela_delivery::Clock;
use centinela_domain::{DecisionId, DeviceId, Ledger, Millis, Outcome, TransactionId, UserId, UserState};
use centinela_local::aws::{
    ACCESS_KEY_ID, AttrType, DynamoConfig as Tables, DynamoDb, Kinesis, KinesisConfig as Streams, REGION,
    SECRET_ACCESS_KEY, StreamSpec, TableSpec,
};
use centinela_scoring::ports::{Commit, DecisionPublisher, DecisionState, Outgoing, ReadRequest, StateReader, Write};
use nix::sys::resource::{UsageWho, getrusage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Anything<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 5;
const CLIENTS: [WireClient; 2] = [WireClient::Lean, WireClient::Sdk];
/// Both clients trust what this file holds, and read it when they start.
const CERTIFICATES: &str = "SSL_CERT_FILE";
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../wire/tests/tls/authority.pem");

fn main() -> Anything<()> {
    let calls: usize = std::env::args().nth(1).map_or(Ok(2_000), |text| text.parse())?;
    if std::env::var_os(CERTIFICATES).is_none_or(|file| file != AUTHORITY) {
        let status =
            Command::new(std::env::current_exe()?).arg(calls.to_string()).env(CERTIFICATES, AUTHORITY).status()?;
        std::process::exit(status.code().unwrap_or(1));
    }
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (dynamodb, kinesis) = servers.block_on(services())?;
    let [plain, tls] = [false, true].map(|tls| servers.block_on(addresses(&dynamodb, &kinesis, tls)));
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{:<37} {:>12}  {:>12}  {:>5}", "call", "lean, CPU µs", "SDK, CPU µs", "ratio");
    for (name, urls) in [("", plain?), (" over TLS", tls?)] {
        client.block_on(table(name, &urls, calls))?;
    }
    Ok(())
}

async fn services() -> Anything<(DynamoDb, Kinesis)> {
    let table = |name: &str| TableSpec {
        name: name.to_owned(),
        partition_key: ("pk".to_owned(), AttrType::S),
        sort_key: None,
        ttl_attribute: None,
    };
    let tables = ["users", "devices", "marks"].map(table).to_vec();
    let dynamodb = DynamoDb::start(Tables { tables, ..Tables::default() }).await?;
    let streams = vec![StreamSpec { name: "decisions".to_owned(), shards: 2 }];
    Ok((dynamodb, Kinesis::start(Streams { streams, ..Streams::default() }).await?))
}

/// Where both services are, in the clear or behind something that ends TLS.
async fn addresses(dynamodb: &DynamoDb, kinesis: &Kinesis, tls: bool) -> Anything<[String; 2]> {
    let plain = [dynamodb.url(), kinesis.url()];
    if !tls {
        return Ok(plain);
    }
    let pem = |name: &str| std::fs::read(format!("{}/../wire/tests/tls/{name}", env!("CARGO_MANIFEST_DIR")));
    let certificate = CertificateDer::from_pem_slice(&pem("server.pem")?)?;
    let key = PrivateKeyDer::from_pem_slice(&pem("server.key")?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let acceptor = TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key)?));
    let mut urls = Vec::new();
    for url in plain {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        urls.push(format!("https://localhost:{}", listener.local_addr()?.port()));
        let (behind, acceptor) = (url.trim_start_matches("http://").to_owned(), acceptor.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (behind, acceptor) = (behind.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let mut front = acceptor.accept(socket).await?;
                    let mut back = TcpStream::connect(behind).await?;
                    back.set_nodelay(true)?;
                    tokio::io::copy_bidirectional(&mut front, &mut back).await
                });
            }
        });
    }
    Ok([urls.remove(0), urls.remove(0)])
}

async fn sdk(url: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "example"))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .load()
        .await
}

/// One client's way to both services.
struct Side {
    store: DynamoStateStore,
    stream: KinesisStream,
}

async fn side([dynamodb, kinesis]: &[String; 2], by: WireClient) -> Anything<Side> {
    let config = DynamoConfig {
        user_table: "users".to_owned(),
        device_table: "devices".to_owned(),
        marks_table: "marks".to_owned(),
        consumer_group: "group".to_owned(),
        transactions_topic: "transactions".to_owned(),
        name_for_logs: Arc::new(|_| "pseudonym".to_owned()),
        limits: DynamoLimits { attempt: Duration::from_secs(30), ..DynamoLimits::default() },
    };
    let store = DynamoStateStore::connect(Services::new(&sdk(dynamodb).await, by)?.tables().await?, config).await?;
    let streams = Services::new(&sdk(kinesis).await, by)?.streams().await?;
    Ok(Side { store, stream: KinesisStream::connect(streams, KinesisConfig::new("decisions")).await? })
}

#[derive(Clone, Copy)]
enum Call {
    Read(usize),
    Write(usize),
    Put(usize),
}

async fn table(transport: &str, urls: &[String; 2], calls: usize) -> Anything<()> {
    let sides = [side(urls, CLIENTS[0]).await?, side(urls, CLIENTS[1]).await?];
    fill(&sides[0], 100).await?;
    for (name, call) in [
        ("BatchGetItem, 3 keys", Call::Read(3)),
        ("BatchGetItem, 10 keys", Call::Read(10)),
        ("BatchGetItem, 100 keys", Call::Read(100)),
        ("BatchExecuteStatement, 3", Call::Write(3)),
        ("BatchExecuteStatement, 25", Call::Write(25)),
        ("PutRecords, 3", Call::Put(3)),
        ("PutRecords, 100", Call::Put(100)),
    ] {
        let mut measured = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (side, measured) in sides.iter().zip(&mut measured) {
                measured.push(round(side, call, calls / ROUNDS).await?);
            }
        }
        let [lean, sdk] = measured.map(|mut rounds| {
            rounds.sort_by(f64::total_cmp);
            rounds[ROUNDS / 2]
        });
        println!("{:<37} {lean:>12.0}  {sdk:>12.0}  {:>5.1}", format!("{name}{transport}"), sdk / lean);
    }
    Ok(())
}

fn user(number: usize) -> UserId {
    UserId::new(format!("user-{number:05}")).expect("a valid name")
}

/// About what an ordinary user's item has.
fn stored(transactions: u64) -> StoredUser {
    StoredUser {
        state: UserState { transactions, ..UserState::new(Millis(1_790_000_000_000)) },
        ledger: Ledger::default(),
    }
}

fn soon() -> Millis {
    Millis(SystemClock.now().0 + 60_000)
}

async fn fill(side: &Side, users: usize) -> Anything<()> {
    let writes = (0..users).map(|number| Write { key: user(number), expected: None, item: stored(1) });
    let commits = side.store.commit_users(writes.collect(), soon()).await;
    // The second time they are there.
    let known = commits.iter().all(|commit| matches!(commit, Commit::Done | Commit::Lost(Some(_))));
    if known { Ok(()) } else { Err(format!("the tables were not filled: {commits:?}").into()) }
}

/// CPU microseconds a call.
async fn round(side: &Side, call: Call, calls: usize) -> Anything<f64> {
    let users = match call {
        Call::Read(users) | Call::Write(users) | Call::Put(users) => users,
    };
    let mut versions = Vec::new();
    if matches!(call, Call::Write(_)) {
        for number in 0..users {
            versions.push(side.store.read_user(&user(number), soon()).await?.map(|found| found.version));
        }
    }
    let decisions: Vec<Outgoing> = (0..users).map(outgoing).collect();
    let (before, started) = (cpu()?, Instant::now());
    for _ in 0..calls {
        match call {
            Call::Read(users) => {
                let users: Vec<UserId> = (0..users).map(user).collect();
                let devices = vec![DeviceId::new("phone").expect("a valid name")];
                let request = ReadRequest { users, devices, partitions: vec![1] };
                let answer = side.store.read(request, soon()).await;
                assert!(answer.problem.is_none(), "{:?}", answer.problem);
            }
            Call::Write(_) => {
                let write = |(number, version): (usize, &mut Option<u64>)| {
                    let expected = version.replace(version.map_or(1, |version| version + 1));
                    Write { key: user(number), expected, item: stored(1) }
                };
                let writes = versions.iter_mut().enumerate().map(write).collect();
                let commits = side.store.commit_users(writes, soon()).await;
                assert!(commits.iter().all(|commit| matches!(commit, Commit::Done)), "{commits:?}");
            }
            Call::Put(_) => {
                let results = side.stream.publish(&decisions, soon()).await;
                assert!(results.iter().all(Result::is_ok), "{results:?}");
            }
        }
    }
    let used = cpu()? - before;
    assert!(started.elapsed() >= used, "a thread has one processor");
    Ok(used.as_secs_f64() * 1e6 / calls as f64)
}

fn outgoing(number: usize) -> Outgoing {
    let transaction_id = TransactionId::new(format!("t-{number}")).expect("a valid name");
    let decision_id = DecisionId::derive(&user(number), &transaction_id);
    Outgoing { outcome: Outcome::Approved, transaction_id, partition: 0, decision_id, payload: vec![b'x'; 900] }
}

/// What this thread has used, in user mode and in the kernel.
fn cpu() -> Anything<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let of = |time: nix::sys::time::TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    Ok(of(usage.user_time()) + of(usage.system_time()))
}
