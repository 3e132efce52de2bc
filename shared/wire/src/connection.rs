//! One connection: requests go out, their answers come in, in the same order, and nothing else happens on it.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::Address;
use crate::answer::{self, ChunkProblem, Chunks, Framing, Head, Headers, Step};
use crate::failure::CallError;
use crate::request::RequestBuffer;

/// A connection within a region takes a few milliseconds; after this it is not coming, from none of a name's addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// An address that has not answered by then is not waited for alone: the next one of the name is tried beside it. The shortest time that
/// <https://www.rfc-editor.org/rfc/rfc8305#section-8> recommends, and room for ten addresses.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(100);
/// A connection that was not used for so long may be gone without a word: load balancers forget, and a frozen environment hears nothing.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// What is read at a time when nothing is known of the length.
const READ_BYTES: usize = 8 * 1024;
/// A larger buffer is given back after its answer.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// How TLS is done, and with whom.
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) name: ServerName<'static>,
}

/// How a server is reached.
pub(crate) enum Route {
    Plain,
    Tls(Tls),
    /// Not at all: every request has this answer.
    Canned(Arc<[u8]>),
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Canned { answer: Arc<[u8]>, read: usize },
}

/// A connection with the buffers of what goes over it.
pub(crate) struct Connection {
    stream: Stream,
    pub(crate) request: RequestBuffer,
    input: Vec<u8>,
    /// Where what was received last ends in the input; what stands after it belongs to the next answer.
    taken: usize,
    used: Instant,
    is_retired: bool,
}

/// An answer in the connection's buffer.
pub(crate) struct Received {
    pub(crate) head: Head,
    pub(crate) body: Range<usize>,
}

