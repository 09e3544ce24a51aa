//! Proxies that say what a script has them say, on loopback and in memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::TcpListener;

use super::{as_proxys, authorization, beyond, finding, for_reqwest, greet, passes_on, tunnel};
use crate::containerd::proxy::{Proxy, ProxyRules, ProxySource};
use crate::model::Finding;
use crate::stages::http::{FindingError, Io, Url};
use crate::stages::tls::Trust;
use crate::stages::{Checked, Stop};

const LIMIT: Duration = Duration::from_secs(5);

fn proxy(url: &str) -> Proxy {
    Proxy::parse(url, "HTTPS_PROXY of containerd's process").expect("a proxy's URL")
}

/// What the proxy was sent, and how the tunnel to `quay.io:443` ended; `acts` are what it awaits and says, in turns.
async fn play(url: &str, acts: &[(usize, &[u8])], closes: bool) -> (Vec<u8>, Checked<Box<dyn Io>>) {
    let (ours, mut theirs) = duplex(1 << 20);
    let acts: Vec<(usize, Vec<u8>)> = acts.iter().map(|(count, say)| (*count, say.to_vec())).collect();
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for (count, say) in acts {
            let mut bytes = vec![0; count.max(1)];
            if count > 0 {
                theirs.read_exact(&mut bytes).await.unwrap();
                asked.extend(bytes);
            } else {
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(theirs.read_u8().await.unwrap());
                }
            }
            // Whoever has heard enough closes.
            let _ = theirs.write_all(&say).await;
        }
        (asked, (!closes).then_some(theirs))
    });
    let ended = tunnel(Box::new(ours), &proxy(url), "quay.io", 443, &Trust::default(), LIMIT).await;
    let (asked, _kept) = served.await.unwrap();
    (asked, ended)
}

fn failed(ended: Checked<Box<dyn Io>>) -> Finding {
    match ended {
        Err(Stop::Failed(finding, _)) => finding,
        Err(Stop::Undecided(why, _)) => panic!("undecided: {why}"),
        Ok(_) => panic!("a tunnel stands"),
    }
}

/// An HTTP proxy that answers `say` to `CONNECT` gives a finding at its own place, with `words` and `hint`.
async fn check_refused(url: &str, say: &str, words: &str, hint: &str) {
    let (_, ended) = play(url, &[(0, say.as_bytes())], true).await;
    let found = failed(ended);
    assert_eq!((found.cause.label(), found.place.as_str()), ("proxy_failed", "proxy.corp:3128"));
    let who = "the proxy proxy.corp:3128 (HTTPS_PROXY of containerd's process) ";
    assert_eq!(found.text.strip_prefix(who).unwrap_or(&found.text), words);
    assert!(found.hint.unwrap_or_default().contains(hint), "{say}");
    assert!(!found.text.contains("geheim"));
}

const HTTP: &str = "http://proxy.corp:3128";
const WITH_USER: &str = "http://us%20er:geheim@proxy.corp:3128";

#[tokio::test]
async fn the_request_is_the_one_that_go_sends() {
    let established = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let (asked, ended) = play(WITH_USER, &[(0, established)], false).await;
    assert_eq!(
        String::from_utf8(asked).unwrap(),
        "CONNECT quay.io:443 HTTP/1.1\r\nHost: quay.io:443\r\nUser-Agent: Go-http-client/1.1\r\nProxy-Authorization: Basic dXMgZXI6Z2VoZWlt\r\n\r\n"
    );
    let seen = ended.map(|pass| pass.seen.detail).map_err(|_| ());
    assert_eq!(
        seen,
        Ok("through the proxy proxy.corp:3128 (HTTPS_PROXY of containerd's process)".to_owned())
    );
    let (asked, _) = play(HTTP, &[(0, established)], false).await;
    assert!(!String::from_utf8(asked).unwrap().contains("Authorization"));
}

#[tokio::test]
async fn a_refused_tunnel_is_told_with_the_proxys_words() {
    let page = "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<html><head><title>Blocked by policy</title>";
    check_refused(
        HTTP,
        page,
        "refuses a tunnel to quay.io:443: 403 Forbidden: Blocked by policy",
        "allow CONNECT",
    )
    .await;
    let squid = "HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\n\r\n<html>";
    check_refused(
        HTTP,
        squid,
        "cannot reach quay.io:443: 503 Service Unavailable: ERR_DNS_FAIL 0",
        "proxy's own DNS",
    )
    .await;
    check_refused(HTTP, "HTTP/1.1 204\r\n\r\n", "refuses a tunnel to quay.io:443: 204", "").await;
    check_refused(HTTP, "HTTP/1.1 100 Continue\r\n\r\n", "refuses a tunnel to quay.io:443: 100 Continue", "")
        .await;
}

