use http::HeaderValue;

use super::{Looked, Manifest, SCHEMA_1, head};
use crate::model::{Fact, Finding, Quota};
use crate::stages::auth::Authorization;
use crate::stages::http::script::{Act, Script, elsewhere, head as say_head, say};
use crate::stages::{Checked, Pass, Seen, Stop};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OCI: &str = "Content-Type: application/vnd.oci.image.index.v1+json\r\n";

fn found() -> String {
    format!("{OCI}Docker-Content-Digest: {DIGEST}\r\n")
}

fn token(credentials: bool) -> Authorization {
    Authorization::Bearer { value: HeaderValue::from_static("Bearer hunter22"), credentials }
}

async fn ask(script: &Script, authorization: &Authorization) -> Checked<Looked> {
    let mut c = script.conversation().await;
    head(&mut c, &elsewhere(), "lib/app", "1.0", authorization).await
}

async fn play(acts: Vec<Act>, authorization: &Authorization) -> (Checked<Looked>, Script) {
    let script = Script::play(acts).await;
    (ask(&script, authorization).await, script)
}

fn manifest(checked: Checked<Looked>) -> (Manifest, Option<Finding>) {
    match checked {
        Ok(Pass { product: Looked::Found(manifest), warning, .. }) => (manifest, warning),
        other => panic!("{other:?}"),
    }
}

async fn check_failure(
    acts: Vec<Act>,
    authorization: &Authorization,
    label: &str,
) -> (Finding, Seen, Script) {
    match play(acts, authorization).await {
        (Err(Stop::Failed(finding, seen)), script) => {
            assert_eq!(finding.cause.label(), label, "{}", finding.text);
            assert!(!format!("{finding:?}{seen:?}").contains("hunter22"));
            (finding, seen, script)
        }
        (other, _) => panic!("{label}: {other:?}"),
    }
}

#[tokio::test]
async fn one_head_with_containerds_types_finds_the_manifest() {
    let (checked, script) = play(vec![say_head("200 OK", &found())], &token(false)).await;
    let (manifest, warning) = manifest(checked);
    assert_eq!(manifest.digest.as_deref(), Some(DIGEST));
    assert_eq!(manifest.media_type, "application/vnd.oci.image.index.v1+json");
    assert_eq!(warning, None);
    assert_eq!(script.lines(), ["HEAD /v2/lib/app/manifests/1.0"]);
    let asked = script.asked()[0].clone();
    assert!(asked.contains("Bearer hunter22"), "{asked}");
    assert!(
        asked.contains(
            "accept: application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json, \
             application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*\r\n"
        ),
        "{asked}"
    );
}

#[tokio::test]
async fn get_only_where_head_is_not_allowed() {
    let acts = vec![say_head("405 Method Not Allowed", ""), say("200 OK", &found(), "{}")];
    let (checked, script) = play(acts, &token(false)).await;
    manifest(checked);
    assert_eq!(script.lines(), ["HEAD /v2/lib/app/manifests/1.0", "GET /v2/lib/app/manifests/1.0"]);
    let (.., script) =
        check_failure(vec![say_head("501 Not Implemented", "")], &token(false), "unavailable").await;
    assert_eq!(script.lines().len(), 1);
}

#[tokio::test]
async fn what_is_missing_is_told_by_one_get() {
    for (code, label) in
        [("NAME_UNKNOWN", "repository_not_found"), ("MANIFEST_UNKNOWN", "manifest_not_found")]
    {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"gone"}}]}}"#);
        let acts = vec![say_head("404 Not Found", ""), say("404 Not Found", "", &body)];
        let (finding, _, script) = check_failure(acts, &token(false), label).await;
        assert!(finding.text.ends_with(&format!(": {code}: gone")), "{}", finding.text);
        assert_eq!(script.lines().len(), 2);
    }
    let acts = vec![say_head("404 Not Found", ""), Act::Close, Act::Close];
    check_failure(acts, &token(false), "manifest_not_found").await;
}

