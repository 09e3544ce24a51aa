//! The part of the Kubernetes CRI (`runtime.v1`) that pullscope speaks: its client, and a server that tests play.
//!
//! [`v1`] is made from `proto/runtime.proto` and committed, so that building it needs no protoc; the test
//! `generated` makes it again and compares.

use std::fmt;

/// `runtime.v1`: the messages, the clients and the server stubs.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
#[rustfmt::skip]
#[path = "generated/runtime.v1.rs"]
pub mod v1;

impl fmt::Debug for v1::AuthConfig {
    /// Shows nothing of what it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthConfig(…)")
    }
}

impl fmt::Debug for v1::StatusResponse {
    /// Shows the keys of `info` only: containerd 1.6 and 1.7 put the credentials of their configuration into it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.info.keys().collect();
        f.debug_struct("StatusResponse").field("status", &self.status).field("info", &keys).finish()
    }
}