#[tokio::test]
async fn a_407_tells_whether_a_user_was_sent() {
    let demands =
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
    let without = "demands a user and password for quay.io:443, and its URL has none: 407 Proxy Authentication Required";
    check_refused(HTTP, demands, without, "Write user and password").await;
    let with = "refuses the user and password of its URL for quay.io:443: 407 Proxy Authentication Required";
    check_refused(WITH_USER, demands, with, "Correct the user").await;
    let ntlm = demands.replace("Basic realm=\"x\"", "NTLM");
    check_refused(WITH_USER, &ntlm, with, "asks for NTLM; containerd speaks only Basic").await;
}

#[tokio::test]
async fn what_is_no_answer_is_told_as_such() {
    check_refused(HTTP, "", "closed the connection before the tunnel stood: EOF", "").await;
    let half = "closed the connection in the middle of its answer to CONNECT: unexpected EOF";
    check_refused(HTTP, "HTTP/1.1 200 Conn", half, "").await;
    let ssh = "does not answer CONNECT in HTTP: malformed HTTP response \"SSH-2.0-x\\u{1b}\"";
    check_refused(HTTP, "SSH-2.0-x\u{1b}\r\n", ssh, "").await;
    check_refused(HTTP, "\u{15}\u{3}\u{1}\0\u{2}\u{2}F", "answers CONNECT in TLS", "https://").await;
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000));
    check_refused(HTTP, &long, "answers CONNECT with a head that has no end: 64 KiB came", "").await;
}

#[tokio::test]
async fn a_proxy_that_speaks_first_in_another_language_is_not_waited_for() {
    let (_, ended) = play(HTTP, &[(0, b"220 mail.corp ESMTP\r\n")], false).await;
    assert!(failed(ended).text.contains("malformed HTTP response \"220 mail.corp ESMTP\""));
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_hangs_is_named_before_the_time_is_over() {
    for (url, doing) in [(HTTP, "make a tunnel"), ("socks5://proxy.corp:3128", "make a tunnel")] {
        let (ours, _theirs) = duplex(1 << 16);
        let ended = tunnel(Box::new(ours), &proxy(url), "quay.io", 443, &Trust::default(), LIMIT).await;
        let found = failed(ended);
        assert!(found.text.ends_with(&format!("did not {doing} within 5.0 s")), "{}", found.text);
        assert_eq!((found.cause.label(), found.place.as_str()), ("proxy_failed", "proxy.corp:3128"));
    }
}

#[tokio::test]
async fn an_endless_page_does_not_keep_the_refusal() {
    let page = format!("HTTP/1.1 403 No\r\n\r\n<html><title>x</title>{}", "y".repeat(200_000));
    check_refused(HTTP, &page, "refuses a tunnel to quay.io:443: 403 No: x", "").await;
}

#[tokio::test]
async fn bytes_pass_through_the_tunnel() {
    let (ours, mut theirs) = duplex(1 << 16);
    tokio::spawn(async move {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(theirs.read_u8().await.unwrap());
        }
        theirs.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        tokio::task::yield_now().await;
        theirs.write_all(b"Via: x\r\n\r\n").await.unwrap();
        let mut bytes = [0; 4];
        theirs.read_exact(&mut bytes).await.unwrap();
        theirs.write_all(&bytes).await.unwrap();
    });
    let pass = tunnel(Box::new(ours), &proxy(HTTP), "quay.io", 443, &Trust::default(), LIMIT).await;
    let mut stream = pass.expect("a tunnel").product;
    stream.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
}

/// A SOCKS proxy whose answers are `acts` gives a finding with `words` and `hint`.
async fn check_socks(url: &str, acts: &[(usize, &[u8])], words: &str, hint: &str) {
    let (_, ended) = play(url, acts, true).await;
    let found = failed(ended);
    assert_eq!((found.cause.label(), found.place.as_str()), ("proxy_failed", "proxy.corp:1080"));
    assert!(found.text.ends_with(words), "{}", found.text);
    assert!(found.hint.unwrap_or_default().contains(hint), "{words}");
}

const SOCKS: &str = "socks5h://proxy.corp";
const SOCKS_USER: &str = "socks5://u:geheim@proxy.corp";
const SOCKS_GOOD: &[u8] = b"\x05\0\0\x01\0\0\0\0\0\0";

