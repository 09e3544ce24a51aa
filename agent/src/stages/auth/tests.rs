use std::time::{Duration, SystemTime};

use http::HeaderMap;

use super::{Authorization, Challenge, Granted, Memory, Who, authorize};
use crate::classify::os;
use crate::containerd::credentials::{Candidates, Credentials, Secret, Source, Sourced};
use crate::model::{Finding, Moment};
use crate::stages::http::script::{Act, Script, elsewhere, elsewhere_within, say};
use crate::stages::http::{Conversation, Elsewhere, Url};
use crate::stages::{Checked, Stop};

mod candidates;

const PASSWORD: &str = "hunter22&co";
/// `alice:hunter22&co`.
const BASIC: &str = "YWxpY2U6aHVudGVyMjImY28=";
const TOKEN: &str = r#"{"access_token":"the-token","expires_in":300}"#;

fn alice() -> Credentials {
    Credentials::Password { username: "alice".to_owned(), password: Secret::new(PASSWORD) }
}

fn from_config(credentials: &Credentials, key: &str) -> Sourced {
    Sourced { credentials: credentials.clone(), source: Source::DockerConfig(key.to_owned()) }
}

fn candidates(list: Vec<Sourced>) -> Candidates {
    Candidates { list, ..Candidates::default() }
}

fn all_of(credentials: Option<&Credentials>) -> Candidates {
    candidates(credentials.map(|credentials| from_config(credentials, "reg.test")).into_iter().collect())
}

fn at(since_start: Duration) -> Moment {
    Moment { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_348_800), since_start }
}

fn challenges(fields: &[&str]) -> Vec<Challenge> {
    let fields = fields.iter().map(|field| (http::header::WWW_AUTHENTICATE, field.parse().unwrap()));
    let mut headers = HeaderMap::new();
    fields.for_each(|(name, value)| {
        headers.append(name, value);
    });
    Challenge::read(&headers)
}

fn bearer(script: &Script) -> Vec<Challenge> {
    challenges(&[&format!("Bearer realm=\"http://{}/token\",service=\"reg\"", script.address)])
}

async fn answer(
    script: &Script,
    challenges: &[Challenge],
    credentials: Option<&Credentials>,
    elsewhere: &Elsewhere,
) -> Checked<Granted> {
    ask(script, challenges, &all_of(credentials), &mut Memory::default(), elsewhere).await
}

async fn ask(
    script: &Script,
    challenges: &[Challenge],
    candidates: &Candidates,
    memory: &mut Memory,
    elsewhere: &Elsewhere,
) -> Checked<Granted> {
    let mut c = script.conversation().await;
    let who = Who { candidates, from: 0, repository: Some("lib/app") };
    authorize(&mut c, challenges, who, elsewhere, memory, at(Duration::ZERO)).await
}

