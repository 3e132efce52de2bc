//! The brake on spend and on what runs away: per alarm a declared plan of mappings to disable and concurrency to lower, which one word
//! takes back.
//!
//! It keeps no state of its own: a plan says how its targets are when braked and how when released, so both can be done again and again,
//! by an alarm that is delivered twice as by a person. It refuses to touch the main job, which answers transactions, unless it is told so.
//! What asks Lambda and tells people is behind two ports; nothing here knows AWS.

mod apply;
mod plan;
mod ports;
mod report;
mod request;

pub use apply::{Brake, MainJob};
pub use plan::{Action, Kind, NameError, Plan, PlanError, Plans, Step};
pub use ports::{Alerts, Control, ControlError, Mapping};
pub use report::{Outcome, PlanReport, Report, StepReport};
pub use request::{Request, RequestError, parse};