#[tokio::test]
async fn a_socks_tunnel_is_asked_for_by_name() {
    let (asked, ended) = play(SOCKS, &[(3, b"\x05\0"), (14, SOCKS_GOOD)], false).await;
    assert!(ended.is_ok());
    assert_eq!(asked, b"\x05\x01\0\x05\x01\0\x03\x07quay.io\x01\xbb");
    let by_name = b"\x05\0\0\x03\x02ab\0\0";
    assert!(play(SOCKS, &[(3, b"\x05\0"), (14, by_name)], false).await.1.is_ok());
}

#[tokio::test]
async fn a_socks_proxy_gets_the_password_only_where_it_asks() {
    let (asked, ended) =
        play(SOCKS_USER, &[(4, b"\x05\x02"), (10, b"\x01\0"), (14, SOCKS_GOOD)], false).await;
    assert!(ended.is_ok());
    assert_eq!(&asked[..14], b"\x05\x02\0\x02\x01\x01u\x06geheim");
    let (asked, ended) = play(SOCKS_USER, &[(4, b"\x05\0"), (14, SOCKS_GOOD)], false).await;
    assert!(ended.is_ok() && !asked.windows(6).any(|bytes| bytes == b"geheim"));
}

#[tokio::test]
async fn a_socks_proxy_that_refuses_is_told_in_gos_words() {
    check_socks(SOCKS, &[(3, b"\x05\xff")], "no acceptable authentication methods", "Write user").await;
    check_socks(SOCKS_USER, &[(4, b"\x05\xff")], "no acceptable authentication methods", "").await;
    check_socks(SOCKS, &[(3, b"\x05\x02")], "authentication method 2, which was not offered", "").await;
    let wrong = "refuses the user and password of its URL: username/password authentication failed";
    check_socks(SOCKS_USER, &[(4, b"\x05\x02"), (10, b"\x01\x01")], wrong, "Correct").await;
    let reply = |code| [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    let ask = |code| vec![(3, b"\x05\0".to_vec()), (14, reply(code).to_vec())];
    for (code, words) in [
        (2, "refuses a connection to quay.io:443: connection not allowed by ruleset"),
        (4, "cannot reach quay.io:443: host unreachable"),
        (5, "cannot reach quay.io:443: connection refused"),
        (77, "cannot reach quay.io:443: unknown code: 77"),
    ] {
        let acts = ask(code);
        let acts: Vec<(usize, &[u8])> = acts.iter().map(|(count, say)| (*count, say.as_slice())).collect();
        check_socks(SOCKS, &acts, words, "").await;
    }
    check_socks(SOCKS, &[(3, b"HTTP/1.1 400")], "unexpected protocol version 72", "http://").await;
    check_socks(SOCKS, &[(3, b"\x05")], "closed the connection before the tunnel stood: EOF", "").await;
}

#[tokio::test]
async fn an_https_proxy_without_tls_is_the_proxys_fault() {
    let (ours, mut theirs) = duplex(1 << 16);
    tokio::spawn(async move {
        let mut bytes = [0; 64];
        theirs.read_exact(&mut bytes).await.unwrap();
        theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let https = proxy("https://proxy.corp:3129");
    let greeted = greet(Box::new(ours), &https, &Trust::default(), LIMIT).await;
    let found = failed(greeted);
    assert_eq!((found.cause.label(), found.place.as_str()), ("proxy_failed", "proxy.corp:3129"));
    assert!(
        found
            .text
            .starts_with("the proxy proxy.corp:3129 (HTTPS_PROXY of containerd's process) cannot be used: ")
    );
}

#[test]
fn plain_http_is_passed_on_but_by_socks() {
    assert!(
        passes_on(&proxy(HTTP), false) && !passes_on(&proxy(HTTP), true) && !passes_on(&proxy(SOCKS), false)
    );
    let value = authorization(&proxy(WITH_USER)).expect("it has a user");
    assert!(value.is_sensitive() && !format!("{value:?}").contains("dXMg"));
    assert_eq!(authorization(&proxy(HTTP)), None);
}

#[test]
fn an_unknown_authority_behind_a_proxy_may_be_the_proxys_own() {
    let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    let found = crate::classify::tls::finding(&untrusted).at("quay.io").hint("Own words.");
    let hint = beyond(found, &proxy(HTTP)).hint.unwrap_or_default();
    assert!(hint.contains("through the proxy proxy.corp:3128") && hint.ends_with("Own words."), "{hint}");
    let other = Finding::new(crate::classify::http::not_a_registry(), "x").hint("Own words.");
    assert_eq!(beyond(other.clone(), &proxy(HTTP)), other);
}

/// What reqwest, under the proxy `url`, has to say of a request to `target`.
async fn ask_elsewhere(url: &str, target: &str) -> Finding {
    let rules = ProxyRules::from_environment([("HTTPS_PROXY", url), ("HTTP_PROXY", url)], ProxySource::Agent);
    let resolver = Arc::new(Nowhere);
    let builder = reqwest::Client::builder().no_proxy().proxy(for_reqwest(&rules)).dns_resolver(resolver);
    let tls = crate::stages::tls::client_config(&Trust::default()).as_ref().clone();
    let client =
        builder.tls_backend_preconfigured(tls).connect_timeout(Duration::from_secs(2)).build().unwrap();
    let target: Url = target.parse().unwrap();
    let error = client.get(target.clone()).send().await.expect_err("it fails");
    finding(&error.without_url(), "GET", &target, &rules)
}

/// A resolver that knows no name.
struct Nowhere;

impl reqwest::dns::Resolve for Nowhere {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let words = format!("{} does not exist", name.as_str());
        let found = Finding::new(crate::classify::http::not_a_registry(), words).at(name.as_str());
        Box::pin(async move { Err(FindingError(found).into()) })
    }
}

/// A listener that answers each client with `say`, whatever it is asked.
async fn always(say: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                let _ = stream.read(&mut bytes).await?;
                stream.write_all(say).await?;
                let _ = stream.read(&mut bytes).await?;
                io::Result::Ok(())
            });
        }
    });
    at
}

