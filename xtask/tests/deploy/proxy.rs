//! Between the deploy and the emulator: lets calls through, or has them go wrong, and remembers them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What becomes of a call.
#[derive(Clone)]
pub enum Effect {
    /// It is answered so, and never reaches the emulator.
    Answer(u16, String),
    /// Its connection ends before it reaches the emulator.
    Lost,
    /// It is carried out, and its answer is lost.
    AnswerLost,
}

struct Rule {
    /// Found in the call's method, path, name and body.
    text: String,
    effect: Effect,
    times: usize,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    calls: Vec<String>,
}

/// A listener on one port of this machine.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Before an emulator.
    pub fn start(emulator: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let known = Arc::clone(&state);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&known);
                std::thread::spawn(move || drop(serve(stream, emulator, &state)));
            }
        });
        Self { address, state }
    }

    /// The next calls with this text go wrong.
    pub fn inject(&self, text: &str, effect: Effect, times: usize) {
        self.state.lock().expect("rules").rules.push(Rule { text: text.to_owned(), effect, times });
    }

    /// How many of the injected effects were not met.
    pub fn left(&self) -> usize {
        self.state.lock().expect("rules").rules.iter().map(|rule| rule.times).sum()
    }

    /// Forgets the rest of them.
    pub fn calm(&self) {
        self.state.lock().expect("rules").rules.clear();
    }

    /// The calls since it was asked last.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().expect("calls").calls)
    }
}

fn serve(client: TcpStream, emulator: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut client = client;
    let (mut head, mut line, mut length) = (String::new(), String::new(), 0);
    let mut first = String::new();
    let mut target = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let lower = line.to_ascii_lowercase();
        if line == "\r\n" {
            break;
        }
        if first.is_empty() {
            first = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if lower.starts_with("x-amz-target:") {
            target = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let call = format!("{first} {target} {}", String::from_utf8_lossy(&body[..body.len().min(4096)]));
    match decide(state, call) {
        Some(Effect::Lost) => return client.shutdown(Shutdown::Both),
        Some(Effect::Answer(status, text)) => {
            let length = text.len();
            write!(
                client,
                "HTTP/1.1 {status} Injected\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{text}"
            )?;
            return client.shutdown(Shutdown::Write);
        }
        Some(Effect::AnswerLost) => {
            drop(forward(emulator, &head, &body)?);
            return client.shutdown(Shutdown::Both);
        }
        None => {}
    }
    client.write_all(&forward(emulator, &head, &body)?)?;
    client.shutdown(Shutdown::Write)
}

fn decide(state: &Mutex<State>, call: String) -> Option<Effect> {
    let mut state = state.lock().expect("rules");
    let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && call.contains(&rule.text));
    let effect = rule.map(|rule| {
        rule.times -= 1;
        rule.effect.clone()
    });
    state.calls.push(call);
    effect
}

fn forward(emulator: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(emulator)?;
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"connection: close\r\n\r\n")?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
