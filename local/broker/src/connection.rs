//! One connection: requests of a length that a client may send, answered in turn.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::router::Router;

/// Longest request, as Apache Kafka's `socket.request.max.bytes`. Whatever speaks another protocol asks for more with its first bytes.
const REQUEST_BYTES_MAX: usize = 100 * 1024 * 1024;
/// What is made room for before it is there.
const RESERVED_BYTES: usize = 64 * 1024;
/// Key, version and correlation id of a request.
const HEADER_BYTES: usize = 8;
const PREFIX_BYTES: usize = 4;

/// Serves a connection until the client ends it or sends what is not a request.
pub(super) async fn serve(mut stream: TcpStream, router: &Router) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(request) = next(&mut stream).await? {
        match router.answer(request).await {
            Ok(Some(answer)) => stream.write_all(&answer).await?,
            Ok(None) => {}
            Err(problem) => return Err(io::Error::new(io::ErrorKind::InvalidData, problem)),
        }
    }
    Ok(())
}

/// The next request without its length; none after the last one.
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
    let mut request = BytesMut::with_capacity(length.min(RESERVED_BYTES));
    let mut body = (&mut *stream).take(length as u64);
    while request.len() < length {
        if body.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(request.freeze()))
}
