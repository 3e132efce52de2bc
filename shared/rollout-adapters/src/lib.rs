//! An account of AWS behind the port of a deploy: CloudFormation, Lambda, S3 and whatever else is asked before, during and after one.
//!
//! Signed requests of `centinela-signed-http` and no client of any service (docs/decisions/0037): some thirty operations, each once.
//! Each call tries again what another attempt may mend, for a minute. An operation that must not be done twice is sent so that AWS, or the
//! answer to the second attempt, tells that the first was carried out.

mod aws;
mod call;
mod cloudformation;
mod cloudformation_answers;
mod facts;
mod functions;
mod objects;
mod xml;

pub use aws::{Aws, Place, bundle};
