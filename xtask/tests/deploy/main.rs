//! `cargo xtask deploy` and `destroy`, as they are run, against an emulator of AWS behind a proxy that injects failures.
//!
//! The emulator (ministack, from PyPI, pinned by hash) carries stacks, change sets, rollbacks, versions and aliases out, and runs a function's
//! `bootstrap` as a process. It knows no MSK cluster in a stack, sends no metric per version and enforces no right: see docs/deploy.md. Where
//! it cannot be had, each test says that it is skipped.

mod emulator;
mod proxy;
mod story;
mod workspace;
