//! The one HTTP server: HTTP/1.1 with keep-alive on 127.0.0.1, stopped gracefully.

use std::error::Error as StdError;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::accept::accept;
use crate::error::ServerError;

/// How long open requests may run on after `shutdown` was called.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// An error of any kind.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// Binds 127.0.0.1 on `port`, or on a free port when there is none.
///
/// # Errors
/// When the port is taken.
pub async fn listen(service: &'static str, port: Option<u16>) -> Result<TcpListener, ServerError> {
    let port = port.unwrap_or(0);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServerError::PortTaken { service, port },
        _ => ServerError::Listen { service, port, source },
    })
}

/// A running listener. Dropping it stops it without waiting; `shutdown` waits.
#[derive(Debug)]
pub struct HttpServer {
    service: &'static str,
    address: SocketAddr,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
}

impl HttpServer {
    /// Listens on 127.0.0.1, on `port` or on a free one, and answers with `handler`.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start<S, B>(service: &'static str, port: Option<u16>, handler: S) -> Result<Self, ServerError>
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let listener = listen(service, port).await?;
        let address =
            listener.local_addr().map_err(|source| ServerError::Listen { service, port: port.unwrap_or(0), source })?;
        let stop = CancellationToken::new();
        let accepting = tokio::spawn(accept_all(service, listener, handler, stop.clone()));
        Ok(Self { service, address, stop, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The same as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Accepts nothing more, lets open requests finish for up to five seconds and closes every connection.
    ///
    /// # Errors
    /// When its task panicked.
    pub async fn shutdown(mut self) -> Result<(), ServerError> {
        self.stop.cancel();
        (&mut self.accepting).await.map_err(|_| ServerError::Panicked { service: self.service })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept_all<S, B>(service: &'static str, listener: TcpListener, handler: S, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            stream = accept(&listener, service) => {
                connections.spawn(serve(service, stream, handler.clone(), stop.clone()));
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN_LIMIT, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(service, open = connections.len(), "requests were still open at the end of the drain limit");
        connections.shutdown().await;
    }
}

async fn serve<S, B>(service: &'static str, stream: TcpStream, handler: S, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(service, %error, "TCP_NODELAY was refused");
    }
    // No timer, so no limit on an idle connection: clients pool them, and a function waits for as long as there is no event.
    let builder = hyper::server::conn::http1::Builder::new();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), handler));
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
        tracing::debug!(service, %error, "a connection ended early");
    }
}
