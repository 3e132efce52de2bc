//! The brake's ports over AWS: six operations of Lambda's API, and Publish of SNS.
//!
//! A crate of its own beside `adapters`: who decides transactions links nothing that could stop functions. Retries live here, as in
//! `object-store`: every pause is a random time, and all of them end with the caller's deadline.

mod call;
mod lambda;
mod sns;

pub use centinela_signed_http::ConnectError;
pub use lambda::LambdaControl;
pub use sns::SnsAlerts;
