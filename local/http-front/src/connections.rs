//! Connections: so many at a time, none that waits for ever, and none that makes this process take more than its share.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use centinela_serve::accept;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::limits::Limits;

const SERVICE: &str = "the HTTP API";
/// What a connection has at most in memory besides its body.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long open requests may run on after the end was asked for.
const DRAIN_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
/// For whom there is no place.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 33\r\n\
                      retry-after: 1\r\nconnection: close\r\n\r\n{\"message\":\"Service Unavailable\"}";

/// Accepts until it is told to stop.
pub(crate) async fn serve<F, A>(listener: TcpListener, limits: Limits, stop: CancellationToken, answer: A)
where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            stream = accept(&listener, SERVICE) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let (answer, stop) = (answer.clone(), stop.clone());
                    connections.spawn(async move {
                        one(stream, limits, stop, answer).await;
                        drop(place);
                    });
                }
                Err(_) => turn_away(stream).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN_LIMIT, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(
            service = SERVICE,
            open = connections.len(),
            "requests were still open at the end of the drain limit"
        );
        connections.shutdown().await;
    }
}

/// Says so and closes. The words fit into the kernel's buffer, so nobody waits for the client.
async fn turn_away(mut stream: TcpStream) {
    let said = tokio::time::timeout(std::time::Duration::from_millis(50), async {
        stream.write_all(FULL).await?;
        stream.shutdown().await
    });
    if !matches!(said.await, Ok(Ok(()))) {
        tracing::debug!(service = SERVICE, "a client for whom there was no place did not hear so");
    }
}

async fn one<F, A>(stream: TcpStream, limits: Limits, stop: CancellationToken, answer: A)
where
    A: Fn(Request<Incoming>, SocketAddr) -> F + Send,
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let Ok(peer) = stream.peer_addr() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(service = SERVICE, %error, "TCP_NODELAY was refused");
    }
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_time);
    builder.max_header_size(limits.header_bytes).max_buf_size(BUFFER_BYTES);
    let service = service_fn(|request| {
        let answered = answer(request, peer);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut draining = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stop.cancelled(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(service = SERVICE, %error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_words_for_whom_there_is_no_place_have_the_length_that_they_say() {
        let text = std::str::from_utf8(super::FULL).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(text.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
