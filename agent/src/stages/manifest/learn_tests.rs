use ring::digest::SHA256;

use super::*;
use crate::stages::fake::{Fake, MANIFEST_BYTES, Pull};
use crate::stages::http::script::{Act, Script, elsewhere, say};

fn digest_of(bytes: &str) -> String {
    let hash = ring::digest::digest(&SHA256, bytes.as_bytes());
    format!("sha256:{}", hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// An image with one layer of this size.
fn image(size: u32) -> String {
    let digest = digest_of("layer");
    format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{digest}","size":2}},"layers":[{{"digest":"{digest}","size":{size}}}]}}"#
    )
}

/// An index of one image for `architecture`.
fn index(image: &str, architecture: &str) -> String {
    let digest = digest_of(image);
    format!(
        r#"{{"schemaVersion":2,"manifests":[{{"digest":"{digest}","platform":{{"os":"linux","architecture":"{architecture}"}}}}]}}"#
    )
}

async fn look(script: &Script, digest: &str, shelf: &mut Shelf, given: bool) -> (Result<Learnt, Stop>, bool) {
    look_beside(Path::new("/nonexistent/c.sock"), script, digest, shelf, given).await
}

/// The same on a node whose containerd has this socket.
async fn look_beside(
    socket: &Path,
    script: &Script,
    digest: &str,
    shelf: &mut Shelf,
    given: bool,
) -> (Result<Learnt, Stop>, bool) {
    let mut c = script.conversation().await;
    let elsewhere = elsewhere();
    let wanted = Wanted {
        repository: "lib/app",
        digest,
        authorization: &Authorization::None,
        elsewhere: &elsewhere,
        socket,
        patience: Duration::from_millis(300),
        platform: &Platform::of_node("linux", "x86_64"),
    };
    let mut leave = Leave { given, used: false };
    (learn(&mut c, &wanted, shelf, &mut leave).await, leave.used)
}

fn size(learnt: Result<Learnt, Stop>) -> Option<u64> {
    learnt.unwrap().layout?.smallest().map(|blob| blob.size)
}

fn check_failure(learnt: Result<Learnt, Stop>, label: &str, words: &str) {
    match learnt {
        Err(Stop::Failed(finding, _)) => {
            assert_eq!(finding.cause.label(), label, "{}", finding.text);
            assert!(finding.text.contains(words), "{}", finding.text);
        }
        other => panic!("{label}: {other:?}"),
    }
}

#[tokio::test]
async fn a_manifest_is_got_once_and_remembered() {
    let image = image(7);
    let script = Script::play(vec![say("200 OK", "", &image)]).await;
    let mut shelf = Shelf::default();
    let digest = digest_of(&image);
    let (learnt, used) = look(&script, &digest, &mut shelf, true).await;
    assert_eq!((size(learnt), used), (Some(7), true));
    let (learnt, used) = look(&script, &digest, &mut shelf, false).await;
    assert_eq!((size(learnt), used), (Some(7), false));
    assert_eq!(script.lines(), [format!("GET /v2/lib/app/manifests/{digest}")]);
}

#[tokio::test]
async fn nothing_is_asked_without_leave() {
    let script = Script::play(vec![]).await;
    let (learnt, used) = look(&script, &digest_of("x"), &mut Shelf::default(), false).await;
    assert_eq!((size(learnt), used), (None, false));
    assert_eq!(script.lines().len(), 0);
}

#[tokio::test]
async fn of_an_index_the_image_for_this_node_is_got() {
    let image = image(7);
    let index = index(&image, "amd64");
    let script = Script::play(vec![say("200 OK", "", &index), say("200 OK", "", &image)]).await;
    let (learnt, used) = look(&script, &digest_of(&index), &mut Shelf::default(), true).await;
    assert_eq!((size(learnt), used), (Some(7), true));
    assert_eq!(script.lines().len(), 2);
}

#[tokio::test]
async fn an_index_without_this_platform_fails_in_every_round() {
    let index = index(&image(7), "s390x");
    let script = Script::play(vec![say("200 OK", "", &index)]).await;
    let mut shelf = Shelf::default();
    for given in [true, false] {
        let (learnt, _) = look(&script, &digest_of(&index), &mut shelf, given).await;
        check_failure(learnt, "platform_mismatch", "for linux/s390x; this node is linux/amd64");
    }
    assert_eq!(script.lines().len(), 1);
}

#[tokio::test]
async fn an_image_for_the_older_architecture_is_a_warning() {
    let image = image(7);
    let index = index(&image, "386");
    let script = Script::play(vec![say("200 OK", "", &index), say("200 OK", "", &image)]).await;
    let (learnt, _) = look(&script, &digest_of(&index), &mut Shelf::default(), true).await;
    let learnt = learnt.unwrap();
    assert!(learnt.layout.is_some());
    let warning = learnt.warning.unwrap();
    assert_eq!(warning.cause, classify::wrong_platform());
    assert!(warning.text.contains("for linux/386, and not for linux/amd64"), "{}", warning.text);
}

#[tokio::test]
async fn a_refusal_leaves_the_leave_and_what_was_got() {
    let image = image(7);
    let index = index(&image, "amd64");
    let acts = vec![say("200 OK", "", &index), say("404 Not Found", "", ""), say("200 OK", "", &image)];
    let script = Script::play(acts).await;
    let mut shelf = Shelf::default();
    let (learnt, used) = look(&script, &digest_of(&index), &mut shelf, true).await;
    check_failure(learnt, "content_invalid", "404");
    assert!(!used);
    let (learnt, used) = look(&script, &digest_of(&index), &mut shelf, true).await;
    assert_eq!((size(learnt), used), (Some(7), true));
    assert_eq!(script.lines().len(), 3);
}

#[tokio::test]
async fn other_bytes_are_told_until_there_is_leave_to_look_again() {
    let image = image(7);
    let script = Script::play(vec![say("200 OK", "", "{}"), say("200 OK", "", &image)]).await;
    let (digest, mut shelf) = (digest_of(&image), Shelf::default());
    for given in [true, false] {
        let (learnt, used) = look(&script, &digest, &mut shelf, given).await;
        check_failure(learnt, "content_invalid", "another digest");
        assert_eq!(used, given);
    }
    assert_eq!(size(look(&script, &digest, &mut shelf, true).await.0), Some(7));
}

#[tokio::test]
async fn every_bad_answer_has_its_cause() {
    let endless =
        || Act::Endless("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".into(), "aaaaaaaaaaaaaaaa");
    for (act, label) in [
        (say("429 Too Many Requests", "", ""), "rate_limited"),
        (say("401 Unauthorized", "", ""), "credentials_missing"),
        (say("200 OK", "Content-Type: text/html\r\n", "<html>"), "not_a_registry"),
        (Act::SayAndClose("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".into()), "connection_reset"),
        (endless(), "unsupported_manifest"),
    ] {
        let script = Script::play(vec![act]).await;
        let (learnt, _) = look(&script, &digest_of("x"), &mut Shelf::default(), true).await;
        check_failure(learnt, label, "");
    }
}

#[tokio::test]
async fn what_only_some_containerds_pull_is_a_warning() {
    let old = r#"{"schemaVersion":1,"fsLayers":[],"signatures":[{}]}"#;
    let script = Script::play(vec![say("200 OK", "", old)]).await;
    let (learnt, _) = look(&script, &digest_of(old), &mut Shelf::default(), true).await;
    let warning = learnt.unwrap().warning.unwrap();
    assert_eq!(warning.cause, classify::unsupported_manifest());
    assert!(warning.text.contains("has under lib/app a manifest of Docker's schema 1"), "{}", warning.text);

    let thing = r#"{"schemaVersion":2,"config":{"#;
    let script = Script::play(vec![say("200 OK", "", thing)]).await;
    let (learnt, _) = look(&script, &digest_of(thing), &mut Shelf::default(), true).await;
    check_failure(learnt, "unsupported_manifest", "no manifest");
}

#[tokio::test]
async fn a_containerd_that_hangs_or_has_other_bytes_costs_a_moment() {
    let image = image(7);
    let folder = tempfile::tempdir().unwrap();
    let hanging = folder.path().join("c.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&hanging).unwrap();
    // This one gives the same bytes for every digest.
    let other = Fake::start(Pull::Hangs);
    for socket in [hanging, other.socket()] {
        let script = Script::play(vec![say("200 OK", "", &image)]).await;
        let (learnt, used) =
            look_beside(&socket, &script, &digest_of(&image), &mut Shelf::default(), true).await;
        assert_eq!((size(learnt), used), (Some(7), true));
    }
}

#[tokio::test]
async fn what_containerd_has_is_not_asked_for() {
    let fake = Fake::start(Pull::Hangs);
    let script = Script::play(vec![]).await;
    let digest = digest_of(std::str::from_utf8(MANIFEST_BYTES).unwrap());
    let (learnt, used) = look_beside(&fake.socket(), &script, &digest, &mut Shelf::default(), false).await;
    // The fake's digests are too short to be any.
    check_failure(learnt, "unsupported_manifest", "for a digest");
    assert_eq!((used, script.lines().len()), (false, 0));
}

#[test]
fn the_shelf_is_bounded() {
    let mut shelf = Shelf::default();
    for n in 0..100 {
        shelf.put(&n.to_string(), Kept::Content(Content::Index(vec![])));
    }
    assert_eq!(shelf.kept.len(), MAX_KEPT);
    assert!(shelf.get("99").is_some() && shelf.get("0").is_none());
}
