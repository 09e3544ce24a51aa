//! One fault, met twice: typed by our own stages, and in Go's words in containerd's message. Both must name the same
//! cause, else the wire lane and the pull lane would blame different people for one thing.

use std::io;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use pullscope::classify::dns::{self, NoAddress};
use pullscope::classify::http::{self, Asked, Refusal};
use pullscope::classify::{os, text, tls};
use pullscope::model::Cause;
use rustls::AlertDescription;

const IMAGE: &str = "registry.example/team/app:1";

/// The message in which containerd 1.6 and 1.7 wrap a failed request, from the resolve stage.
fn wrapped(inner: &str) -> String {
    let url = "https://registry.example/v2/team/app/manifests/1";
    format!(
        "rpc error: code = Unknown desc = failed to pull and unpack image \"{IMAGE}\": failed to resolve reference \
         \"{IMAGE}\": failed to do request: Head \"{url}\": {inner}"
    )
}

fn check(typed: Cause, words: &str) {
    assert_eq!(text::cause(&wrapped(words)), typed, "{words}");
}

#[test]
fn the_systems_errors_mean_what_go_words() {
    let go = |verb: &str, words: &str| format!("{verb} tcp 192.0.2.7:443: {words}");
    // Linux' numbers and Go's syscall texts for them.
    for (errno, words) in [
        (111, go("dial", "connect: connection refused")),
        (113, go("dial", "connect: no route to host")),
        (101, go("dial", "connect: network is unreachable")),
        (99, go("dial", "connect: cannot assign requested address")),
        (110, go("dial", "connect: connection timed out")),
        (104, "read tcp 192.0.2.1:41000->192.0.2.7:443: read: connection reset by peer".to_owned()),
        (32, "write tcp 192.0.2.1:41000->192.0.2.7:443: write: broken pipe".to_owned()),
    ] {
        check(os::cause(&io::Error::from_raw_os_error(errno)), &words);
    }
    check(os::cause(&io::Error::from(io::ErrorKind::UnexpectedEof)), "EOF");
}

#[test]
fn the_disks_errors_mean_what_go_words() {
    let path = "/var/lib/containerd/io.containerd.content.v1.content/ingest/a1/data";
    for (errno, words) in
        [(28, "no space left on device"), (30, "read-only file system"), (5, "input/output error")]
    {
        let message =
            format!("failed to pull and unpack image \"{IMAGE}\": failed to copy: write {path}: {words}");
        assert_eq!(text::cause(&message), os::cause(&io::Error::from_raw_os_error(errno)), "{words}");
    }
}

#[test]
fn a_name_servers_answers_mean_what_go_words() {
    let go = |words: &str| format!("dial tcp: lookup registry.example on 10.96.0.10:53: {words}");
    let silent = NoAddress::Silent { waited: Duration::from_secs(5), strays: 0 };
    let port = "read udp 10.0.0.9:40000->10.96.0.10:53: read: connection refused";
    let late = "read udp 10.0.0.9:40000->10.96.0.10:53: i/o timeout";
    for (why, words) in [
        (NoAddress::NoSuchName { alias: None }, "no such host"),
        (NoAddress::NoData { alias: None }, "no such host"),
        (NoAddress::Code(ResponseCode::ServFail), "server misbehaving"),
        (NoAddress::Code(ResponseCode::Refused), "server misbehaving"),
        (NoAddress::PortClosed, port),
        (silent, late),
    ] {
        check(dns::cause(&why), &go(words));
    }
}

