//! Why a server cannot listen, or did not end in order.

use std::io;

/// Why a server cannot listen, or did not end in order.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ServerError {
    #[error(
        "port {port} on 127.0.0.1 is taken, so {service} cannot listen there; stop its owner or ask for another port"
    )]
    PortTaken { service: &'static str, port: u16 },
    /// The listener could not be opened for a reason other than a taken port.
    #[error("{service} cannot listen on 127.0.0.1:{port}")]
    Listen {
        service: &'static str,
        port: u16,
        #[source]
        source: io::Error,
    },
    #[error("{service} ended by a panic")]
    Panicked { service: &'static str },
}
