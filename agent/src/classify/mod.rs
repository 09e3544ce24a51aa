//! What an error means: one file per language that errors are written in. Pure: no I/O, no clock.

pub mod disk;
pub mod dns;
pub mod http;
pub mod os;
pub mod text;
pub mod tls;
