//! The operating system's errors.

use std::io;

use crate::model::Cause;

/// What an error of a socket means.
pub fn cause(_error: &io::Error) -> Cause {
    Cause::Unknown
}