#[tokio::test]
async fn every_other_status_has_its_cause() {
    for (status, credentials, label) in [
        ("401 Unauthorized", false, "credentials_missing"),
        ("401 Unauthorized", true, "credentials_rejected"),
        ("403 Forbidden", false, "access_denied"),
        ("403 Forbidden", true, "access_denied"),
        ("402 Payment Required", true, "quota_exceeded"),
        ("429 Too Many Requests", true, "rate_limited"),
        ("451 Unavailable For Legal Reasons", false, "access_denied"),
        ("500 Internal Server Error", true, "unavailable"),
        ("503 Service Unavailable", false, "unavailable"),
        ("418 I'm a teapot", false, "unknown"),
        ("302 Found", false, "not_a_registry"),
    ] {
        // These are asked for their words as well, which a HEAD has none of.
        let asked = if status.starts_with("403") || status.starts_with("429") { 2 } else { 1 };
        let acts = vec![say_head(status, ""), say(status, "", "")];
        let (_, _, script) = check_failure(acts, &token(credentials), label).await;
        assert_eq!(script.lines().len(), asked, "{status}");
    }
}

#[tokio::test]
async fn a_refusal_of_a_head_is_read_by_a_get() {
    let json =
        |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    for (status, body, label) in [
        ("403 Forbidden", json("DENIED", "the authorization token has expired"), "credentials_rejected"),
        ("403 Forbidden", json("DENIED", "the egress quota is exceeded"), "quota_exceeded"),
        ("429 Too Many Requests", json("TOOMANYREQUESTS", "the monthly plan is used up"), "quota_exceeded"),
    ] {
        let acts = vec![say_head(status, ""), say(status, "", &body)];
        check_failure(acts, &token(true), label).await;
    }
    let acts = vec![say_head("403 Forbidden", ""), say("200 OK", &found(), "{}")];
    let (finding, ..) = check_failure(acts, &token(true), "access_denied").await;
    assert!(finding.text.ends_with("a GET is answered with 200 OK"), "{}", finding.text);
}

#[tokio::test]
async fn a_token_without_the_scope_does_not_tell_private_from_absent() {
    let challenge = "WWW-Authenticate: Bearer realm=\"http://x/t\",error=\"insufficient_scope\"\r\n";
    let acts = vec![say_head("401 Unauthorized", challenge)];
    let (finding, ..) = check_failure(acts, &token(false), "denied_or_absent").await;
    assert!(finding.text.ends_with(": insufficient_scope"), "{}", finding.text);
}

#[tokio::test]
async fn a_registry_that_asks_only_here_is_answered_by_the_walk() {
    let challenge = "WWW-Authenticate: Basic realm=\"x\"\r\n";
    let (checked, _) = play(vec![say_head("401 Unauthorized", challenge)], &Authorization::None).await;
    let Ok(Pass { product: Looked::Challenged(challenges), .. }) = checked else { panic!("{checked:?}") };
    assert_eq!(challenges[0].scheme, "basic");
    check_failure(vec![say_head("401 Unauthorized", "")], &Authorization::None, "credentials_missing").await;
}

#[tokio::test]
async fn a_rate_limit_brings_its_numbers_along() {
    let limit = "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 0;w=21600\r\nRetry-After: 60\r\n";
    let acts = vec![say_head("429 Too Many Requests", limit)];
    let (finding, seen, _) = check_failure(acts, &token(false), "rate_limited").await;
    assert!(finding.hint.unwrap().contains("in 60 s"));
    let Some(Fact::Quota(Quota { remaining: Some(0), limit: Some(100), .. })) = seen.fact else {
        panic!("{:?}", seen.fact);
    };
}

