//! The world of real servers on loopback, and what the scenarios need to run pullscope against it.

use std::error::Error;

pub mod binary;
pub mod cdp;
pub mod config;
pub mod expect;
pub mod fleet;
pub mod hosts;
pub mod http;
pub mod kubernetes;
pub mod lab;
pub mod metrics;
pub mod prometheus;
pub mod pulls;
pub mod record;
pub mod scenario;
pub mod shape;
pub mod world;

/// What went wrong, in words: a test has nobody to tell but a person.
pub type Fault = Box<dyn Error + Send + Sync>;

/// A value, or why there is none.
pub type Fallible<T> = Result<T, Fault>;

/// The user that registries and token services of the world know.
pub const USER: &str = "probe";

/// That user's password. No output of pullscope may ever show it.
pub const PASSWORD: &str = "correct-horse";
