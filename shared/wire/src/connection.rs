//! One connection: a request goes out, an answer comes in, and nothing else happens on it.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::Address;
use crate::answer::{self, ChunkProblem, Chunks, Framing, Head, Headers, Step};
use crate::failure::CallError;
use crate::request::RequestBuffer;

/// A connection within a region takes a few milliseconds; after this it is not coming.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
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

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection with the buffers of what goes over it.
pub(crate) struct Connection {
    stream: Stream,
    pub(crate) request: RequestBuffer,
    input: Vec<u8>,
    used: Instant,
    is_retired: bool,
}

/// An answer in the connection's buffer.
pub(crate) struct Received {
    pub(crate) head: Head,
    pub(crate) body: Range<usize>,
}

impl Connection {
    pub(crate) async fn open(address: &Address, tls: Option<&Tls>) -> Result<Self, CallError> {
        let host = || address.authority.clone();
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, Stream::open(address, tls)).await;
        let waited_ms = CONNECT_TIMEOUT.as_millis();
        let stream = opened.map_err(|_| CallError::ConnectTimeout { host: host(), waited_ms })?;
        let stream = stream.map_err(|source| CallError::Connect { host: host(), source })?;
        Ok(Self {
            stream,
            request: RequestBuffer::default(),
            input: Vec::new(),
            used: Instant::now(),
            is_retired: false,
        })
    }

    /// Whether another request can go over it: it was used lately, and nothing has come since. What a server says unasked is a farewell.
    pub(crate) fn is_usable(&self) -> bool {
        let socket = match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref().0,
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
        self.stream.send(self.request.bytes()).await.map_err(CallError::Broken)?;
        self.request.give_back();
        self.input.clear();
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
        // More than one answer to one request: whatever it is, it answers nothing of ours.
        head.is_kept &= answer_end == self.input.len() && !self.stream.holds_more();
        self.used = Instant::now();
        Ok(Received { head, body: start..body_end })
    }

    /// The bytes of an answer's body.
    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        self.input.get(range).unwrap_or_default()
    }

    /// After the answer: a buffer that had to be large is not kept.
    pub(crate) fn give_back(&mut self) {
        if self.input.capacity() > KEPT_BYTES_MAX {
            self.input = Vec::new();
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
    async fn open(address: &Address, tls: Option<&Tls>) -> io::Result<Self> {
        let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
        // A request is one write, and its answer is waited for.
        socket.set_nodelay(true)?;
        match tls {
            None => Ok(Self::Plain(socket)),
            Some(tls) => Ok(Self::Tls(Box::new(tls.connector.connect(tls.name.clone(), socket).await?))),
        }
    }

    /// Whether TLS has decrypted something that nobody has read, or a farewell; the socket does not know of it.
    fn holds_more(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
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
        }
    }

    async fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read_buf(into).await,
            Self::Tls(stream) => stream.read_buf(into).await,
        }
    }
}
