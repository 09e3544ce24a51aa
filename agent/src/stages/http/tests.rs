use std::sync::Arc;
use std::time::Duration;

use ::http::header::ACCEPT;
use ::http::{HeaderMap, HeaderValue, Method};
use tokio::time::timeout;

use super::script::{Act, Script, elsewhere, elsewhere_with, elsewhere_within, say};
use super::{
    Answer, Ask, Base, Conversation, Elsewhere, FindingError, MAX_BODY, Proxied, Trip, Url, is_same_party,
};
use crate::classify::{http, os, proxy};
use crate::model::Finding;
use crate::stages::Stop;

/// Far more than a machine under load takes for a loopback exchange.
const AGES: Duration = Duration::from_secs(30);

async fn get(script: &Script) -> Result<Answer, Stop> {
    let mut c = script.conversation().await;
    timeout(AGES, c.send(&Ask::new(Method::GET, "/v2/"))).await.expect("an end in time")
}

async fn check_failure(act: Act, expect: crate::model::Cause) -> String {
    let script = Script::play(vec![act]).await;
    let Err(Stop::Failed(finding, _)) = get(&script).await else { panic!("no failure") };
    assert_eq!(finding.cause, expect, "{}", finding.text);
    assert_eq!(finding.place, script.address.to_string());
    finding.text
}

#[tokio::test]
async fn two_requests_go_over_one_stream_and_name_host_and_agent() {
    let script = Script::play(vec![say("200 OK", "", "a"), say("200 OK", "", "b")]).await;
    let mut c = script.conversation().await;
    for expect in ["a", "b"] {
        let answer = c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap();
        assert_eq!(answer.body, expect);
        assert!(answer.is_whole());
        assert!(c.is_open());
    }
    assert_eq!(script.connections(), 1);
    let asked = script.asked()[0].to_lowercase();
    assert!(asked.contains(&format!("host: {}\r\n", script.address)), "{asked}");
    assert!(asked.contains("user-agent: pullscope/"), "{asked}");
}

#[tokio::test]
async fn a_stream_that_the_server_closes_is_replaced_for_the_next_request() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na".to_owned();
    let silent = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".to_owned();
    for first in [Act::SayAndClose(closing), Act::SayAndClose(silent)] {
        let script = Script::play(vec![first, say("200 OK", "", "b")]).await;
        let mut c = script.conversation().await;
        assert_eq!(c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap().body, "a");
        assert_eq!(c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap().body, "b");
        assert_eq!(script.connections(), 2);
    }
}

#[tokio::test]
async fn a_stream_that_dies_of_the_second_request_is_replaced_once_and_a_fresh_one_is_not() {
    let script = Script::play(vec![say("200 OK", "", "a"), Act::Close, say("200 OK", "", "b")]).await;
    let mut c = script.conversation().await;
    assert_eq!(c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap().body, "a");
    assert_eq!(c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap().body, "b");
    assert_eq!((script.connections(), script.lines().len()), (2, 3));

    let script = Script::play(vec![Act::Close, say("200 OK", "", "b")]).await;
    assert!(get(&script).await.is_err());
    assert_eq!(script.lines().len(), 1);
}

#[tokio::test]
async fn without_another_stream_the_next_request_is_undecided() {
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na".to_owned();
    let script = Script::play(vec![Act::SayAndClose(closing)]).await;
    let mut c = script.bare_conversation().await;
    c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap();
    assert!(!c.is_open());
    let Err(Stop::Undecided(why, _)) = c.send(&Ask::new(Method::GET, "/v2/")).await else {
        panic!("decided")
    };
    assert!(why.contains("closed the connection"), "{why}");
}

