//! The one-machine platform: everything that AWS provides in production, in one process tree on 127.0.0.1.

mod accept;
pub mod lambda;
pub mod mapping;
pub mod platform;
pub mod services;
pub mod threads;
pub mod warden;
