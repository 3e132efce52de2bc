//! One connection: requests of a length that a client may send, answered in turn.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::router::Router;

/// Longest request, as Apache Kafka's `socket.request.max.bytes`. Whatever speaks another protocol asks for more with its first bytes.
const REQUEST_BYTES_MAX: usize = 100 * 1024 * 1024;
/// What is made room for before it is there.
const RESERVED_BYTES: usize = 64 * 1024;
/// What is read at a time: some requests of a producer.
const READ_BYTES: usize = 16 * 1024;
/// Key, version and correlation id of a request.
const HEADER_BYTES: usize = 8;
const PREFIX_BYTES: usize = 4;

/// Serves a connection until the client ends it or sends what is not a request. A producer sends the partitions of a batch one after the
/// other: what has come together is answered together.
pub(super) async fn serve(stream: TcpStream, router: &Router) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::with_capacity(READ_BYTES, stream);
    let mut answers = BytesMut::new();
    while let Some(request) = next(&mut stream).await? {
        let answer = match router.answer(request).await {
            Ok(answer) => answer.unwrap_or_default(),
            Err(problem) => {
                stream.write_all(&answers).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        };
        if is_produced_further(stream.buffer()) {
            answers.extend_from_slice(&answer);
        } else if answers.is_empty() {
            stream.write_all(&answer).await?;
        } else {
            answers.extend_from_slice(&answer);
            stream.write_all(&answers).await?;
            answers.clear();
        }
    }
    Ok(())
}

/// Whether what has arrived begins with a whole request to produce, which is answered without waiting for anything.
fn is_produced_further(mut arrived: &[u8]) -> bool {
    if arrived.len() < PREFIX_BYTES + size_of::<i16>() {
        return false;
    }
    let length = usize::try_from(arrived.get_i32()).unwrap_or(usize::MAX);
    arrived.len() >= length && arrived.get_i16() == ApiKey::Produce as i16
}

/// The next request without its length; none after the last one.
async fn next(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Bytes>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_request_to_produce_holds_an_answer_back() {
        let request = |key: ApiKey, length: i32, sent: usize| {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend((key as i16).to_be_bytes());
            bytes.resize(PREFIX_BYTES + sent, 0);
            is_produced_further(&bytes)
        };
        assert!(request(ApiKey::Produce, 20, 20) && request(ApiKey::Produce, 20, 30));
        assert!(!request(ApiKey::Produce, 20, 19), "the rest may never come");
        assert!(!request(ApiKey::Fetch, 20, 20), "it may wait");
        assert!(!request(ApiKey::Produce, -1, 20) && !is_produced_further(&[0; 5]) && !is_produced_further(&[]));
    }
}