impl Connection {
    pub(crate) async fn open(address: &Address, route: &Route) -> Result<Self, CallError> {
        let host = || address.authority.clone();
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, Stream::open(address, route)).await;
        let waited_ms = CONNECT_TIMEOUT.as_millis();
        let stream = opened.map_err(|_| CallError::ConnectTimeout { host: host(), waited_ms })?;
        let stream = stream.map_err(|source| CallError::Connect { host: host(), source })?;
        Ok(Self {
            stream,
            request: RequestBuffer::default(),
            input: Vec::new(),
            taken: 0,
            used: Instant::now(),
            is_retired: false,
        })
    }

    /// Whether another request can go over it: it was used lately, and nothing has come since. What a server says unasked is a farewell.
    pub(crate) fn is_usable(&self) -> bool {
        let socket = match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
            Stream::Canned { .. } => return true,
        };
        let mut byte = [0];
        // No system call unless the runtime has heard of something.
        let heard = socket.poll_peek(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
        matches!(heard, Poll::Pending) && !self.is_old() && !self.is_retired
    }

    /// Whether it was not used for so long that it is not used again.
    pub(crate) fn is_old(&self) -> bool {
        self.used.elapsed() >= IDLE_MAX
    }

    /// Is not used again, but for its answer.
    pub(crate) fn retire(&mut self) {
        self.is_retired = true;
    }

    /// Sends the request and reads its answer, of at most so many bytes; headers without a meaning here are for `others`.
    pub(crate) async fn exchange(&mut self, body_max: usize, others: &mut Headers<'_>) -> Result<Received, CallError> {
        self.send().await?;
        let mut received = self.receive(body_max, others).await?;
        received.head.is_kept &= !self.holds_more();
        Ok(received)
    }

    /// Sends what stands in the buffer for requests.
    pub(crate) async fn send(&mut self) -> Result<(), CallError> {
        self.stream.send(self.request.bytes()).await.map_err(CallError::Broken)?;
        self.request.give_back();
        Ok(())
    }

    /// Reads the answer to the oldest request that has none, of at most so many bytes.
    pub(crate) async fn receive(&mut self, body_max: usize, others: &mut Headers<'_>) -> Result<Received, CallError> {
        self.input.drain(..std::mem::take(&mut self.taken));
        let mut head = self.head(others).await?;
        // A note that the answer comes later.
        while (100..200).contains(&head.status) {
            self.input.drain(..head.bytes);
            head = self.head(others).await?;
        }
        let start = head.bytes;
        let (body_end, answer_end) = match head.framing {
            Framing::Length(length) => self.of_length(start, length, body_max).await?,
            Framing::Chunked => self.in_chunks(start, body_max).await?,
            Framing::UntilClose => self.until_close(start, body_max).await?,
        };
        self.taken = answer_end;
        self.used = Instant::now();
        Ok(Received { head, body: start..body_end })
    }

    /// Whether more has come than what was received. After the last answer it answers nothing of ours, whatever it is.
    pub(crate) fn holds_more(&mut self) -> bool {
        self.taken != self.input.len() || self.stream.holds_more()
    }

    /// The bytes of an answer's body.
    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        self.input.get(range).unwrap_or_default()
    }

    /// After the answer: a buffer that had to be large is not kept.
    pub(crate) fn give_back(&mut self) {
        if self.input.capacity() > KEPT_BYTES_MAX {
            (self.input, self.taken) = (Vec::new(), 0);
        }
    }

    async fn head(&mut self, others: &mut Headers<'_>) -> Result<Head, CallError> {
        loop {
            if !self.input.is_empty()
                && let Some(head) = answer::head(&self.input, others).map_err(CallError::Http)?
            {
                return Ok(head);
            }
            if self.more(READ_BYTES).await? == 0 {
                return Err(CallError::Closed);
            }
        }
    }

    async fn of_length(&mut self, start: usize, length: u64, max: usize) -> Result<(usize, usize), CallError> {
        let fits = usize::try_from(length).ok().filter(|length| *length <= max);
        let end = start + fits.ok_or(CallError::TooLarge { bytes: length, limit: max })?;
        while let Some(missing) = end.checked_sub(self.input.len()).filter(|missing| *missing > 0) {
            if self.more(missing).await? == 0 {
                return Err(CallError::Closed);
            }
        }
        Ok((end, end))
    }

    async fn in_chunks(&mut self, start: usize, max: usize) -> Result<(usize, usize), CallError> {
        let mut chunks = Chunks::from(start);
        loop {
            match chunks.step(&mut self.input, max, start) {
                Ok(Step::Done { body_end, frames_end }) => return Ok((body_end, frames_end)),
                Ok(Step::More(missing)) => {
                    // Frames cost some bytes each: a server that sends mostly frames is not waited for.
                    if self.input.len() - start > max.saturating_mul(2) {
                        return Err(CallError::TooLarge { bytes: (self.input.len() - start) as u64, limit: max });
                    }
                    if self.more(missing.max(READ_BYTES)).await? == 0 {
                        return Err(CallError::Closed);
                    }
                }
                Err(ChunkProblem::Http(problem)) => return Err(CallError::Http(problem)),
                Err(ChunkProblem::TooLarge(bytes)) => return Err(CallError::TooLarge { bytes, limit: max }),
            }
        }
    }

    async fn until_close(&mut self, start: usize, max: usize) -> Result<(usize, usize), CallError> {
        while self.more(READ_BYTES).await? > 0 {
            if self.input.len() - start > max {
                return Err(CallError::TooLarge { bytes: (self.input.len() - start) as u64, limit: max });
            }
        }
        Ok((self.input.len(), self.input.len()))
    }

    /// Reads what has arrived, with room for `wanted`; returns how much it was.
    async fn more(&mut self, wanted: usize) -> Result<usize, CallError> {
        self.input.reserve(wanted);
        self.stream.receive(&mut self.input).await.map_err(CallError::Broken)
    }
}

impl Stream {
    async fn open(address: &Address, route: &Route) -> io::Result<Self> {
        if let Route::Canned(answer) = route {
            return Ok(Self::Canned { answer: Arc::clone(answer), read: 0 });
        }
        let addresses = tokio::net::lookup_host((address.host.as_str(), address.port)).await?;
        let socket = first_connected(addresses).await?;
        // A request is one write, and its answer is waited for.
        socket.set_nodelay(true)?;
        match route {
            Route::Tls(tls) => Ok(Self::Tls(Box::new(tls.connector.connect(tls.name.clone(), socket).await?))),
            _ => Ok(Self::Plain(socket)),
        }
    }

