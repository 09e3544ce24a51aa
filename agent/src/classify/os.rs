//! What an error of the operating system means.

use std::error::Error;
use std::io::{self, ErrorKind};

use rustix::io::Errno;

use crate::model::Cause;

/// How many layers of wrapping are looked through; libraries make two or three.
const MAX_DEPTH: usize = 16;

/// What an error of a socket or a file means. The innermost `io::Error` that says something wins: TLS and HTTP
/// libraries wrap the system's error in an `Other` or `InvalidData` of their own.
pub fn cause(error: &io::Error) -> Cause {
    let mut cause = bare_cause(error);
    let mut next = inner(error);
    for _ in 0..MAX_DEPTH {
        let Some(wrapped) = next else { break };
        next = match wrapped.downcast_ref::<io::Error>() {
            Some(nested) => {
                let said = bare_cause(nested);
                if said != Cause::Unknown {
                    cause = said;
                }
                inner(nested)
            }
            None => wrapped.source(),
        };
    }
    cause
}

/// Whether the error says only that this process has no more descriptors or memory: the agent could not look,
/// and nobody else is to blame.
pub fn is_our_own(error: &io::Error) -> bool {
    const OURS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| OURS.iter().any(|errno| errno.raw_os_error() == code))
}

/// Whether the error says that this node has no way at all to the address's network or family: no route, no
/// source address, or a kernel without the family. Such an error comes at once, nothing is sent.
pub fn is_no_route(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable)
        || error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error())
}

fn inner(error: &io::Error) -> Option<&(dyn Error + 'static)> {
    error.get_ref().map(|inner| inner as &(dyn Error + 'static))
}

/// What the error itself says, whatever it wraps.
fn bare_cause(error: &io::Error) -> Cause {
    match error.kind() {
        ErrorKind::ConnectionRefused => Cause::ConnectRefused,
        // A `prohibit` route and a local packet filter answer EACCES or EPERM.
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::AddrNotAvailable
        | ErrorKind::PermissionDenied => Cause::Unreachable,
        ErrorKind::TimedOut => Cause::ConnectTimeout,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected
        | ErrorKind::UnexpectedEof => Cause::ConnectionReset,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::DiskFull,
        ErrorKind::ReadOnlyFilesystem => Cause::DiskError,
        _ => error.raw_os_error().map_or(Cause::Unknown, by_number),
    }
}

/// The numbers that the standard library has no word for.
fn by_number(code: i32) -> Cause {
    match Errno::from_raw_os_error(code) {
        Errno::IO | Errno::UCLEAN => Cause::DiskError,
        Errno::HOSTDOWN | Errno::NONET | Errno::AFNOSUPPORT => Cause::Unreachable,
        // What connect() answers where the route is a `blackhole`.
        Errno::INVAL => Cause::Unreachable,
        _ => Cause::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(errno: Errno, expect: Cause) {
        assert_eq!(cause(&io::Error::from(errno)), expect, "{errno:?}");
    }

    #[test]
    fn the_errors_of_connect_have_their_causes() {
        check(Errno::CONNREFUSED, Cause::ConnectRefused);
        check(Errno::HOSTUNREACH, Cause::Unreachable);
        check(Errno::NETUNREACH, Cause::Unreachable);
        check(Errno::NETDOWN, Cause::Unreachable);
        check(Errno::ADDRNOTAVAIL, Cause::Unreachable);
        check(Errno::AFNOSUPPORT, Cause::Unreachable);
        check(Errno::ACCESS, Cause::Unreachable);
        check(Errno::PERM, Cause::Unreachable);
        check(Errno::INVAL, Cause::Unreachable);
        check(Errno::TIMEDOUT, Cause::ConnectTimeout);
    }

    #[test]
    fn a_connection_that_is_cut_is_reset() {
        check(Errno::CONNRESET, Cause::ConnectionReset);
        check(Errno::CONNABORTED, Cause::ConnectionReset);
        check(Errno::PIPE, Cause::ConnectionReset);
        assert_eq!(cause(&ErrorKind::UnexpectedEof.into()), Cause::ConnectionReset);
    }

    #[test]
    fn a_full_disk_and_a_broken_one_differ() {
        check(Errno::NOSPC, Cause::DiskFull);
        check(Errno::DQUOT, Cause::DiskFull);
        check(Errno::ROFS, Cause::DiskError);
        check(Errno::IO, Cause::DiskError);
    }

    #[test]
    fn an_error_without_a_meaning_is_unknown() {
        check(Errno::DOM, Cause::Unknown);
        assert_eq!(cause(&io::Error::other("something")), Cause::Unknown);
    }

    #[test]
    fn a_nested_error_is_found() {
        let reset = io::Error::from(Errno::CONNRESET);
        let wrapped = io::Error::new(ErrorKind::InvalidData, io::Error::other(reset));
        assert_eq!(cause(&wrapped), Cause::ConnectionReset);
    }

    #[test]
    fn the_innermost_error_wins_over_its_wrapper() {
        let wrapped = io::Error::new(ErrorKind::UnexpectedEof, io::Error::from(Errno::CONNREFUSED));
        assert_eq!(cause(&wrapped), Cause::ConnectRefused);
    }

    #[test]
    fn a_wrapper_that_speaks_counts_when_the_inside_does_not() {
        let wrapped = io::Error::new(ErrorKind::TimedOut, io::Error::other("no words"));
        assert_eq!(cause(&wrapped), Cause::ConnectTimeout);
    }

    #[test]
    fn an_error_behind_a_foreign_one_is_found() {
        #[derive(Debug)]
        struct Foreign(io::Error);
        impl std::fmt::Display for Foreign {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("foreign")
            }
        }
        impl Error for Foreign {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        assert_eq!(cause(&io::Error::other(Foreign(Errno::CONNRESET.into()))), Cause::ConnectionReset);
    }

    #[test]
    fn running_out_of_descriptors_is_our_own_trouble() {
        assert!(is_our_own(&Errno::MFILE.into()));
        assert!(!is_our_own(&Errno::CONNREFUSED.into()));
    }

    #[test]
    fn a_missing_address_family_is_no_route() {
        assert!(is_no_route(&Errno::NETUNREACH.into()));
        assert!(is_no_route(&Errno::ADDRNOTAVAIL.into()));
        assert!(is_no_route(&Errno::AFNOSUPPORT.into()));
        assert!(!is_no_route(&Errno::HOSTUNREACH.into()));
    }
}
