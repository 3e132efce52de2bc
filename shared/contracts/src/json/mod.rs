//! JSON as our payloads need it: a pull reader over bytes that keeps numbers as their text, and a writer with a fixed form.
//!
//! The reader never recurses and allocates only for what its caller asks for, so neither depth nor length of an input can
//! harm it. It checks the grammar of what it skips, not the Unicode inside.

mod number;
mod read;
mod text;
mod write;

pub(crate) use number::{Decimal, Misfit, integer};
pub use read::{Kind, Reader, Syntax, Within};
pub use text::{Text, TextProblem};
pub(crate) use write::{Object, push_decimal, push_f32, push_hex};
pub use write::{push_base64, push_text};