#[tokio::test]
async fn what_cannot_be_pulled_is_told_though_it_is_there() {
    let digest = format!("Docker-Content-Digest: {DIGEST}\r\n");
    let page = "Content-Type: text/html; charset=utf-8\r\n".to_owned();
    check_failure(vec![say_head("200 OK", &page)], &token(false), "not_a_registry").await;
    let bad = format!("{OCI}Docker-Content-Digest: sha256:xyz\r\n");
    check_failure(vec![say_head("200 OK", &bad)], &token(false), "content_invalid").await;
    let headers = |kind: &str| format!("Content-Type: {kind}\r\n{digest}");
    for kind in ["text/plain", "application/octet-stream", ""] {
        check_failure(vec![say_head("200 OK", &headers(kind))], &token(false), "unsupported_manifest").await;
    }
    let (checked, _) = play(vec![say_head("200 OK", &headers(SCHEMA_1))], &token(false)).await;
    assert_eq!(manifest(checked).1.unwrap().cause.label(), "unsupported_manifest");
    let nothing = vec![say_head("200 OK", ""), say("200 OK", "", "")];
    check_failure(nothing, &token(false), "not_a_registry").await;
}

#[tokio::test]
async fn a_page_that_is_not_called_one_is_read() {
    let acts = || {
        let page = "<!DOCTYPE html><title>Please sign in</title>";
        vec![say_head("200 OK", "Content-Type: text/plain\r\n"), say("200 OK", "", page)]
    };
    let (finding, _, script) = check_failure(acts(), &token(false), "not_a_registry").await;
    assert!(finding.is_taken, "containerd takes it for the manifest");
    assert_eq!(script.lines(), ["HEAD /v2/lib/app/manifests/1.0", "GET /v2/lib/app/manifests/1.0"]);
}

#[tokio::test]
async fn a_missing_digest_is_no_fault() {
    let (checked, _) = play(vec![say_head("200 OK", OCI)], &token(false)).await;
    let (manifest, warning) = manifest(checked);
    assert_eq!((manifest.digest, warning), (None, None));
}

#[tokio::test]
async fn a_redirect_to_another_host_is_followed_without_the_token() {
    let other = Script::play(vec![say_head("200 OK", &found())]).await;
    let there = format!("Location: http://{}/v2/p/lib/app/manifests/1.0?rid=1\r\n", other.address);
    let (checked, _) = play(vec![say_head("307 Temporary Redirect", &there)], &token(true)).await;
    manifest(checked);
    assert_eq!(other.lines(), ["HEAD /v2/p/lib/app/manifests/1.0?rid=1"]);
    let asked = other.asked()[0].clone();
    assert!(!asked.contains("hunter22"), "{asked}");
    assert!(asked.contains("application/vnd.oci.image.index.v1+json"), "{asked}");
}

#[tokio::test]
async fn the_host_that_failed_is_the_place() {
    let other = Script::play(vec![say_head("403 Forbidden", "")]).await;
    let there = format!("Location: http://{}/x\r\n", other.address);
    let acts = vec![say_head("307 Temporary Redirect", &there)];
    let (finding, ..) = check_failure(acts, &token(true), "access_denied").await;
    assert_eq!(finding.place, other.address.to_string());
}

#[tokio::test]
async fn another_hosts_challenge_is_answered_by_an_anonymous_token() {
    let challenge = "WWW-Authenticate: Bearer realm=\"http://{me}/token\",service=\"s\"\r\n";
    let other = Script::play(vec![
        say_head("401 Unauthorized", challenge),
        say("200 OK", "", r#"{"token":"other-token"}"#),
        say_head("200 OK", &found()),
    ])
    .await;
    let there = format!("Location: http://{}/v2/a/manifests/1.0\r\n", other.address);
    let (checked, script) = play(vec![say_head("302 Found", &there)], &token(true)).await;
    manifest(checked);
    assert_eq!(other.lines()[1], "GET /token?service=s&scope=repository%3Alib%2Fapp%3Apull");
    assert!(other.asked()[2].contains("Bearer other-token"));
    assert!(other.asked().iter().all(|asked| !asked.contains("hunter22")));
    assert_eq!(script.lines().len(), 1);
}
