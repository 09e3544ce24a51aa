//! What a name server's answer, or its silence, means.

use std::fmt;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;

use crate::model::Cause;

/// Why one name server gave no address for one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// The name cannot stand in a question: too long, or with characters that no host name has.
    NotAName,
    /// NXDOMAIN: the name, or what it is an alias of, does not exist.
    NoSuchName {
        /// The end of the CNAME chain, where there is one.
        alias: Option<String>,
    },
    /// NODATA: the name exists, but has no record of the type asked for (RFC 2308 section 2.2).
    NoData {
        /// The end of the CNAME chain, where there is one.
        alias: Option<String>,
    },
    /// An answer with another response code: SERVFAIL, REFUSED, NOTIMP and the like.
    Code(ResponseCode),
    /// An empty answer from a server that neither owns the zone nor recurses.
    Lame,
    /// No answer in time.
    Silent {
        /// How long it was waited for.
        waited: Duration,
        /// Packets that came instead: wrong id, wrong question or unreadable. Go and libc ignore them too.
        strays: u32,
    },
    /// Nothing listens on the server's port.
    PortClosed,
    /// The socket failed in another way; the error's own words.
    Socket(String),
    /// An answer to the question that cannot be read; why.
    Unreadable(String),
    /// The answer was too long for UDP and could not be had over TCP; the error's own words.
    TruncatedNoTcp(String),
}

/// What it means. A name without an address record is "no such host" to Go, the same as one that does not exist.
pub fn cause(why: &NoAddress) -> Cause {
    if why.is_final() { Cause::DnsNotFound } else { Cause::DnsFailure }
}

impl NoAddress {
    /// Whether the answer settles the question, so that neither Go nor libc asks the next server.
    pub fn is_final(&self) -> bool {
        matches!(self, NoAddress::NotAName | NoAddress::NoSuchName { .. } | NoAddress::NoData { .. })
    }
}

/// As the end of a sentence that begins with the server: "10.0.0.2 …".
impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoAddress::NotAName => f.write_str("was not asked: not a host name"),
            NoAddress::NoSuchName { .. } => f.write_str("answered NXDOMAIN"),
            NoAddress::NoData { .. } => f.write_str("answered NODATA"),
            NoAddress::Code(code) => write!(f, "answered {}", CodeName(*code)),
            NoAddress::Lame => f.write_str("answered with nothing (it neither owns the zone nor recurses)"),
            NoAddress::Silent { waited, strays: 0 } => {
                write!(f, "did not answer within {}", Seconds(*waited))
            }
            NoAddress::Silent { waited, strays } => {
                write!(f, "sent {strays} unusable packets and no answer within {}", Seconds(*waited))
            }
            NoAddress::PortClosed => f.write_str("has its port closed (connection refused)"),
            NoAddress::Socket(words) => write!(f, "cannot be asked ({words})"),
            NoAddress::Unreadable(words) => write!(f, "sent an answer that cannot be read ({words})"),
            NoAddress::TruncatedNoTcp(words) => {
                write!(f, "truncated its answer and did not give it over TCP ({words})")
            }
        }
    }
}

/// A response code under the name that `dig` shows.
struct CodeName(ResponseCode);

impl fmt::Display for CodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ResponseCode::FormErr => f.write_str("FORMERR"),
            ResponseCode::ServFail => f.write_str("SERVFAIL"),
            ResponseCode::NotImp => f.write_str("NOTIMP"),
            ResponseCode::Refused => f.write_str("REFUSED"),
            ResponseCode::NotAuth => f.write_str("NOTAUTH"),
            // 16 is BADSIG only in signed messages, which these are not.
            ResponseCode::BADVERS | ResponseCode::BADSIG => f.write_str("BADVERS"),
            code => write!(f, "RCODE {}", u16::from(code)),
        }
    }
}

/// A duration for people: `5 s`, `3.3 s`, `0.2 s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_secs_f64() * 10.0).round() / 10.0;
        if tenths.fract() == 0.0 { write!(f, "{tenths:.0} s") } else { write!(f, "{tenths:.1} s") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(why: NoAddress, expect: Cause, words: &str) {
        assert_eq!(cause(&why), expect, "{why:?}");
        assert_eq!(why.to_string(), words);
    }

    #[test]
    fn a_name_that_does_not_exist_is_not_found() {
        check(NoAddress::NoSuchName { alias: None }, Cause::DnsNotFound, "answered NXDOMAIN");
    }

    #[test]
    fn a_name_without_an_address_is_not_found_as_go_words_it() {
        check(NoAddress::NoData { alias: None }, Cause::DnsNotFound, "answered NODATA");
    }

    #[test]
    fn a_refusing_or_failing_server_is_a_failure() {
        check(NoAddress::Code(ResponseCode::ServFail), Cause::DnsFailure, "answered SERVFAIL");
        check(NoAddress::Code(ResponseCode::Refused), Cause::DnsFailure, "answered REFUSED");
        check(NoAddress::Code(ResponseCode::NotImp), Cause::DnsFailure, "answered NOTIMP");
        check(NoAddress::Code(ResponseCode::Unknown(1234)), Cause::DnsFailure, "answered RCODE 1234");
    }

    #[test]
    fn a_silent_server_is_a_failure() {
        let waited = Duration::from_millis(3333);
        check(NoAddress::Silent { waited, strays: 0 }, Cause::DnsFailure, "did not answer within 3.3 s");
        check(
            NoAddress::Silent { waited: Duration::from_secs(5), strays: 2 },
            Cause::DnsFailure,
            "sent 2 unusable packets and no answer within 5 s",
        );
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_a_failure() {
        check(NoAddress::PortClosed, Cause::DnsFailure, "has its port closed (connection refused)");
        check(NoAddress::Socket("no route".into()), Cause::DnsFailure, "cannot be asked (no route)");
    }

    #[test]
    fn an_answer_that_cannot_be_had_whole_is_a_failure() {
        check(
            NoAddress::TruncatedNoTcp("refused".into()),
            Cause::DnsFailure,
            "truncated its answer and did not give it over TCP (refused)",
        );
        check(
            NoAddress::Unreadable("short".into()),
            Cause::DnsFailure,
            "sent an answer that cannot be read (short)",
        );
        assert_eq!(cause(&NoAddress::Lame), Cause::DnsFailure);
    }

    #[test]
    fn only_a_final_answer_keeps_the_next_server_from_being_asked() {
        assert!(NoAddress::NoData { alias: None }.is_final());
        assert!(!NoAddress::Lame.is_final());
    }
}
