//! A Kafka batch's way through a function: records are decoded or dead-lettered, worked on by key and in order within a deadline, and
//! every one that is not handled is named in the answer, so that the mapping delivers it again.
//!
//! A function is a [`UseCase`]: how it reads a value, and what it does with the records that could be read. [`Delivery`] does the rest.
//! It does no I/O of its own, starts no tasks, and reads time only through the [`Clock`].

mod batch;
mod causes;
mod conditional;
mod dead_letters;
mod deliver;
mod intake;
mod ports;

pub use batch::{Batch, Deadline, Delivered, Groups, Position, Rounds, Slice};
pub use causes::Causes;
pub use conditional::{Commit, StoreError, Versioned, Write};
pub use deliver::{BatchError, Delivery, Outcome, Settings, UseCase};
pub use intake::Rejection;
pub use ports::{Clock, DeadLetters, PublishError};
