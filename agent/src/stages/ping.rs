//! Stage ping: `GET /v2/`. Is this a registry at all, and does it want to know who asks?

use std::time::{Duration, SystemTime};

use http::header::{DATE, WWW_AUTHENTICATE};
use http::{HeaderMap, Method};
use tokio::time::timeout;

use super::auth::Challenge;
use super::http::{Answer, Ask, Conversation, Elsewhere, Refused, Trip, is_same_party};
use super::{Checked, Pass, Seen, Stop, manifest};
use crate::classify::http::{self as classify, Asked};
use crate::classify::tls::CLIENT_CERTIFICATE_HINT;
use crate::model::Finding;

/// The header by which a registry names itself.
const API_VERSION: &str = "docker-distribution-api-version";

/// What `/v2/` told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ping {
    /// How the registry wants to be told who asks; empty where it does not ask.
    pub challenges: Vec<Challenge>,
    /// The registry's clock, to the second.
    pub date: Option<SystemTime>,
}

/// What the answer to `/v2/` decides. containerd itself asks for no such path.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'a> {
    /// Whether this is a registry: nothing else is asked.
    All,
    /// Whether this is a registry, unless it serves this repository's tag or digest all the same.
    Unless(&'a str, &'a str),
    /// Nothing: a mirror's API may stand anywhere, and its manifest is asked for next.
    Nothing,
}

/// Asks for `/v2/`, whose answer is to be a registry's as far as it has `weight`. What else is asked takes no more than
/// half of `limit`.
///
/// # Errors
/// The stream's, or what the answer says: not a registry, unavailable, rate limited, denied.
pub async fn ping(
    c: &mut Conversation,
    elsewhere: &Elsewhere,
    weight: Weight<'_>,
    limit: Duration,
) -> Checked<Ping> {
    let stop = match ask(c, elsewhere).await {
        Ok(pass) => return Ok(pass),
        Err(stop) => stop,
    };
    let Refusal { stop, answer, is_final } = stop;
    let Stop::Failed(finding, _) = &stop else { return Err(stop) };
    let is_served = match weight {
        _ if is_final => false,
        Weight::All => false,
        Weight::Nothing => answer.is_some(),
        Weight::Unless(repository, target) => {
            let served = manifest::is_served(c, elsewhere, (repository, target), finding);
            timeout(limit / 2, served).await.unwrap_or(false)
        }
    };
    if !is_served {
        return Err(stop);
    }
    let (said, date) = answer.unwrap_or_else(|| (finding.text.clone(), None));
    let ping = Ping { challenges: Vec::new(), date };
    // A mirror that need not have such a path is no warning; a registry that is overloaded is one.
    let is_told = matches!(weight, Weight::Unless(..)) && classify::comes_and_goes(finding.cause);
    let warning = is_told.then(|| {
        let text = format!("{}; containerd does not ask this, and the manifest is served", finding.text);
        Finding { text: Finding::new(finding.cause, text).text, ..finding.clone() }
    });
    Ok(Pass::new(ping, Seen::detail(format!("{said}; containerd does not ask this"))).warn(warning))
}

/// Why `/v2/` does not pass.
struct Refusal {
    stop: Stop,
    /// The answer's status and the registry's clock, if it was an answer.
    answer: Option<(String, Option<SystemTime>)>,
    /// Whether nothing else that is asked can fare better.
    is_final: bool,
}

