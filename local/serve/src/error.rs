//! Why a server cannot listen, or did not end in order.

use std::io;

/// Why a server cannot listen, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The requested port has another owner.
    #[error(
        "port {port} on 127.0.0.1 is taken, so {service} cannot listen there; stop its owner or ask for another port"
    )]
    PortTaken {
        /// The service that wanted the port.
        service: &'static str,
        /// The port.
        port: u16,
    },
    /// The listener could not be opened for a reason other than a taken port.
    #[error("{service} cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The service that wanted the port.
        service: &'static str,
        /// The port, 0 for a free one.
        port: u16,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// A task of the service ended by a panic.
    #[error("{service} ended by a panic")]
    Panicked {
        /// The service.
        service: &'static str,
    },
}