    /// Whether TLS has decrypted something that nobody has read, or a farewell; the socket does not know of it.
    fn holds_more(&mut self) -> bool {
        match self {
            Self::Plain(_) | Self::Canned { .. } => false,
            Self::Tls(stream) => {
                let state = stream.get_mut().1.process_new_packets();
                state.map_or(true, |state| state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Canned { read, .. } => {
                *read = 0;
                Ok(())
            }
        }
    }

    async fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read_buf(into).await,
            Self::Tls(stream) => stream.read_buf(into).await,
            Self::Canned { answer, read } => {
                // As a socket does: what there is room for.
                let rest = &answer[*read..];
                let taken = rest.len().min(into.capacity() - into.len());
                into.extend_from_slice(&rest[..taken]);
                *read += taken;
                Ok(taken)
            }
        }
    }
}

/// A connection to the address that answers first. They are tried in their order, each as soon as the one before it has failed, or after a
/// while beside it: one that is dead does not take the time of the others.
async fn first_connected(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter();
    // Those that are still under way end with this.
    let mut attempts = JoinSet::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let patience = match addresses.next() {
            Some(address) => {
                attempts.spawn(TcpStream::connect(address));
                NEXT_ADDRESS_AFTER
            }
            // Whoever waits for this has a limit.
            None => Duration::MAX,
        };
        match tokio::time::timeout(patience, attempts.join_next()).await {
            Ok(Some(Ok(Ok(socket)))) => return Ok(socket),
            Ok(Some(Ok(Err(error)))) => failed = error,
            Ok(Some(Err(error))) => failed = io::Error::other(error),
            Ok(None) => return Err(failed),
            Err(_elapsed) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// An address that swallows what it is sent: its queue is full, and nobody takes anything from it.
    struct BlackHole {
        address: SocketAddr,
        _listener: TcpListener,
        _queued: Vec<TcpStream>,
    }

    impl BlackHole {
        async fn open() -> Self {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind(ANY_PORT).expect("a free port");
            let listener = socket.listen(1).expect("it listens");
            let address = listener.local_addr().expect("an address");
            let mut queued = Vec::new();
            while let Ok(socket) = tokio::time::timeout(NEXT_ADDRESS_AFTER, TcpStream::connect(address)).await {
                queued.push(socket.expect("it is queued"));
            }
            Self { address, _listener: listener, _queued: queued }
        }
    }

    #[tokio::test]
    async fn a_dead_address_does_not_take_the_time_of_the_next() {
        let (first, second) = (BlackHole::open().await, BlackHole::open().await);
        let alive = TcpListener::bind(ANY_PORT).await.expect("a free port");
        let address = alive.local_addr().expect("an address");
        let began = Instant::now();
        let connected =
            tokio::time::timeout(CONNECT_TIMEOUT, first_connected([first.address, second.address, address]));
        let socket = connected.await.expect("in the time of a connection").expect("one of them is alive");
        assert_eq!(socket.peer_addr().expect("a peer"), address);
        assert!(began.elapsed() >= 2 * NEXT_ADDRESS_AFTER, "each of them had its time");
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_not_waited_for_and_the_last_reason_is_told() {
        let alive = TcpListener::bind(ANY_PORT).await.expect("a free port");
        let closed = TcpListener::bind(ANY_PORT).await.expect("a free port").local_addr().expect("an address");
        let address = alive.local_addr().expect("an address");
        let socket = first_connected([closed, address]).await.expect("the second is alive");
        assert_eq!(socket.peer_addr().expect("a peer"), address);
        let refused = first_connected([closed, closed]).await.expect_err("nobody is there");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let nowhere = first_connected([]).await.expect_err("there is nobody to ask");
        assert_eq!(nowhere.to_string(), "the name has no address");
    }

    #[tokio::test]
    async fn all_addresses_together_have_the_time_of_one_connection() {
        let hole = BlackHole::open().await;
        let address = Address::parse(&format!("http://{}", hole.address)).expect("an address");
        let began = Instant::now();
        let opened = Connection::open(&address, &Route::Plain).await.err();
        assert!(matches!(opened, Some(CallError::ConnectTimeout { waited_ms: 1_000, .. })), "{opened:?}");
        assert!(began.elapsed() < 2 * CONNECT_TIMEOUT);
    }
}