#[tokio::test]
async fn garbage_is_not_a_registry() {
    let text =
        check_failure(Act::Say("SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned()), http::not_a_registry()).await;
    assert!(text.starts_with("GET /v2/ on 127.0.0.1:"), "{text}");
    check_failure(Act::Say("\u{15}\u{3}\u{3}\0\u{2}\u{2}F\r\n\r\n".to_owned()), http::not_a_registry()).await;
}

#[tokio::test]
async fn a_close_without_a_word_is_a_cut() {
    check_failure(Act::Close, http::cut_short()).await;
    check_failure(Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-".to_owned()), http::cut_short()).await;
}

#[tokio::test]
async fn a_header_section_without_end_is_given_up() {
    let begin = "HTTP/1.1 200 OK\r\nx: ".to_owned();
    check_failure(Act::Endless(begin, "yyyyyyyyyyyyyyyy"), http::not_a_registry()).await;
    let long = format!("x: {}\r\n", "y".repeat(2 * super::MAX_HEAD));
    check_failure(say("200 OK", &long, ""), http::not_a_registry()).await;
    let begin = "HTTP/1.1 200 OK\r\n".to_owned();
    check_failure(Act::Endless(begin, "x: y\r\n"), http::not_a_registry()).await;
}

#[tokio::test]
async fn provisional_answers_without_end_are_given_up() {
    for provisional in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"] {
        let few = provisional.repeat(3) + "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
        let script = Script::play(vec![Act::Say(few)]).await;
        assert_eq!(get(&script).await.unwrap().body, "a");

        let text = check_failure(Act::Say(provisional.repeat(100_000)), http::not_a_registry()).await;
        assert!(text.contains("sends and sends"), "{text}");
    }
}

#[tokio::test]
async fn many_answers_go_over_one_stream_however_much_they_are_together() {
    let body = "x".repeat(MAX_BODY);
    let acts = (0..20).map(|_| say("200 OK", "", &body)).collect();
    let script = Script::play(acts).await;
    let mut c = script.conversation().await;
    for _ in 0..20 {
        assert_eq!(c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap().body.len(), MAX_BODY);
    }
    assert_eq!(script.connections(), 1);
}

#[tokio::test]
async fn a_body_without_end_is_cut_and_its_stream_not_used_again() {
    let endless = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    let script = Script::play(vec![Act::Endless(endless, "0123456789abcdef"), say("200 OK", "", "b")]).await;
    let mut c = script.conversation().await;
    let answer = c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap();
    assert_eq!(answer.body.len(), MAX_BODY);
    assert!(!answer.is_whole());
    assert!(!c.is_open());
    assert_eq!(c.send(&Ask::new(Method::GET, "/v2/")).await.unwrap().body, "b");
}

#[tokio::test]
async fn a_body_that_stalls_or_breaks_off_does_not_cost_the_status() {
    for begin in [Act::Say, Act::SayAndClose] {
        let act = begin("HTTP/1.1 401 Unauthorized\r\nContent-Length: 99\r\n\r\nhalf".to_owned());
        let script = Script::play(vec![act]).await;
        let answer = get(&script).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.is_whole()), (401, false));
    }
}

#[tokio::test]
async fn silence_is_left_to_the_callers_clock() {
    let script = Script::play(vec![Act::Silence]).await;
    let mut c = script.conversation().await;
    let ask = Ask::new(Method::GET, "/v2/");
    assert!(timeout(Duration::from_millis(50), c.send(&ask)).await.is_err());
    assert!(!c.is_open(), "a stream with an answer under way is not used again");
}

/// The request line and the head of a `HEAD` of a manifest, asked at `base`.
async fn asked_at(base: impl FnOnce(Base) -> Base) -> String {
    let script = Script::play(vec![say("200 OK", "", "")]).await;
    let stream = tokio::net::TcpStream::connect(script.address).await.unwrap();
    let mut c = Conversation::begin(stream, base(script.url().into())).await.unwrap();
    let answer = c.send(&Ask::new(Method::HEAD, "/v2/a/manifests/1")).await.unwrap();
    assert_eq!(answer.place(), script.address.to_string());
    script.asked().remove(0)
}

