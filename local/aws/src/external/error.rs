//! Why a service that was there already cannot be used.

use std::io;

use centinela_serve::ServerError;

/// Why a service that was there already cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EndpointError {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("{url:?} is no endpoint; give it as http://HOST:PORT or https://HOST")]
    Url { url: String },
    #[error("the system's certificates cannot be read")]
    Certificates {
        #[source]
        source: io::Error,
    },
    #[error("{service} at {url} cannot be reached: {reason}; check the address, and that it is up")]
    Unreachable { service: &'static str, url: String, reason: String },
    #[error("{service} at {url} refused {doing}: {reason}")]
    Refused { service: &'static str, url: String, doing: String, reason: String },
    #[error(
        "table {table} has the key {found} and needs {wanted}; name another database, or delete the table yourself"
    )]
    TableShape { table: String, wanted: String, found: String },
}