#[test]
fn tls_errors_mean_what_go_words() {
    let alert = |description| tls::cause(&rustls::Error::AlertReceived(description));
    let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    for (typed, words) in [
        (alert(AlertDescription::HandshakeFailure), "remote error: tls: handshake failure"),
        (alert(AlertDescription::ProtocolVersion), "remote error: tls: protocol version not supported"),
        (alert(AlertDescription::CertificateRequired), "remote error: tls: certificate required"),
        (alert(AlertDescription::BadCertificate), "remote error: tls: bad certificate"),
        (alert(AlertDescription::UnknownCA), "remote error: tls: unknown certificate authority"),
        (alert(AlertDescription::UnrecognisedName), "remote error: tls: unrecognized name"),
        (tls::cause(&plain), "tls: first record does not look like a TLS handshake"),
        (tls::cause(&plain), "http: server gave HTTP response to HTTPS client"),
    ] {
        check(typed, words);
    }
}

/// How containerd words a status: 1.6 and 1.7 at a GET, 2.1 at a HEAD.
fn status_texts(status: &str, code_and_message: Option<&str>) -> Vec<String> {
    let url = "https://registry.example/v2/team/app/manifests/1";
    let server = code_and_message.map(|words| format!(" - Server message: {words}")).unwrap_or_default();
    let pull = format!("failed to pull and unpack image \"{IMAGE}\"");
    let head =
        format!("{pull}: failed to resolve image: unexpected status from HEAD request to {url}: {status}");
    let get = format!(
        "{pull}: failed to copy: httpReadSeeker: failed open: unexpected status code {url}: {status}{server}"
    );
    // A HEAD has no body: the registry's own words never come with it.
    if code_and_message.is_some() { vec![get] } else { vec![head, get] }
}

#[test]
fn a_status_means_what_containerd_words() {
    for (status, line, code, message) in [
        (429, "429 Too Many Requests", None, ""),
        (429, "429 Too Many Requests", Some("TOOMANYREQUESTS"), "You have reached your pull rate limit."),
        (403, "403 Forbidden", None, ""),
        (403, "403 Forbidden", Some("DENIED"), "requested access to the resource is denied"),
        (402, "402 Payment Required", None, ""),
        (500, "500 Internal Server Error", None, ""),
        (502, "502 Bad Gateway", None, ""),
        (503, "503 Service Unavailable", None, ""),
        (504, "504 Gateway Timeout", None, ""),
        (401, "401 Unauthorized", None, ""),
    ] {
        let refusal = Refusal { status, asked: Asked::Manifest, credentials: false, code, message };
        let words = code.map(|code| format!("{}: {message}", code.to_lowercase()));
        for text_of_it in status_texts(line, words.as_deref()) {
            assert_eq!(text::cause(&text_of_it), http::cause(&refusal), "{text_of_it}");
        }
    }
}

#[test]
fn a_missing_manifest_means_what_containerd_words() {
    let refusal =
        Refusal { status: 404, asked: Asked::Manifest, credentials: false, code: None, message: "" };
    let message = format!("failed to resolve reference \"{IMAGE}\": {IMAGE}: not found");
    assert_eq!(text::cause(&message), http::cause(&refusal));
}

#[test]
fn a_token_services_refusal_means_what_containerd_words() {
    let token = |status, credentials| {
        http::cause(&Refusal { status, asked: Asked::Token, credentials, code: None, message: "" })
    };
    let words = |kind: &str, status: &str| {
        wrapped(&format!(
            "failed to authorize: failed to fetch {kind} token: unexpected status from GET request to \
             https://auth.example/token?scope=repository%3Ateam%2Fapp%3Apull: {status}"
        ))
    };
    assert_eq!(text::cause(&words("anonymous", "401 Unauthorized")), token(401, false));
    assert_eq!(text::cause(&words("oauth", "401 Unauthorized")), token(401, true));
    assert_eq!(text::cause(&words("anonymous", "403 Forbidden")), token(403, false));
    assert_eq!(text::cause(&words("oauth", "403 Forbidden")), token(403, true));
    assert_eq!(text::cause(&words("anonymous", "429 Too Many Requests")), token(429, false));
    assert_eq!(text::cause(&words("anonymous", "503 Service Unavailable")), token(503, false));
}
