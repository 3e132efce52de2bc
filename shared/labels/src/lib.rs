//! What became known about transactions becomes the risk of their users and devices: one transaction of the store per label.
//!
//! Of a transaction's labels the greatest stands ([`Label`](centinela_domain::risk::Label)), whatever the order in which they came. The
//! label that stands has an item of its own, written together with the counts that it changes: a redelivered label finds itself and
//! changes nothing, a later one applies the difference. Events that are no labels pass: the lake keeps them.
//!
//! A label must say whose transaction it is about, because a decision's id derives from both; without that it is dead-lettered. A label
//! that does not name the device takes it from an earlier label of the same transaction; a decision itself does not remember its device.
//! Where there is none it is dead-lettered too, rather than half applied: who sends it again with the device corrects it.

mod apply;
pub mod ports;
mod user;

pub use apply::{ApplyLabels, Content, LabelReport, Limits, NewLabel};
