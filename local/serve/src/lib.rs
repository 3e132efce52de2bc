//! What every server of this process needs: a listener on 127.0.0.1 that outlasts a shortage of connections, HTTP/1.1 on it, nothing
//! left behind when the process is killed, and who called what.

mod accept;
mod caller;
mod calls;
mod error;
mod http;
mod metrics_page;
pub mod warden;

pub use accept::accept;
pub use caller::caller;
pub use calls::{Called, Calls};
pub use error::ServerError;
pub use http::{BoxError, HttpServer, listen};
pub use metrics_page::MetricsPage;
