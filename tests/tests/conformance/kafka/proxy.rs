//! A connection to Kafka that loses an answer: the broker has appended the batch, and its producer never hears of it.
//!
//! It reads the frames of the Kafka protocol far enough to find the answer of a produce request, and puts its own port where
//! the broker names its own, so that a client stays with it. <https://kafka.apache.org/protocol>

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

const HOST: &[u8] = b"127.0.0.1";
const PRODUCE: [u8; 2] = [0, 0];
const NO_REQUEST: i64 = -1;

/// A listener on 127.0.0.1 before a broker. Its threads end with the connections; the listener ends with the test process.
pub struct LossyLink {
    port: u16,
    state: Arc<State>,
}

struct State {
    broker: String,
    broker_port: u16,
    port: u16,
    armed: AtomicBool,
    lost: AtomicUsize,
}

impl LossyLink {
    pub fn before(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let broker_port = broker.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("host and port");
        let state = State {
            broker: broker.to_owned(),
            broker_port,
            port,
            armed: AtomicBool::new(false),
            lost: AtomicUsize::new(0),
        };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(broker) = TcpStream::connect(&shared.broker) {
                    link(client, broker, &shared);
                }
            }
        });
        Self { port, state }
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The answer of the next produce request is lost, and the connection with it.
    pub fn lose_next_answer(&self) {
        self.state.armed.store(true, Ordering::SeqCst);
    }

    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }
}

fn link(client: TcpStream, broker: TcpStream, state: &Arc<State>) {
    let doomed = Arc::new(AtomicI64::new(NO_REQUEST));
    let both = |client: &TcpStream, broker: &TcpStream| Some((client.try_clone().ok()?, broker.try_clone().ok()?));
    let Some((from_client, to_broker)) = both(&client, &broker) else { return };
    let (up, up_doomed) = (Arc::clone(state), Arc::clone(&doomed));
    std::thread::spawn(move || {
        let ended = requests(&from_client, &to_broker, &up, &up_doomed);
        close(&from_client, &to_broker, ended);
    });
    let down = Arc::clone(state);
    std::thread::spawn(move || {
        let ended = answers(&broker, &client, &down, &doomed);
        close(&broker, &client, ended);
    });
}

/// One side has ended, so the other one does.
fn close(one: &TcpStream, other: &TcpStream, _ended: io::Result<()>) {
    for stream in [one, other] {
        stream.shutdown(Shutdown::Both).unwrap_or_default();
    }
}

fn requests(mut client: &TcpStream, mut broker: &TcpStream, state: &State, doomed: &AtomicI64) -> io::Result<()> {
    loop {
        let frame = frame(&mut client)?;
        if frame.get(4..6) == Some(&PRODUCE) && state.armed.swap(false, Ordering::SeqCst) {
            doomed.store(correlation(frame.get(8..12)), Ordering::SeqCst);
        }
        broker.write_all(&frame)?;
    }
}

fn answers(mut broker: &TcpStream, mut client: &TcpStream, state: &State, doomed: &AtomicI64) -> io::Result<()> {
    loop {
        let mut frame = frame(&mut broker)?;
        if correlation(frame.get(4..8)) == doomed.load(Ordering::SeqCst) {
            state.lost.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        own_port_instead(&mut frame, state);
        client.write_all(&frame)?;
    }
}

/// A length, and as many bytes.
fn frame(stream: &mut &TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame)?;
    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    frame.resize(4 + length, 0);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn correlation(bytes: Option<&[u8]>) -> i64 {
    bytes.unwrap_or_default().iter().fold(0, |id, byte| id << 8 | i64::from(*byte))
}

/// Where an answer names the broker: its host and then its port, as four bytes.
fn own_port_instead(frame: &mut [u8], state: &State) {
    let named = [HOST, &u32::from(state.broker_port).to_be_bytes()].concat();
    let own = [HOST, &u32::from(state.port).to_be_bytes()].concat();
    for start in 0..frame.len().saturating_sub(named.len() - 1) {
        if frame[start..].starts_with(&named) {
            frame[start..start + named.len()].copy_from_slice(&own);
        }
    }
}