/// Plays a registry that is its own token service.
async fn play(acts: Vec<Act>, credentials: Option<&Credentials>) -> (Checked<Granted>, Script) {
    let script = Script::play(acts).await;
    let checked = answer(&script, &bearer(&script), credentials, &elsewhere()).await;
    let shown = format!("{checked:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains(BASIC) && !shown.contains("the-token"), "{shown}");
    (checked, script)
}

fn failure(checked: Checked<Granted>, label: &str) -> Finding {
    match checked {
        Err(Stop::Failed(finding, _)) if finding.cause.label() == label => finding,
        other => panic!("{label}: {other:?}"),
    }
}

async fn check_failure(acts: Vec<Act>, credentials: Option<&Credentials>, label: &str) -> Finding {
    let (checked, script) = play(acts, credentials).await;
    let finding = failure(checked, label);
    assert_eq!(finding.place, script.address.to_string(), "{}", finding.text);
    finding
}

fn value(checked: Checked<Granted>) -> String {
    checked.unwrap().product.authorization.value().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_not_asked_sends_nothing() {
    let script = Script::play(vec![]).await;
    let pass = answer(&script, &[], Some(&alice()), &elsewhere()).await.unwrap();
    assert_eq!(pass.product, Granted { authorization: Authorization::None, by: None });
    assert!(script.lines().is_empty());
}

#[tokio::test]
async fn an_anonymous_token_is_got_by_get() {
    let (checked, script) = play(vec![say("200 OK", "", r#"{"token":"the-token"}"#)], None).await;
    assert_eq!(script.lines(), ["GET /token?service=reg&scope=repository%3Alib%2Fapp%3Apull"]);
    assert!(!script.asked()[0].to_lowercase().contains("authorization"));
    assert!(!checked.as_ref().unwrap().product.authorization.has_credentials());
    assert_eq!(checked.as_ref().unwrap().warning, None);
    assert_eq!(value(checked), "Bearer the-token");
}

#[tokio::test]
async fn a_token_by_password_is_got_by_post_as_containerd_asks() {
    let (checked, script) = play(vec![say("200 OK", "", TOKEN)], Some(&alice())).await;
    let asked = script.asked()[0].clone();
    assert!(asked.starts_with("POST /token HTTP/1.1"), "{asked}");
    for part in [
        "grant_type=password",
        "service=reg",
        "client_id=containerd-client",
        "scope=repository%3Alib%2Fapp%3Apull",
        "username=alice",
        "password=hunter22%26co",
    ] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(checked.unwrap().product.authorization.has_credentials());
}

#[tokio::test]
async fn an_identity_token_is_posted_as_a_refresh_token() {
    let credentials = Credentials::IdentityToken(Secret::new("id-token"));
    let (checked, script) = play(vec![say("200 OK", "", TOKEN)], Some(&credentials)).await;
    let asked = script.asked()[0].clone();
    assert!(asked.contains("grant_type=refresh_token&refresh_token=id-token"), "{asked}");
    assert_eq!(value(checked), "Bearer the-token");
}

#[tokio::test]
async fn where_post_is_not_understood_get_with_basic_follows() {
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "405 Method Not Allowed"] {
        let (checked, script) =
            play(vec![say(status, "", ""), say("200 OK", "", TOKEN)], Some(&alice())).await;
        assert_eq!(value(checked), "Bearer the-token", "{status}");
        assert_eq!(script.lines()[1], "GET /token?service=reg&scope=repository%3Alib%2Fapp%3Apull");
        assert!(script.asked()[1].contains(BASIC), "{status}");
    }
    for status in ["403 Forbidden", "500 Internal Server Error", "429 Too Many Requests"] {
        let (_, script) = play(vec![say(status, "", "")], Some(&alice())).await;
        assert_eq!(script.lines().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_token_services_refusals_have_their_causes() {
    for (status, anonymous, with) in [
        ("401 Unauthorized", "credentials_missing", "credentials_rejected"),
        ("403 Forbidden", "credentials_missing", "credentials_rejected"),
        ("429 Too Many Requests", "rate_limited", "rate_limited"),
        ("500 Internal Server Error", "unavailable", "unavailable"),
        ("503 Service Unavailable", "unavailable", "unavailable"),
        ("404 Not Found", "not_a_registry", "not_a_registry"),
    ] {
        check_failure(vec![say(status, "", "")], None, anonymous).await;
        check_failure(vec![say(status, "", ""), say(status, "", "")], Some(&alice()), with).await;
    }
}

#[tokio::test]
async fn the_token_services_own_words_are_told_and_no_secret_with_them() {
    let body = format!(r#"{{"details":"incorrect password {PASSWORD} / {BASIC}"}}"#);
    let act = || say("401 Unauthorized", "", &body);
    let finding = check_failure(vec![act(), act()], Some(&alice()), "credentials_rejected").await;
    assert!(finding.text.contains("incorrect password (secret) / (secret)"), "{}", finding.text);
}

#[tokio::test]
async fn what_is_no_token_is_told() {
    let page = "<html><title>Portal</title></html>";
    check_failure(vec![say("200 OK", "", page)], None, "not_a_registry").await;
    check_failure(vec![say("200 OK", "", "{\"token\":7}")], None, "not_a_registry").await;
    check_failure(vec![say("200 OK", "", "{}")], None, "unavailable").await;
    check_failure(vec![say("200 OK", "", r#"{"token":""}"#)], None, "unavailable").await;
    check_failure(vec![say("200 OK", "", r#"{"token":"a\nb"}"#)], None, "unavailable").await;
    // OAuth2's answer to a POST has no `token`.
    check_failure(vec![say("200 OK", "", r#"{"token":"x"}"#)], Some(&alice()), "unavailable").await;
    let endless = Act::Endless("HTTP/1.1 200 OK\r\n\r\n".to_owned(), "[[[[[[[[[[[[[[[[");
    check_failure(vec![endless], None, "unavailable").await;
    check_failure(vec![Act::Close], None, "connection_reset").await;
}

#[tokio::test]
async fn a_token_host_that_is_down_is_the_place() {
    let script = Script::play(vec![]).await;
    let gone = Script::play(vec![]).await;
    let (challenges, place) = (bearer(&gone), gone.address.to_string());
    drop(gone);
    tokio::task::yield_now().await;
    let Err(Stop::Failed(finding, _)) = answer(&script, &challenges, None, &elsewhere()).await else {
        panic!("passed");
    };
    assert_eq!(finding.cause, os::cause(&std::io::Error::from_raw_os_error(111)), "{}", finding.text);
    assert_eq!(finding.place, place);
}

#[tokio::test]
async fn a_silent_token_host_is_too_slow() {
    let script = Script::play(vec![Act::Silence]).await;
    let patient = elsewhere_within(Duration::from_millis(300));
    failure(answer(&script, &bearer(&script), None, &patient).await, "transfer_timeout");
}

#[tokio::test]
async fn a_realm_that_is_none_is_not_a_registry() {
    let script = Script::play(vec![]).await;
    for field in ["Bearer", "Bearer realm=\"/token\"", "Bearer realm=\"ftp://x/\"", "Bearer realm=\"\u{1}\""]
    {
        let Ok(value) = field.parse::<http::HeaderValue>() else { continue };
        let challenges = challenges(&[value.to_str().unwrap()]);
        let finding = failure(answer(&script, &challenges, None, &elsewhere()).await, "not_a_registry");
        assert_eq!(finding.place, script.address.to_string());
    }
}

#[tokio::test]
async fn credentials_do_not_leave_tls() {
    let script = Script::play(vec![say("200 OK", "", TOKEN)]).await;
    let stream = tokio::net::TcpStream::connect(script.address).await.unwrap();
    let mut c = Conversation::begin(stream, Url::parse("https://reg.test").unwrap()).await.unwrap();
    let candidates = all_of(Some(&alice()));
    let who = Who { candidates: &candidates, from: 0, repository: None };
    let checked =
        authorize(&mut c, &bearer(&script), who, &elsewhere(), &mut Memory::default(), at(Duration::ZERO))
            .await;
    let Err(Stop::Undecided(why, _)) = checked else { panic!("{checked:?}") };
    assert!(why.contains("over plain HTTP"), "{why}");
    assert!(script.lines().is_empty());
}

#[tokio::test]
async fn credentials_do_not_travel_by_redirect_and_the_anonymous_do() {
    let other = Script::play(vec![say("200 OK", "", r#"{"token":"the-token"}"#)]).await;
    let there = format!("Location: http://{}/token\r\n", other.address);
    let moved = || say("307 Temporary Redirect", &there, "");
    let (checked, _) = play(vec![moved()], Some(&alice())).await;
    assert!(matches!(checked, Err(Stop::Undecided(..))), "{checked:?}");
    assert!(other.lines().is_empty());
    let (checked, _) = play(vec![moved()], None).await;
    assert_eq!(value(checked), "Bearer the-token");
}

#[tokio::test]
async fn basic_credentials_are_shown_once() {
    let script = Script::play(vec![say("200 OK", "", "{}")]).await;
    let checked = answer(&script, &challenges(&["Basic realm=\"x\""]), Some(&alice()), &elsewhere()).await;
    assert_eq!(script.lines(), ["GET /v2/"]);
    assert!(!format!("{checked:?}").contains(BASIC));
    let warning = checked.as_ref().unwrap().warning.clone().unwrap();
    assert_eq!(warning.cause.label(), "runtime_config");
    assert_eq!(value(checked), format!("Basic {BASIC}"));
}

#[tokio::test]
async fn basic_refusals_have_their_causes() {
    let basic = challenges(&["Basic realm=\"x\""]);
    let script = Script::play(vec![say("401 Unauthorized", "", "")]).await;
    failure(answer(&script, &basic, Some(&alice()), &elsewhere()).await, "credentials_rejected");
    let finding = failure(answer(&script, &basic, None, &elsewhere()).await, "credentials_missing");
    assert!(finding.text.ends_with("no basic auth credentials"), "{}", finding.text);
    let identity = Credentials::IdentityToken(Secret::new("id-token"));
    failure(answer(&script, &basic, Some(&identity), &elsewhere()).await, "credentials_missing");
    let negotiate = challenges(&["Negotiate", "Digest realm=\"x\""]);
    let finding = failure(answer(&script, &negotiate, None, &elsewhere()).await, "credentials_missing");
    assert!(finding.text.contains("negotiate, digest"), "{}", finding.text);
}

#[tokio::test]
async fn bearer_goes_before_basic() {
    let script = Script::play(vec![say("200 OK", "", r#"{"token":"the-token"}"#)]).await;
    let realm = format!("Bearer realm=\"http://{}/token\"", script.address);
    let checked = answer(&script, &challenges(&["Basic realm=\"x\"", &realm]), None, &elsewhere()).await;
    assert_eq!(value(checked), "Bearer the-token");
}

#[tokio::test]
async fn a_refused_password_is_not_tried_at_the_next_round() {
    let refuse = || say("401 Unauthorized", "", r#"{"details":"locked"}"#);
    let script = Script::play(vec![refuse(), refuse(), say("200 OK", "", TOKEN)]).await;
    let (mut c, elsewhere, mut memory) = (script.conversation().await, elsewhere(), Memory::default());
    let challenges = bearer(&script);
    let minute = |n: u64| Duration::from_secs(60 * n);
    let (old, new) = (alice(), Credentials::IdentityToken(Secret::new("renewed")));
    let (old, new) = (all_of(Some(&old)), all_of(Some(&new)));
    let mut texts = Vec::new();
    for now in [minute(0), minute(1), minute(29)] {
        let who = Who { candidates: &old, from: 0, repository: None };
        let checked = authorize(&mut c, &challenges, who, &elsewhere, &mut memory, at(now)).await;
        texts.push(failure(checked, "credentials_rejected"));
    }
    assert_eq!(script.lines().len(), 2, "one POST and one GET, in the first round only");
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "{texts:?}");
    assert!(!format!("{memory:?}").contains(PASSWORD));
    let who = Who { candidates: &new, from: 0, repository: None };
    let pass = authorize(&mut c, &challenges, who, &elsewhere, &mut memory, at(minute(29))).await;
    assert_eq!(value(pass), "Bearer the-token");
}
