//! One connection to a broker: a request goes out, its answer comes in, and nothing else happens on it.

use std::io;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::failure::Problem;
use crate::login::{self, Login};
use crate::protocol::{Answer, Api, Request};

/// A connection within a region takes a few milliseconds, and its login a few more; after this it is not coming.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Brokers forget a connection after ten minutes without a word, and a network in between after six; a frozen environment hears nothing.
const IDLE_MAX: Duration = Duration::from_secs(240);
/// What is read at a time: room is made for what arrives, not for what is announced.
const READ_BYTES: usize = 4 * 1024;
/// No answer to a producer is as long: it names the partitions of some topics.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A larger buffer is given back after its use.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Where a broker is, and how connections to it are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Of `host:port`, where the host may stand in brackets.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How every connection begins.
pub(crate) struct Opening {
    pub(crate) client_id: String,
    pub(crate) tls: Option<TlsConnector>,
    pub(crate) login: Login,
}

/// A connection that is logged in, with the buffers of what goes over it.
pub(crate) struct Connection {
    stream: Stream,
    output: Vec<u8>,
    input: Vec<u8>,
    correlation: i32,
    used: Instant,
    /// When its login ends.
    ends: Option<Instant>,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(address: &Address, opening: &Opening) -> Result<Self, Problem> {
        let connecting = async {
            let stream = Stream::open(address, opening.tls.as_ref()).await;
            let stream = stream.map_err(|source| Problem::Connect { address: address.to_string(), source })?;
            let now = Instant::now();
            let mut connection =
                Self { stream, output: Vec::new(), input: Vec::new(), correlation: 0, used: now, ends: None };
            login::log_in(&mut connection, opening).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(opened) => opened,
            Err(_) => {
                let (address, waited_ms) = (address.to_string(), CONNECT_LIMIT.as_millis());
                Err(Problem::ConnectTimeout { address, waited_ms })
            }
        }
    }

    /// Its login ends after so long: it is not used beyond four fifths of that.
    pub(crate) fn ends_after(&mut self, lifetime: Duration) {
        self.ends = Instant::now().checked_add(lifetime * 4 / 5);
    }

    /// Whether another request can go over it, as far as is known without asking.
    pub(crate) fn is_usable(&self) -> bool {
        self.used.elapsed() < IDLE_MAX && self.ends.is_none_or(|ends| Instant::now() < ends)
    }

    /// Asks, and gives the answer.
    pub(crate) async fn ask(
        &mut self,
        api: Api,
        client_id: &str,
        write: impl FnOnce(&mut Request<'_>),
    ) -> Result<Answer<'_>, Problem> {
        self.correlation = self.correlation.wrapping_add(1);
        let mut request = Request::begin(&mut self.output, api, self.correlation, client_id);
        write(&mut request);
        request.end();
        self.stream.send(&self.output).await.map_err(Problem::Broken)?;
        give_back(&mut self.output);
        give_back(&mut self.input);
        self.input.clear();
        self.receive(4).await?;
        let mut length = [0; 4];
        length.copy_from_slice(&self.input[..4]);
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(Problem::Malformed("it is too long"));
        }
        self.receive(4 + length).await?;
        if self.input.len() > 4 + length {
            return Err(Problem::Malformed("more follows than was asked"));
        }
        self.used = Instant::now();
        Answer::begin(&self.input[4..], self.correlation)
    }

    /// Reads until there are so many bytes.
    async fn receive(&mut self, wanted: usize) -> Result<(), Problem> {
        while self.input.len() < wanted {
            self.input.reserve(READ_BYTES);
            if self.stream.receive(&mut self.input).await.map_err(Problem::Broken)? == 0 {
                return Err(Problem::Closed);
            }
        }
        Ok(())
    }
}

fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    }
}

impl Stream {
    async fn open(address: &Address, tls: Option<&TlsConnector>) -> io::Result<Self> {
        let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
        // A request is one write, and its answer is waited for.
        socket.set_nodelay(true)?;
        let Some(tls) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(tls.connect(name, socket).await?)))
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    async fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read_buf(into).await,
            Self::Tls(stream) => stream.read_buf(into).await,
        }
    }
}
