use std::path::PathBuf;

use ::http::HeaderValue;
use ring::digest::SHA256;

use super::*;
use crate::stages::dns::Resolver;
use crate::stages::http::script::{Act, Script, say};
use crate::stages::tls::Trust;

const SIGNED: &str = "X-Amz-Credential=AKIAEXAMPLEEXAMPLE&X-Amz-Signature=0a1b2c3d4e5f60718293";

fn digest_of(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&SHA256, bytes);
    format!("sha256:{}", hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn blob(bytes: &[u8], size: u64) -> Blob {
    Blob { digest: digest_of(bytes), size, media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into() }
}

/// Fetches `blob` from a registry that does `acts`, on a token.
async fn fetch_from(script: &Script, blob: Blob, home: &str) -> Checked<()> {
    let mut c = script.conversation().await;
    let dialer = Dialer {
        resolver: Resolver::new(PathBuf::from("/nonexistent")),
        trust: Trust::default(),
        connect_limit: None,
        home: Some(home.parse().unwrap()),
        proxies: Default::default(),
    };
    let authorization =
        Authorization::Bearer { value: HeaderValue::from_static("Bearer hunter22"), credentials: true };
    let layout = Layout { config: None, layers: vec![blob] };
    let limit = Duration::from_millis(1500);
    let (repository, authorization, dialer) = ("lib/app", &authorization, &dialer);
    fetch(&mut c, &Order { repository, layout: &layout, authorization, dialer, limit }).await
}

async fn play(acts: Vec<Act>, blob: Blob) -> (Checked<()>, Script) {
    let script = Script::play(acts).await;
    (fetch_from(&script, blob, "127.0.0.1").await, script)
}

/// A registry that sends one to `there`, with a query that no text may hold.
async fn redirected(there: &str, blob: Blob) -> Checked<()> {
    let location = format!("Location: http://{there}/store/x?{SIGNED}\r\n");
    play(vec![say("307 Temporary Redirect", &location, "")], blob).await.0
}

fn check_failure(checked: Checked<()>, label: &str, words: &str) -> Finding {
    match checked {
        Err(Stop::Failed(finding, seen)) => {
            assert_eq!(finding.cause.label(), label, "{}", finding.text);
            assert!(finding.text.contains(words), "{:?} is not in {:?}", words, finding.text);
            let all = format!("{finding:?}{seen:?}");
            for secret in ["hunter22", "0a1b2c3d", "AKIAEXAMPLE"] {
                assert!(!all.contains(secret), "{all}");
            }
            finding
        }
        other => panic!("{label}: {other:?}"),
    }
}

#[tokio::test]
async fn a_small_blob_is_read_whole_and_its_digest_checked() {
    let (checked, script) = play(vec![say("200 OK", "", "hello")], blob(b"hello", 5)).await;
    let pass = checked.unwrap();
    assert!(
        pass.seen.detail.starts_with("all of sha256:2cf24dba5fb0… (5 bytes) from 127.0.0.1:"),
        "{}",
        pass.seen.detail
    );
    let asked = &script.asked()[0];
    assert!(asked.contains("Bearer hunter22") && !asked.contains("range:"), "{asked}");
    assert!(asked.contains("accept: application/vnd.oci.image.layer.v1.tar+gzip, */*"), "{asked}");
    assert_eq!(script.connections(), 1, "over the lane's own stream");
}

#[tokio::test]
async fn of_a_large_blob_a_few_kib_are_read_by_range() {
    let part = "x".repeat(4096);
    let range = "Content-Range: bytes 0-4095/200000\r\n";
    let (checked, script) = play(vec![say("206 Partial Content", range, &part)], blob(b"", 200_000)).await;
    let detail = checked.unwrap().seen.detail;
    assert!(detail.starts_with("4.0 KiB of sha256:e3b0c44298fc… (195.3 KiB) from "), "{detail}");
    assert!(script.asked()[0].contains("range: bytes=0-4095"));
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_is_read_no_further() {
    let (checked, _) = play(vec![say("200 OK", "", &"x".repeat(200_000))], blob(b"", 200_000)).await;
    assert!(checked.unwrap().seen.detail.starts_with("4.0 KiB of "));
}

#[tokio::test]
async fn a_redirect_is_walked_without_the_authorization() {
    let cdn = Script::play(vec![say("200 OK", "", "hello")]).await;
    let checked = redirected(&cdn.address.to_string(), blob(b"hello", 5)).await;
    let detail = checked.unwrap().seen.detail;
    assert!(detail.contains(&format!(" from {0} ({0}) in ", cdn.address)), "{detail}");
    assert_eq!(cdn.lines(), [format!("GET /store/x?{SIGNED}")]);
    let asked = cdn.asked()[0].clone();
    assert!(!asked.contains("hunter22") && !asked.contains("ns="), "{asked}");
}

#[tokio::test]
async fn a_redirect_within_the_registry_keeps_the_authorization() {
    let acts = vec![say("302 Found", "Location: //{me}//v2/odd\r\n", ""), say("200 OK", "", "hello")];
    let (checked, script) = play(acts, blob(b"hello", 5)).await;
    checked.unwrap();
    assert_eq!(script.lines()[1], "GET //v2/odd");
    assert!(script.asked()[1].contains("Bearer hunter22"));
}

#[tokio::test]
async fn a_blob_host_that_refuses_connections_is_the_place() {
    let found = check_failure(
        redirected("127.0.0.1:1", blob(b"x", 1)).await,
        "connect_refused",
        "come from 127.0.0.1:1, and ",
    );
    assert_eq!(found.place, "127.0.0.1:1");
    assert!(found.text.starts_with("the layers of 127.0.0.1:"), "{}", found.text);
}

#[tokio::test]
async fn a_blob_host_that_refuses_says_so_itself() {
    for (status, body, label, words) in [
        (
            "403 Forbidden",
            "<?xml?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            "access_denied",
            ": AccessDenied: Request has expired",
        ),
        (
            "403 Forbidden",
            "no: 0a1b2c3d4e5f60718293 of AKIAEXAMPLEEXAMPLE",
            "access_denied",
            "no: (secret) of (secret)",
        ),
        ("404 Not Found", "", "content_invalid", "404 Not Found"),
        ("429 Too Many Requests", "", "rate_limited", "429"),
        ("503 Slow Down", "", "unavailable", "503"),
        ("200 OK", "<html><title>Blocked</title>", "not_a_registry", "with a web page"),
    ] {
        let cdn = Script::play(vec![say(status, "", body)]).await;
        let checked = redirected(&cdn.address.to_string(), blob(b"hello", 5)).await;
        let found = check_failure(checked, label, words);
        assert_eq!((found.place, found.is_taken), (cdn.address.to_string(), status == "200 OK"));
    }
}

#[tokio::test]
async fn bytes_that_are_not_the_blobs_are_told() {
    let large = || blob(b"", 200_000);
    for (act, blob, label, words) in [
        (say("200 OK", "", "hullo"), blob(b"hello", 5), "content_invalid", "another digest"),
        (
            say("200 OK", "", "hell"),
            blob(b"hello", 5),
            "content_invalid",
            "its size is 4 bytes, and the manifest says 5",
        ),
        (
            say("206 Partial Content", "Content-Range: bytes 0-9/10\r\n", "0123456789"),
            large(),
            "content_invalid",
            "its size is 10 bytes",
        ),
        (
            say("206 Partial Content", "", "0123456789"),
            large(),
            "content_invalid",
            "with 10 bytes where 4096 were asked for",
        ),
        (
            Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\nabc".into()),
            large(),
            "connection_reset",
            "broke off after 3 of 4096 bytes",
        ),
        (Act::Close, large(), "connection_reset", ""),
        (say("416 Range Not Satisfiable", "", ""), large(), "content_invalid", "416"),
    ] {
        let cdn = Script::play(vec![act]).await;
        check_failure(redirected(&cdn.address.to_string(), blob).await, label, words);
    }
}

#[tokio::test]
async fn a_blob_host_that_stalls_is_told_by_its_name() {
    let stalled = || Act::Say("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\nabc".into());
    for (act, words) in
        [(stalled(), "no more than 3 of 4096 bytes in time"), (Act::Silence, "no answer within")]
    {
        let cdn = Script::play(vec![act]).await;
        let checked = redirected(&cdn.address.to_string(), blob(b"", 200_000)).await;
        let found = check_failure(checked, "transfer_timeout", words);
        assert_eq!(found.place, cdn.address.to_string());
    }
}

#[tokio::test]
async fn redirects_without_an_end_are_left() {
    let on = || say("302 Found", "Location: /on\r\n", "");
    let (checked, script) = play((0..9).map(|_| on()).collect(), blob(b"x", 1)).await;
    check_failure(checked, "not_a_registry", "only redirects");
    assert_eq!(script.lines().len(), MAX_REDIRECTS + 1);
}

#[tokio::test]
async fn a_redirect_to_what_is_not_http_is_not_a_registry() {
    let (checked, _) =
        play(vec![say("302 Found", "Location: file:///etc/passwd\r\n", "")], blob(b"x", 1)).await;
    check_failure(checked, "not_a_registry", "302 Found");
}

#[tokio::test]
async fn a_registry_elsewhere_cannot_send_the_agent_to_this_node() {
    let inside = Script::play(vec![say("200 OK", "", "x")]).await;
    let location = format!("Location: http://{}/x\r\n", inside.address);
    let script = Script::play(vec![say("302 Found", &location, "")]).await;
    match fetch_from(&script, blob(b"x", 1), "192.0.2.1").await {
        Err(Stop::Undecided(why, _)) => {
            assert!(why.contains("127.0.0.1, which is local to this node"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(inside.connections(), 0);
}