#[tokio::test]
async fn what_reqwest_meets_on_the_way_is_the_proxys() {
    for target in ["https://auth.test/token", "http://auth.test/token"] {
        for scheme in ["http", "https", "socks5"] {
            if (scheme, &target[..5]) == ("https", "http:") {
                continue;
            }
            let found = ask_elsewhere(&format!("{scheme}://proxy.corp:3128"), target).await;
            assert_eq!(
                (found.cause.label(), found.place.as_str()),
                ("proxy_failed", "proxy.corp:3128"),
                "{scheme} {target}: {}",
                found.text
            );
            let words =
                if scheme == "socks5" { "underlying connection" } else { "proxy.corp does not exist" };
            assert!(found.text.ends_with(words), "{}", found.text);
            let found = ask_elsewhere(&format!("{scheme}://127.0.0.1:9"), target).await;
            assert_eq!(
                (found.cause.label(), found.place.as_str()),
                ("proxy_failed", "127.0.0.1:9"),
                "{scheme} {target}: {}",
                found.text
            );
            let words = if scheme == "socks5" { "underlying connection" } else { "refused" };
            assert!(found.text.contains(words), "{}", found.text);
        }
    }
}

#[tokio::test]
async fn what_the_proxy_refuses_reqwest_is_the_proxys() {
    let demands = always(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let found = ask_elsewhere(&format!("http://{demands}"), "https://auth.test/token").await;
    assert_eq!((found.cause.label(), found.place.as_str()), ("proxy_failed", demands.as_str()));
    assert!(found.text.contains("demands a user and password for auth.test:443"), "{}", found.text);
    let forbids = always(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let found = ask_elsewhere(&format!("http://{forbids}"), "https://auth.test/token").await;
    assert_eq!((found.cause.label(), found.place.as_str()), ("proxy_failed", forbids.as_str()));
    assert!(found.text.contains("refuses a tunnel to auth.test:443"), "{}", found.text);
    let socks = always(b"\x05\xff").await;
    let found = ask_elsewhere(&format!("socks5://{socks}"), "https://auth.test/token").await;
    assert_eq!(
        (found.cause.label(), found.place.as_str()),
        ("proxy_failed", socks.as_str()),
        "{}",
        found.text
    );
    // No TLS where TLS is expected: an HTTPS proxy.
    let plain = always(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let found = ask_elsewhere(&format!("https://{plain}"), "https://auth.test/token").await;
    assert_eq!(
        (found.cause.label(), found.place.as_str()),
        ("proxy_failed", plain.as_str()),
        "{}",
        found.text
    );
}

#[tokio::test]
async fn what_is_wrong_behind_the_tunnel_is_not_the_proxys() {
    // The tunnel stands, and what follows is not TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = [0; 4096];
        let _ = stream.read(&mut bytes).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = stream.read(&mut bytes).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let found = ask_elsewhere(&format!("http://{at}"), "https://auth.test/token").await;
    assert_eq!((found.cause.label(), found.place.as_str()), ("tls_protocol", "auth.test"), "{}", found.text);
}

#[test]
fn a_proxys_finding_is_not_wrapped_twice() {
    let once = as_proxys(Finding::new(crate::classify::http::not_a_registry(), "x"), &proxy(HTTP));
    assert_eq!(as_proxys(once.clone(), &proxy(HTTP)), once);
}