#[tokio::test]
async fn a_mirror_is_asked_below_its_own_path_and_told_for_whom() {
    let head = asked_at(|base| Base {
        api: "/proxy/v2".into(),
        namespace: Some("docker.io:443".into()),
        headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/odd"))]),
        ..base
    })
    .await;
    assert!(head.starts_with("HEAD /proxy/v2/a/manifests/1?ns=docker.io%3A443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("accept: text/odd"), "{head}");
}

#[tokio::test]
async fn a_proxy_that_passes_on_is_told_the_whole_url_and_who_asks() {
    let refusal = Finding::new(proxy::failed(), "it wants a password");
    let shown = Proxied { authorization: Some(HeaderValue::from_static("Basic YTpi")), refusal };
    let head = asked_at(|base| Base { proxied: Some(shown), ..base }).await;
    assert!(head.starts_with("HEAD http://127.0.0.1:"), "{head}");
    assert!(head.contains("/v2/a/manifests/1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic YTpi"), "{head}");
}

#[tokio::test]
async fn elsewhere_tells_a_refused_port_from_a_silent_host() {
    let free = Script::play(vec![]).await.url();
    // Given up by the server's end; its port refuses until another takes it.
    tokio::task::yield_now().await;
    let stop = elsewhere().ask(Method::GET, free.clone(), Default::default(), None).await;
    let Err(Stop::Failed(finding, _)) = stop else { panic!("no failure") };
    assert_eq!(finding.cause, os::cause(&std::io::Error::from_raw_os_error(111)), "{}", finding.text);
    assert_eq!(finding.place, super::place(&free));

    let script = Script::play(vec![Act::Silence]).await;
    let patient = elsewhere_within(Duration::from_millis(300));
    let stop = patient.ask(Method::GET, script.url(), Default::default(), None).await;
    let Err(Stop::Failed(finding, _)) = stop else { panic!("no failure") };
    assert_eq!(finding.cause, http::no_answer_in_time(), "{}", finding.text);
}

#[tokio::test]
async fn an_answer_without_end_from_elsewhere_is_given_up_in_time() {
    let long = format!("x: {}\r\n", "y".repeat(1 << 21));
    let many = "x: y\r\n".repeat(1000);
    for act in [
        say("200 OK", &long, ""),
        say("200 OK", &many, ""),
        Act::Endless("HTTP/1.1 200 OK\r\nx: ".to_owned(), "yyyyyyyyyyyyyyyy"),
        Act::Endless("HTTP/1.1 200 OK\r\n".to_owned(), "x: y\r\n"),
    ] {
        let script = Script::play(vec![act]).await;
        let finding = trouble(&elsewhere(), script.url().as_str()).await;
        assert_eq!(finding.cause, http::not_a_registry(), "{}", finding.text);
    }
    // What comes before an answer is nowhere kept; only time ends it.
    let script = Script::play(vec![Act::Endless(String::new(), "HTTP/1.1 103 Early Hints\r\n\r\n")]).await;
    let finding = trouble(&elsewhere_within(Duration::from_millis(500)), script.url().as_str()).await;
    assert_eq!(finding.cause, http::no_answer_in_time(), "{}", finding.text);
}

#[tokio::test]
async fn a_body_without_end_from_elsewhere_is_cut() {
    for begin in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"] {
        let script = Script::play(vec![Act::Endless(begin.to_owned(), "0123456789abcdef")]).await;
        let answer = elsewhere().ask(Method::GET, script.url(), Default::default(), None).await.unwrap();
        assert_eq!((answer.body.len(), answer.is_whole()), (MAX_BODY, false));
    }
}

#[tokio::test]
async fn redirects_that_go_round_are_given_up() {
    let round = || say("302 Found", "Location: /again\r\n", "");
    let script = Script::play((0..20).map(|_| round()).collect()).await;
    let first = get(&script).await.unwrap();
    let trip = Trip { method: Method::GET, headers: Default::default(), authorization: None };
    let Err(Stop::Failed(finding, _)) = elsewhere().follow(first, &trip).await else { panic!("an end") };
    assert_eq!(finding.cause, http::not_a_registry());
    assert_eq!(script.lines().len(), 6);
}

#[tokio::test]
async fn a_secret_goes_only_where_it_came_from() {
    let other = Script::play(vec![say("200 OK", "", "")]).await;
    let there = format!("Location: http://{}/x?sig=1\r\n", other.address);
    let script = Script::play(vec![say("307 x", "Location: /here\r\n", ""), say("307 x", &there, "")]).await;
    let secret = ::http::HeaderValue::from_static("Bearer hunter22");
    let first = get(&script).await.unwrap();
    let trip = Trip { method: Method::HEAD, headers: Default::default(), authorization: Some(&secret) };
    let answer = elsewhere().follow(first, &trip).await.unwrap();
    assert_eq!(answer.place(), other.address.to_string());
    assert_eq!(script.lines()[1], "HEAD /here");
    assert!(script.asked()[1].contains("hunter22"));
    assert_eq!(other.lines(), ["HEAD /x?sig=1"]);
    assert!(!other.asked()[0].contains("hunter22"));
}

/// What is the matter with `https://auth.test/`, asked by this client.
async fn trouble(elsewhere: &Elsewhere, url: &str) -> Finding {
    let stop = elsewhere.ask(Method::GET, url.parse().unwrap(), Default::default(), None).await;
    let Err(Stop::Failed(finding, _)) = stop else { panic!("{stop:?}") };
    finding
}

/// A resolver that finds trouble, or nothing for ever.
struct Resolver(Option<Finding>);

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let found = self.0.clone();
        Box::pin(async move {
            match found {
                Some(finding) => Err(FindingError(finding).into()),
                None => std::future::pending().await,
            }
        })
    }
}