/// Asks for `/v2/`.
async fn ask(c: &mut Conversation, elsewhere: &Elsewhere) -> Result<Pass<Ping>, Refusal> {
    let lost = |stop| Refusal { stop, answer: None, is_final: false };
    let first = c.send(&Ask::new(Method::GET, "/v2/")).await.map_err(lost)?;
    let date = first.header(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
    let trip = Trip { method: Method::GET, headers: HeaderMap::new(), authorization: None };
    let answer = elsewhere.follow(first, &trip).await.map_err(lost)?;
    let moved = answer.url.origin() != c.home().origin();
    let mut detail = answer.status_line();
    if moved {
        detail = format!("redirected to {}: {detail}", answer.place());
    }
    let challenges = challenges(&answer).map_err(|stop| Refusal {
        stop,
        answer: Some((detail.clone(), date)),
        is_final: demands_certificate(&answer),
    })?;
    // Another host's challenge is answered when a manifest leads there, and not with this registry's credentials.
    let challenges = if is_same_party(c.home(), &answer.url) { challenges } else { Vec::new() };
    Ok(Pass::new(Ping { challenges, date }, Seen::detail(detail)))
}

/// The challenges of an answer that a registry would give.
fn challenges(answer: &Answer) -> Result<Vec<Challenge>, Stop> {
    let says_so = answer.headers.contains_key(API_VERSION);
    let refused = Refused { answer, doing: "GET /v2/", asked: Asked::Ping, credentials: false, secrets: &[] };
    match answer.status.as_u16() {
        200 if classify::looks_like_html(&answer.body) && !says_so => Err(page(answer)),
        200 => Ok(Vec::new()),
        401 if answer.headers.contains_key(WWW_AUTHENTICATE) => Ok(Challenge::read(&answer.headers)),
        // Registries that serve no /v2/ itself, though all below it.
        404 if says_so => Ok(Vec::new()),
        401 if classify::looks_like_html(&answer.body) => Err(page(answer)),
        _ if demands_certificate(answer) => Err(refused.finding().hint(CLIENT_CERTIFICATE_HINT).into()),
        _ => Err(refused.stop()),
    }
}

/// Whether nobody is let in without a client certificate, whatever is asked for. It is told here because an answer to
/// HEAD has no words.
fn demands_certificate(answer: &Answer) -> bool {
    answer.status == http::StatusCode::BAD_REQUEST
        && classify::demands_certificate(&answer.words(&[]).message)
}

/// A web page in a registry's place.
fn page(answer: &Answer) -> Stop {
    let place = answer.place();
    let text = format!(
        "{place} answered GET /v2/ with {} and a web page{}",
        answer.status_line(),
        answer.words(&[]).tail()
    );
    Finding::new(classify::not_a_registry(), text).at(place).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::http::script::{Act, Script, elsewhere, head, say};

    const LIMIT: Duration = Duration::from_secs(5);
    const BEARER: &str = "WWW-Authenticate: Bearer realm=\"http://{me}/token\",service=\"s\"\r\n";
    const REGISTRY: &str = "Docker-Distribution-Api-Version: registry/2.0\r\n";
    const PAGE: &str = "<!DOCTYPE html><html><head><title>Please sign in</title></head></html>";

    async fn play(acts: Vec<Act>) -> Checked<Ping> {
        let script = Script::play(acts).await;
        let mut c = script.conversation().await;
        ping(&mut c, &elsewhere(), Weight::All, LIMIT).await
    }

    async fn check_failure(act: Act, label: &str) -> Finding {
        match play(vec![act]).await {
            Err(Stop::Failed(finding, _)) => {
                assert_eq!(finding.cause.label(), label, "{}", finding.text);
                assert!(finding.place.starts_with("127.0.0.1:"), "{}", finding.place);
                finding
            }
            other => panic!("{label}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn an_open_registry_passes_and_tells_the_time() {
        let date = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\n";
        let pass = play(vec![say("200 OK", &format!("{date}{REGISTRY}"), "{}")]).await.unwrap();
        assert_eq!(pass.product.challenges, []);
        let date = pass.product.date.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(date.as_secs(), 1_795_348_800);
    }

    #[tokio::test]
    async fn a_mirror_that_demands_a_client_certificate_serves_nothing_else_either() {
        let page = "<html><head><title>400 No required SSL certificate was sent</title></head></html>";
        let script = Script::play(vec![say("400 Bad Request", "", page)]).await;
        let mut c = script.conversation().await;
        match ping(&mut c, &elsewhere(), Weight::Nothing, LIMIT).await {
            Err(Stop::Failed(finding, _)) => {
                assert_eq!(finding.cause.label(), "credentials_missing");
                assert_eq!(finding.hint.as_deref(), Some(CLIENT_CERTIFICATE_HINT));
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_a_mirror_says_to_a_path_that_containerd_does_not_ask_for_decides_nothing() {
        let script = Script::play(vec![say("404 Not Found", "", "no such proxy")]).await;
        let mut c = script.conversation().await;
        let pass = ping(&mut c, &elsewhere(), Weight::Nothing, LIMIT).await.unwrap();
        assert_eq!((pass.product.challenges, pass.warning), (vec![], None));
        assert_eq!(pass.seen.detail, "404 Not Found; containerd does not ask this");
    }

    async fn play_with_image(acts: Vec<Act>) -> Checked<Ping> {
        let script = Script::play(acts).await;
        let mut c = script.conversation().await;
        ping(&mut c, &elsewhere(), Weight::Unless("lib/app", "1.0"), LIMIT).await
    }

    fn manifest() -> Act {
        let digest = "0".repeat(64);
        let headers = format!(
            "Content-Type: application/vnd.oci.image.manifest.v1+json\r\nDocker-Content-Digest: sha256:{digest}\r\n"
        );
        head("200 OK", &headers)
    }

    #[tokio::test]
    async fn a_registry_whose_manifests_are_served_passes_whatever_it_says_to_v2() {
        for (act, warns) in [
            (say("404 Not Found", "", ""), false),
            (say("403 Forbidden", "", ""), false),
            (say("200 OK", "Content-Type: text/html\r\n", PAGE), false),
            (say("503 Service Unavailable", "", ""), true),
            (say("429 Too Many Requests", "", ""), true),
        ] {
            let pass = play_with_image(vec![act, manifest()]).await.unwrap();
            assert!(pass.seen.detail.ends_with("; containerd does not ask this"), "{}", pass.seen.detail);
            assert_eq!(pass.warning.is_some(), warns, "{}", pass.seen.detail);
        }
    }

    #[tokio::test]
    async fn a_registry_that_asks_who_we_are_only_below_v2_passes() {
        let acts = vec![say("500 Internal Server Error", "", ""), head("401 Unauthorized", BEARER)];
        assert!(play_with_image(acts).await.is_ok());
    }

    #[tokio::test]
    async fn what_refuses_the_manifest_likewise_is_told_here() {
        let twice = |status: &str| vec![say(status, "", ""), head(status, "")];
        for (acts, label) in [
            (twice("503 Service Unavailable"), "unavailable"),
            (
                vec![say("404 Not Found", "", ""), head("404 Not Found", ""), say("404 Not Found", "", PAGE)],
                "not_a_registry",
            ),
        ] {
            match play_with_image(acts).await {
                Err(Stop::Failed(finding, _)) => assert_eq!(finding.cause.label(), label),
                other => panic!("{label}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_registrys_own_word_for_a_missing_manifest_is_the_manifests_to_tell() {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let acts =
            vec![say("404 Not Found", "", ""), head("404 Not Found", ""), say("404 Not Found", "", body)];
        assert!(play_with_image(acts).await.is_ok());
    }

    #[tokio::test]
    async fn a_challenge_is_as_well_as_an_open_door() {
        let pass = play(vec![say("401 Unauthorized", BEARER, "{}")]).await.unwrap();
        assert_eq!(pass.product.challenges.len(), 1);
        assert_eq!(pass.product.challenges[0].scheme, "bearer");
        assert_eq!(pass.product.date, None);
    }

    #[tokio::test]
    async fn every_other_status_has_its_cause() {
        for (status, label) in [
            ("401 Unauthorized", "credentials_missing"),
            ("402 Payment Required", "quota_exceeded"),
            ("403 Forbidden", "access_denied"),
            ("404 Not Found", "not_a_registry"),
            ("405 Method Not Allowed", "not_a_registry"),
            ("407 Proxy Authentication Required", "proxy_failed"),
            ("204 No Content", "not_a_registry"),
            ("302 Found", "not_a_registry"),
            ("429 Too Many Requests", "rate_limited"),
            ("500 Internal Server Error", "unavailable"),
            ("502 Bad Gateway", "unavailable"),
            ("503 Service Unavailable", "unavailable"),
            ("504 Gateway Timeout", "unavailable"),
        ] {
            check_failure(say(status, "", ""), label).await;
        }
    }

    #[tokio::test]
    async fn a_web_page_is_not_a_registry_and_its_title_is_told() {
        let html = "Content-Type: text/html\r\n";
        let found = check_failure(say("200 OK", html, PAGE), "not_a_registry").await;
        assert!(found.text.ends_with("and a web page: Please sign in"), "{}", found.text);
        check_failure(say("401 Unauthorized", html, PAGE), "not_a_registry").await;
    }

    #[tokio::test]
    async fn quays_true_as_html_is_a_registry() {
        play(vec![say("200 OK", "Content-Type: text/html\r\n", "true")]).await.unwrap();
    }

    #[tokio::test]
    async fn a_404_that_calls_itself_a_registry_is_one() {
        play(vec![say("404 Not Found", REGISTRY, "{}")]).await.unwrap();
    }

    #[tokio::test]
    async fn plain_http_on_a_tls_port_is_no_common_tls() {
        let body = "Client sent an HTTP request to an HTTPS server.\n";
        check_failure(say("400 Bad Request", "", body), "tls_protocol").await;
    }

    #[tokio::test]
    async fn a_redirect_to_a_registry_passes_without_that_hosts_challenge() {
        let other = Script::play(vec![say("401 Unauthorized", BEARER, "")]).await;
        // Another name for the same loopback: another host to HTTP.
        let there = format!("Location: http://localhost:{}/v2/\r\n", other.address.port());
        let pass = play(vec![say("307 Temporary Redirect", &there, "")]).await;
        let Ok(pass) = pass else { panic!("{pass:?}") };
        assert_eq!(pass.product.challenges, []);
        assert!(pass.seen.detail.starts_with("redirected to localhost:"), "{}", pass.seen.detail);
    }

    #[tokio::test]
    async fn a_redirect_to_a_login_page_is_not_a_registry_there() {
        let found = play(vec![
            say("302 Found", "Location: /login?next=1\r\n", ""),
            say("200 OK", "Content-Type: text/html\r\n", PAGE),
        ])
        .await;
        let Err(Stop::Failed(found, _)) = found else { panic!("passed") };
        assert_eq!(found.cause, classify::not_a_registry());
    }

    #[tokio::test]
    async fn the_registrys_words_are_told() {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 880µs, allowed: 44000/minute"}]}"#;
        let found =
            check_failure(say("429 Too Many Requests", "Retry-After: 7\r\n", body), "rate_limited").await;
        assert!(found.text.contains("allowed: 44000/minute"), "{}", found.text);
        assert!(found.hint.unwrap().contains("in 7 s"));
    }
}
