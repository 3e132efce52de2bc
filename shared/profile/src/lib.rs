//! What users did besides paying becomes their profiles: one conditional write per user and batch, and none where nothing is new.
//!
//! Facts merge, so nothing has to be remembered about the actions that were applied: a redelivery, a repetition and any order give the
//! same bytes. Personal data ends at [`TrackActions`]'s `decode`: what goes on is a [`Fact`](centinela_domain::profile::Fact).

pub mod ports;
mod track;

pub use track::{Action, Limits, TrackActions, TrackReport};
