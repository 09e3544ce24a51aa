//! What containerd does when one host of a registry fails: whether it asks the next, and what that costs every pull.

use std::time::Duration;

use crate::model::{Cause, RegistryHost, Stage};

use super::settle::Trouble;

/// The requests of a pull that a host is asked first: the tag, the manifest, the configuration and one layer. An index
/// and further layers add to them.
const REQUESTS: u32 = 4;
/// Go's resolver asks a dead name server twice, 5 s each (containerd 1.6 to 2.1).
const DNS: Duration = Duration::from_secs(10);
/// containerd's dialer, unless hosts.toml has a `dial_timeout`.
const DIAL: Duration = Duration::from_secs(30);
/// containerd's TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What is said of a mirror that keeps the others from being asked.
pub(super) const STUCK: &str = "; containerd does not go on to another host then";

/// What comes after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The pull fails, whatever the other hosts would say.
    Nothing,
    /// The next host is asked.
    Host,
    /// The next host is asked, and each pull takes so much longer.
    HostAfter(Duration),
}

/// What containerd does after `trouble` at `host`.
pub(super) fn next(host: &RegistryHost, trouble: &Trouble<'_>) -> Next {
    let waited = |each: Duration| Next::HostAfter(each * REQUESTS);
    match (trouble.step.stage, trouble.finding.cause) {
        // containerd waits for an answer without a time-out of its own: there is no next.
        (Stage::Ping | Stage::Auth | Stage::Manifest | Stage::Blob, Cause::TransferTimeout) => Next::Nothing,
        // It goes on after every error before a 200, and after none behind one: for tags, manifests and blobs alike.
        _ if trouble.finding.is_taken => Next::Nothing,
        (Stage::Dns, Cause::DnsFailure) => waited(DNS),
        (Stage::Tcp, Cause::ConnectTimeout) => waited(host.dial_timeout.unwrap_or(DIAL)),
        (Stage::Tls, Cause::TlsTimeout) => waited(HANDSHAKE),
        _ => Next::Host,
    }
}

/// What `next` means to whoever reads of the failure.
pub(super) fn words(next: Next) -> String {
    match next {
        Next::Nothing => STUCK.to_owned(),
        Next::Host => "; containerd goes on to the next host".to_owned(),
        Next::HostAfter(cost) => {
            format!("; containerd goes on to the next host, and each pull takes about {} longer", span(cost))
        }
    }
}

/// `45 s`, `2 min`.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds + 30) / 60),
    }
}
