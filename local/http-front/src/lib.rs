//! HTTP APIs of API Gateway before the functions of one machine: routes, authorisers, throttles, limits, and the events and answers of
//! payload format 2.0. <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
//!
//! One listener carries all APIs. Where several have a route for a request, its credentials say which one it means: in AWS each has an
//! address of its own. IAM stands for one set of credentials that may call everything, and people's tokens come from a local issuer
//! ([`Issuer`]). Both protect nothing; they show what a caller has to do.

mod answer;
mod bucket;
mod caller;
mod connections;
mod cors;
mod counted;
mod event;
mod front;
mod issuer;
mod jwt;
mod limits;
mod path;
mod sigv4;
mod spec;

pub use counted::ApiCounts;
pub use front::HttpFront;
pub use issuer::{Issuer, IssuerError};
pub use limits::Limits;
pub use spec::{ApiSpec, Authorizer, CorsSpec, Credentials, RouteSpec};
