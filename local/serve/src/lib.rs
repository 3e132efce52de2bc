//! What every server of this process needs: a listener on 127.0.0.1 that outlasts a shortage of connections, HTTP/1.1 on it, and
//! nothing left behind when the process is killed.

mod accept;
mod error;
mod http;
mod metrics_page;
pub mod warden;

pub use accept::accept;
pub use error::ServerError;
pub use http::{BoxError, HttpServer, listen};
pub use metrics_page::MetricsPage;
