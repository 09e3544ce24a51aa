//! What an error means: one file per language that errors are written in. Pure: no I/O, no clock.

pub mod clock;
pub mod config;
pub mod credentials;
pub mod disk;
pub mod dns;
pub mod grpc;
pub mod http;
pub mod near;
pub mod os;
pub mod proxy;
pub mod text;
pub mod tls;

use crate::model::{Cause, Stage};

/// What it means that a stage got no answer in its time.
pub fn silence(stage: Stage) -> Cause {
    match stage {
        Stage::Dns => Cause::DnsFailure,
        Stage::Tcp => Cause::ConnectTimeout,
        Stage::Tls => Cause::TlsTimeout,
        Stage::Ping | Stage::Auth | Stage::Manifest | Stage::Quota | Stage::Blob | Stage::Pull => {
            Cause::TransferTimeout
        }
        // The kernel answers statfs at once, but for a file system whose device or server is gone.
        Stage::Disk => Cause::DiskError,
        Stage::Runtime => Cause::RuntimeUnavailable,
        Stage::Clock => Cause::Unknown,
    }
}
