//! gRPC over containerd's socket: connecting to it, its status codes, and silence.

use std::io::ErrorKind;

use tonic::Code;

use super::text;
use crate::model::Cause;

/// What an error of connecting to the runtime's socket means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// The runtime is down.
    Down(Cause),
    /// The socket is not to be seen from here.
    Absent,
    /// The socket is there, and this process may not use it.
    Forbidden,
    /// Something on our own side.
    Other,
}

/// What an error of connecting to the runtime's socket means.
pub fn connect(error: ErrorKind) -> Connect {
    match error {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Connect::Absent,
        ErrorKind::PermissionDenied => Connect::Forbidden,
        ErrorKind::ConnectionRefused | ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            Connect::Down(no_answer())
        }
        _ => Connect::Other,
    }
}

/// What it means that the runtime does not answer: it hangs, went away in mid-call, or left its folder without a
/// socket.
pub fn no_answer() -> Cause {
    Cause::RuntimeUnavailable
}

/// What a plugin of containerd that did not start means, from the error that it left.
pub fn plugin(error: &str) -> Cause {
    match text::cause(error) {
        // A snapshotter that is missing at start is a setting; in a pull the same words are about unpacking.
        Cause::Unknown | Cause::UnpackFailed => Cause::RuntimeConfig,
        cause => cause,
    }
}

/// What it means that containerd runs without its CRI plugin.
pub fn no_cri() -> Cause {
    Cause::RuntimeConfig
}

/// What it means that containerd passes over a part of its configuration, or runs with another than its file says.
pub fn configuration() -> Cause {
    Cause::RuntimeConfig
}

/// What a pull that did not end within the agent's own deadline means.
pub fn deadline() -> Cause {
    Cause::TransferTimeout
}

/// What it means that the agent's deadline came while containerd unpacked what it had fetched.
pub fn unpacking_deadline() -> Cause {
    Cause::UnpackFailed
}

/// What the error of a pull means. containerd sends nearly everything as `Unknown`, so the text comes first; the code
/// decides where the text says nothing. (`DeadlineExceeded` is no proof of a deadline either: containerd sends
/// `dial tcp …: i/o timeout` under it now and then, which is why the text goes before it too.)
pub fn pull(code: Code, message: &str) -> Cause {
    match (text::cause(message), code) {
        (Cause::Unknown, Code::Unavailable) => Cause::RuntimeUnavailable,
        (Cause::Unknown, Code::NotFound) => Cause::ManifestNotFound,
        (Cause::Unknown, Code::Cancelled) => Cause::PullCancelled,
        (Cause::Unknown, Code::DeadlineExceeded) => Cause::TransferTimeout,
        (Cause::Unknown, Code::FailedPrecondition) => Cause::ContentInvalid,
        (cause, _) => cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_text_leaves_the_word_to_the_code() {
        let check = |code, expect| assert_eq!(pull(code, "zzz"), expect, "{code:?}");
        check(Code::NotFound, Cause::ManifestNotFound);
        check(Code::Cancelled, Cause::PullCancelled);
        check(Code::DeadlineExceeded, Cause::TransferTimeout);
        check(Code::Unavailable, Cause::RuntimeUnavailable);
        check(Code::FailedPrecondition, Cause::ContentInvalid);
        check(Code::Unknown, Cause::Unknown);
    }

    #[test]
    fn connecting_tells_down_from_out_of_sight() {
        let check = |kind, expect| assert_eq!(connect(kind), expect, "{kind:?}");
        check(ErrorKind::NotFound, Connect::Absent);
        check(ErrorKind::NotADirectory, Connect::Absent);
        check(ErrorKind::PermissionDenied, Connect::Forbidden);
        check(ErrorKind::ConnectionRefused, Connect::Down(Cause::RuntimeUnavailable));
        check(ErrorKind::WouldBlock, Connect::Down(Cause::RuntimeUnavailable));
        check(ErrorKind::OutOfMemory, Connect::Other);
    }

    #[test]
    fn a_plugin_that_did_not_start_is_a_matter_of_configuration_unless_it_says_more() {
        assert_eq!(plugin("failed to find snapshotter \"zfs\""), Cause::RuntimeConfig);
    }
}
