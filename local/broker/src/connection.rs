//! One connection: requests of a length that a client may send, answered in turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use rama::{Context, Service};
use tansu_broker::Error as BrokerError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest request, as Apache Kafka's `socket.request.max.bytes`. Whatever speaks another protocol asks for more with its first bytes.
const REQUEST_BYTES_MAX: usize = 100 * 1024 * 1024;
/// What is made room for before it is there.
const RESERVED_BYTES: usize = 64 * 1024;
/// Key, version and correlation id of a request.
const HEADER_BYTES: usize = 8;
const PREFIX_BYTES: usize = 4;

/// Whether the request that is being served wants an answer: a producer with `acks=0` takes any as the answer to its next request.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence(Arc<AtomicBool>);

impl Silence {
    /// The request that is being served gets no answer.
    pub fn keep(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_kept(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Serves a connection until the client ends it or sends what is no request.
pub(super) async fn serve<S>(mut stream: TcpStream, service: S, silence: Silence) -> Result<(), BrokerError>
where
    S: Service<(), Bytes, Response = Bytes, Error = BrokerError>,
{
    while let Some(request) = next(&mut stream).await? {
        let answer = service.serve(Context::default(), request).await?;
        if !silence.is_kept() {
            stream.write_all(&answer).await?;
        }
    }
    Ok(())
}

/// The next request with its length before it; none after the last one.
async fn next(stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
    let mut prefix = [0; PREFIX_BYTES];
    match stream.read_exact(&mut prefix).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = i32::from_be_bytes(prefix);
    let length = usize::try_from(length).ok().filter(|length| (HEADER_BYTES..=REQUEST_BYTES_MAX).contains(length));
    let Some(length) = length else {
        let said = i32::from_be_bytes(prefix);
        let problem = format!("a request of {said} bytes; from {HEADER_BYTES} to {REQUEST_BYTES_MAX} are served");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    };
    let mut request = BytesMut::with_capacity(PREFIX_BYTES + length.min(RESERVED_BYTES));
    request.extend_from_slice(&prefix);
    let mut body = (&mut *stream).take(length as u64);
    while request.len() < PREFIX_BYTES + length {
        if body.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(request.freeze()))
}
