//! Dead letters: what stands on their topic, and the way back.
//!
//! A letter is shown, dropped, or sent to the topic that its record came from, where it counts as what it first was. Of a transaction its
//! decision is looked for first: found, the letter is done; not found, the record goes back *verified*, so that it is decided although the
//! state cannot tell any more. What was done is remembered by place ([`Handled`]), and a letter that is sent twice all the same is one
//! record: its headers say which.
//!
//! Pure over one port, [`Surroundings`]: no clock, no network.

mod filter;
mod handled;
mod known;
mod letter;
mod ports;
mod redrive;
mod report;
mod request;
mod rounds;

pub use filter::Filter;
pub use handled::{Handled, Spans};
pub use letter::{Cause, Letter, Original, Proof, Readiness, Settings, Topics};
pub use ports::{Found, Message, Outgoing, Place, PortError, Searched, Surroundings};
pub use redrive::{RedriveError, drop_letters, list, redrive};
pub use report::{Left, Report};
pub use request::{Action, Plan, Repair, Request, RequestProblem};
