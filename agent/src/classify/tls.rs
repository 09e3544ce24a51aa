//! TLS errors.

use crate::model::Cause;

/// What an error of the TLS library means.
pub fn cause(_error: &rustls::Error) -> Cause {
    Cause::Unknown
}
