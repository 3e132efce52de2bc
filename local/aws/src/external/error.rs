//! Why a service that was there already cannot be used.

use std::io;

use centinela_serve::ServerError;

/// Why a service that was there already cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The listener of its proxy.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Not a URL of a service.
    #[error("{url:?} is no endpoint; give it as http://HOST:PORT or https://HOST")]
    Url {
        /// What was given.
        url: String,
    },
    /// The system's certificates cannot be read.
    #[error("the system's certificates cannot be read")]
    Certificates {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Nobody answers.
    #[error("{service} at {url} cannot be reached: {reason}; check the address, and that it is up")]
    Unreachable {
        /// The service.
        service: &'static str,
        /// Where it was looked for.
        url: String,
        /// What the client saw.
        reason: String,
    },
    /// The service does not do what was asked.
    #[error("{service} at {url} refused {doing}: {reason}")]
    Refused {
        /// The service.
        service: &'static str,
        /// Where it is.
        url: String,
        /// What was attempted.
        doing: String,
        /// The service's name for the error, and what it says.
        reason: String,
    },
    /// A table with another key.
    #[error(
        "table {table} has the key {found} and needs {wanted}; name another database, or delete the table yourself"
    )]
    TableShape {
        /// The table.
        table: String,
        /// The key that is needed.
        wanted: String,
        /// The key that it has.
        found: String,
    },
}
