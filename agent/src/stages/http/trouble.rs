//! What went wrong below HTTP: the chain of an error, walked down to the language that explains it.

use std::error::Error;
use std::fmt;
use std::io;

use crate::classify::{http, os, proxy, tls};
use crate::model::{Cause, Finding};

/// A finding that travels through a library as an error: the walk's resolver gives it to reqwest, and [`finding`] takes
/// it out again.
#[derive(Clone, Debug)]
pub struct FindingError(pub Finding);

impl fmt::Display for FindingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl Error for FindingError {}

/// How deep a chain of errors is followed: real ones are under ten deep, and a cyclic one must end too.
const MAX_DEPTH: usize = 24;

/// The finding of an error at `place`; `doing` is what was tried (`GET /v2/ on quay.io`).
pub fn finding(error: &(dyn Error + 'static), doing: &str, place: &str) -> Finding {
    let chain = chain(error);
    if let Some(found) = chain.iter().find_map(|e| e.downcast_ref::<FindingError>()) {
        return found.0.clone();
    }
    let own = chain.last().map(|e| e.to_string()).unwrap_or_default();
    let finding = Finding::new(cause(&chain), format!("{doing} failed: {own}")).at(place);
    // Some of what TLS says has advice of its own: a client certificate is no password.
    let tls = chain.iter().rev().find_map(|error| error.downcast_ref::<rustls::Error>());
    match tls.and_then(|error| tls::finding(error).hint) {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// The cause of a chain: the deepest layer that explains itself.
fn cause(chain: &[&(dyn Error + 'static)]) -> Cause {
    // hyper-util's error of a tunnel has no public type. Whatever is below it happened between us and the proxy.
    if chain.iter().any(|error| error.to_string().starts_with("tunnel error")) {
        return proxy::failed();
    }
    let typed = chain.iter().rev().find_map(|error| {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(tls::cause(error));
        }
        // `Other` only wraps: what it wraps was looked at before.
        error.downcast_ref::<io::Error>().filter(|io| io.kind() != io::ErrorKind::Other).map(own_cause)
    });
    if let Some(cause) = typed {
        return cause;
    }
    if let Some(cause) = chain.iter().find_map(|error| timed_out(*error)) {
        return cause;
    }
    chain.iter().find_map(|error| error.downcast_ref::<hyper::Error>()).map_or(http::unexplained(), spoken)
}

/// rustls calls a stream that ends without its close notice an unexpected end; it is the same cut.
fn own_cause(error: &io::Error) -> Cause {
    if error.kind() == io::ErrorKind::UnexpectedEof { http::cut_short() } else { os::cause(error) }
}

/// reqwest's own deadlines, told apart by the phase they ended in.
fn timed_out(error: &(dyn Error + 'static)) -> Option<Cause> {
    let error = error.downcast_ref::<reqwest::Error>().filter(|error| error.is_timeout())?;
    Some(if error.is_connect() { http::no_connection_in_time() } else { http::no_answer_in_time() })
}

/// What hyper itself objected to.
fn spoken(error: &hyper::Error) -> Cause {
    if error.is_parse() {
        http::not_a_registry()
    } else if error.is_timeout() {
        http::no_answer_in_time()
    } else {
        http::cut_short()
    }
}

/// The error and what caused it, outermost first. `io::Error::source` passes over the error that it wraps, so that one
/// is taken by `get_ref`.
pub(in crate::stages) fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut chain = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next
        && chain.len() < MAX_DEPTH
    {
        chain.push(error);
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tls_error_is_found_under_two_io_errors() {
        let inner = rustls::Error::NoCertificatesPresented;
        let expect = tls::cause(&inner);
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, inner));
        let found = finding(&error, "GET x", "host");
        assert_eq!(found.cause, expect);
        assert!(found.text.contains("peer sent no certificates"), "{}", found.text);
        assert_eq!(found.place, "host");
    }

    #[test]
    fn a_demand_for_a_client_certificate_keeps_its_advice() {
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let found = finding(&io::Error::new(io::ErrorKind::InvalidData, alert), "GET x", "host");
        assert!(found.hint.unwrap().contains("client certificate"));
        assert!(found.text.ends_with("CertificateRequired"), "{}", found.text);
    }

    #[test]
    fn a_finding_passes_through_unchanged() {
        let sent = Finding::new(http::not_a_registry(), "no such host").at("auth.test");
        let error = io::Error::other(FindingError(sent.clone()));
        assert_eq!(finding(&error, "GET x", "elsewhere"), sent);
    }

    #[test]
    fn an_end_without_notice_is_a_cut() {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed");
        let found = finding(&error, "GET x", "");
        assert_eq!(found.cause, http::cut_short());
        assert!(found.text.ends_with("peer closed"));
    }
}
