//! The Kafka event-source mapping against the embedded broker, with real processes of a real function.

mod contract;
mod delivery;
mod faults;
mod life;
mod world;