#[tokio::test]
async fn the_resolvers_own_finding_comes_through_reqwest() {
    let found = Finding::new(http::cut_short(), "no name server answered for auth.test").at("10.0.0.2");
    let resolver = Arc::new(Resolver(Some(found.clone())));
    let elsewhere = elsewhere_with(AGES, |builder| builder.dns_resolver(resolver));
    assert_eq!(trouble(&elsewhere, "https://auth.test/token?scope=x").await, found);
}

#[tokio::test]
async fn no_connection_in_time_is_not_a_slow_answer() {
    let resolver = Arc::new(Resolver(None));
    let elsewhere = elsewhere_with(Duration::from_millis(200), |builder| builder.dns_resolver(resolver));
    let finding = trouble(&elsewhere, "https://auth.test/token?sig=abc").await;
    assert_eq!(finding.cause, http::no_connection_in_time(), "{}", finding.text);
    assert_eq!(finding.place, "auth.test");
    assert!(!finding.text.contains("sig"), "{}", finding.text);
}

#[tokio::test]
async fn plain_http_where_tls_was_meant_is_told_in_rustls_words() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.0 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let finding = trouble(&elsewhere(), &format!("https://127.0.0.1:{port}/")).await;
    let expect = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    assert_eq!(finding.cause, crate::classify::tls::cause(&expect), "{}", finding.text);
    assert!(finding.text.ends_with(&expect.to_string()), "{}", finding.text);
}

#[test]
fn only_the_same_host_is_the_same_party_and_only_upwards() {
    let check = |home: &str, next: &str, expect: bool| {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert_eq!(is_same_party(&url(home), &url(next)), expect, "{home} {next}");
    };
    check("https://reg.test/", "https://reg.test:443/x", true);
    check("http://reg.test/", "https://reg.test/", true);
    check("https://reg.test/", "http://reg.test/", false);
    check("https://reg.test/", "https://reg.test:8443/", false);
    check("https://reg.test/", "https://auth.reg.test/", false);
    check("https://reg.test/", "https://reg.test.evil.test/", false);
}

#[tokio::test]
async fn an_address_that_is_guarded_is_not_asked_and_blames_nobody() {
    let script = Script::play(vec![say("200 OK", "", "secrets of this node")]).await;
    let guarded = elsewhere().guarded(Arc::new(|ip| ip.is_loopback().then(|| "local".to_owned())));
    let asked = guarded.ask(Method::GET, script.url(), HeaderMap::new(), None).await;
    let Err(Stop::Undecided(why, _)) = asked else { panic!("{asked:?}") };
    assert_eq!((why.as_str(), script.lines()), ("local", vec![]));
    let redirect = "Location: http://169.254.169.254/latest/\r\n";
    let script = Script::play(vec![say("307 Temporary Redirect", redirect, "")]).await;
    let guarded = elsewhere().guarded(Arc::new(|ip| (!ip.is_loopback()).then(|| format!("{ip}"))));
    let first = guarded.ask(Method::GET, script.url(), HeaderMap::new(), None).await.unwrap();
    let trip = Trip { method: Method::GET, headers: HeaderMap::new(), authorization: None };
    let Err(Stop::Undecided(why, _)) = guarded.follow(first, &trip).await else { panic!("it was followed") };
    assert_eq!(why, "169.254.169.254");
}
