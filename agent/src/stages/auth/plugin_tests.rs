//! Real plugins: scripts that answer, fail, hang, print rubbish, print too much and leave children behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::containerd::credentials::{Credentials, Secret, Source};
use crate::containerd::provider::{Images, Version};

const PATIENCE: Duration = Duration::from_secs(20);

const GOOD: &str = r#"{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse",
    "cacheKeyType":"CACHE","cacheDuration":"1h","auth":{"reg.lan":{"username":"u","password":"hunter22"}}}"#;

fn good(cache: &str) -> String {
    format!("cat >/dev/null\ncat <<'END'\n{}\nEND\n", GOOD.replace("CACHE", cache))
}

/// A folder with one plugin, `p`: the shell, which is given a script as its argument. A script that is run itself could
/// not be while another test's child still has it open.
struct Folder {
    dir: TempDir,
    provider: Provider,
}

impl Folder {
    fn with(script: &str) -> Folder {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("script.sh");
        fs::write(&file, script).unwrap();
        symlink("/bin/sh", dir.path().join("p")).unwrap();
        let mut images = Images::default();
        images.add("*.lan").unwrap();
        let provider = Provider {
            name: "p".to_owned(),
            version: Version::V1,
            images,
            default_cache: Duration::from_secs(60),
            args: vec![Secret::new(file.to_string_lossy())],
            env: vec![
                ("KEY".to_owned(), Secret::new("planted-secret")),
                ("DIR".to_owned(), Secret::new(dir.path().to_string_lossy())),
            ],
            wants_token: false,
        };
        Folder { dir, provider }
    }

    fn plugins(&self) -> Plugins {
        let config = provider::Config { providers: vec![self.provider.clone()] };
        Plugins::new(config, self.dir.path().to_owned())
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    async fn ask(&self, limit: Duration) -> Candidates {
        ask(&self.plugins(), "reg.lan", limit, Duration::ZERO).await
    }
}

async fn ask(plugins: &Plugins, registry: &str, limit: Duration, now: Duration) -> Candidates {
    let mut candidates = Candidates::default();
    plugins.ask(&mut candidates, &RegistryName::new(registry), Some("org/app"), limit, now).await;
    let shown = format!("{candidates:?}{plugins:?}");
    assert!(!shown.contains("hunter22") && !shown.contains("planted-secret"), "{shown}");
    candidates
}

async fn check_trouble(script: &str, limit: Duration, expect: &str) -> Finding {
    let candidates = Folder::with(script).ask(limit).await;
    trouble(candidates, expect)
}

fn trouble(candidates: Candidates, expect: &str) -> Finding {
    assert!(candidates.list.is_empty());
    let [finding] = candidates.troubles.as_slice() else { panic!("{candidates:?}") };
    assert_eq!((finding.cause.label(), finding.place.as_str()), ("credentials_missing", "p"));
    let expect = format!("the credential provider plugin p {expect}");
    assert!(finding.text.starts_with(&expect), "{} instead of {expect}", finding.text);
    finding.clone()
}

#[tokio::test]
async fn a_good_plugin_is_asked_on_its_input_and_gives_credentials() {
    let folder =
        Folder::with(&format!("cat >$DIR/asked; pwd >$DIR/cwd; echo $KEY >$DIR/key\n{}", good("Image")));
    let candidates = folder.ask(PATIENCE).await;
    assert_eq!(candidates.troubles, []);
    let password = Credentials::Password { username: "u".to_owned(), password: Secret::new("hunter22") };
    assert_eq!(candidates.list[0].credentials, password);
    assert_eq!(candidates.list[0].source, Source::Plugin("p".to_owned()));
    assert!(folder.file("asked").contains(r#""image":"reg.lan/org/app""#), "{}", folder.file("asked"));
    assert_eq!((folder.file("cwd").trim(), folder.file("key").trim()), ("/", "planted-secret"));
}

#[tokio::test]
async fn a_plugin_is_not_asked_for_the_images_of_others() {
    let folder = Folder::with("touch $DIR/ran");
    let candidates = ask(&folder.plugins(), "docker.io", PATIENCE, Duration::ZERO).await;
    assert_eq!(candidates, Candidates::default());
    assert!(!folder.dir.path().join("ran").exists());
}

#[tokio::test]
async fn a_plugin_that_fails_is_told_with_its_first_words_and_without_its_secrets() {
    let finding = check_trouble(
        "echo; echo \"no such role for $KEY\" >&2; echo more >&2; echo hunter22; exit 3",
        PATIENCE,
        "failed with exit status: 3: no such role for (secret)",
    )
    .await;
    assert!(
        finding.text.ends_with("(secret)") && finding.hint.unwrap().contains("by hand"),
        "{}",
        finding.text
    );
    check_trouble("exit 1", PATIENCE, "failed with exit status: 1: it said nothing").await;
    check_trouble("kill -9 $$", PATIENCE, "failed with signal: 9").await;
}

#[tokio::test]
async fn rubbish_is_told_without_a_word_of_it() {
    let finding =
        check_trouble("echo hunter22", PATIENCE, "printed something that is not a JSON object").await;
    assert!(!finding.text.contains("hunter22"));
    let other = good("Image").replace("kubelet.k8s.io/v1", "kubelet.k8s.io/v1beta1");
    check_trouble(&other, PATIENCE, "answered in the apiVersion `credentialprovider.kubelet.k8s.io/v1beta1`")
        .await;
    let other = good("Image").replace("ProviderResponse", "ProviderRequest");
    check_trouble(&other, PATIENCE, "answered with the kind `CredentialProviderRequest`").await;
    check_trouble(&good("All"), PATIENCE, "answered with the cacheKeyType `All`").await;
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    check_trouble("exec cat /dev/zero", PATIENCE, "printed more than 64 KiB").await;
}

#[tokio::test]
async fn complaints_without_end_are_read_and_dropped() {
    let script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 4";
    let finding = check_trouble(script, PATIENCE, "failed with exit status: 4: xxxx").await;
    assert!(finding.text.len() < 400, "{}", finding.text.len());
}

/// Whether a process lives, and is no mere entry that waits for its parent.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

async fn ends(pid: &str) {
    assert!(!pid.trim().is_empty(), "it never began");
    let gone = async {
        while lives(pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it still lives");
}

#[tokio::test]
async fn a_plugin_that_hangs_is_told_and_ends_with_who_asked_and_with_its_children() {
    let folder = Folder::with("sleep 600 & echo $! >$DIR/child; echo $$ >$DIR/self; wait");
    let candidates = folder.ask(Duration::from_secs(2)).await;
    trouble(candidates, "gave no answer within 2.0 s (the kubelet waits 60 s)");
    ends(&folder.file("child")).await;
    ends(&folder.file("self")).await;
}

#[tokio::test]
async fn a_child_that_outlives_its_plugin_is_ended() {
    let script = format!("sleep 600 >/dev/null 2>&1 </dev/null & echo $! >$DIR/child\n{}", good("Image"));
    let folder = Folder::with(&script);
    assert_eq!(folder.ask(PATIENCE).await.list.len(), 1);
    ends(&folder.file("child")).await;
}

#[tokio::test]
async fn a_plugin_that_is_only_slow_serves_the_next_round() {
    let folder = Folder::with(&format!("echo x >>$DIR/runs; sleep 1\n{}", good("Image")));
    let plugins = folder.plugins();
    let soon = Duration::from_millis(200);
    trouble(ask(&plugins, "reg.lan", soon, Duration::ZERO).await, "gave no answer within 0.2 s");
    // Others wait for the same run.
    trouble(ask(&plugins, "reg.lan", soon, Duration::ZERO).await, "gave no answer within 0.2 s");
    assert_eq!(ask(&plugins, "reg.lan", PATIENCE, Duration::ZERO).await.list.len(), 1);
    assert_eq!(runs(&folder), 1);
}

#[tokio::test]
async fn a_plugin_does_not_run_on_after_a_minute() {
    let folder = Folder::with("echo $$ >$DIR/self; sleep 600");
    let (provider, limit) = (&folder.provider, Duration::from_secs(1));
    let ended = run(&folder.dir.path().join("p"), provider, "reg.lan/app", limit).await;
    assert!(matches!(ended, Err(Trouble::Slow(_))));
    ends(&folder.file("self")).await;
}

#[tokio::test]
async fn a_plugin_that_is_missing_or_cannot_be_run_is_told() {
    let folder = Folder::with("");
    fs::remove_file(folder.dir.path().join("p")).unwrap();
    trouble(folder.ask(PATIENCE).await, "is not there, and no kubelet would start without it: ");
    let file = folder.dir.path().join("p");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    trouble(folder.ask(PATIENCE).await, "cannot be run: ");
}

fn unseen(candidates: Candidates, expect: &str) {
    assert!(candidates.list.is_empty() && candidates.troubles.is_empty(), "{candidates:?}");
    assert!(
        candidates.unseen[0].starts_with(&format!("the credential provider plugin p {expect}")),
        "{candidates:?}"
    );
}

#[tokio::test]
async fn what_this_agent_cannot_run_and_the_kubelet_may_is_nobodys_fault() {
    let mut folder = Folder::with("");
    let file = folder.dir.path().join("p");
    fs::remove_file(&file).unwrap();
    symlink(folder.dir.path().join("host-only"), &file).unwrap();
    let elsewhere = Plugins::new(
        provider::Config { providers: vec![folder.provider.clone()] },
        folder.dir.path().join("not-mounted"),
    );
    unseen(ask(&elsewhere, "reg.lan", PATIENCE, Duration::ZERO).await, "is in a folder that is not here");
    fs::write(folder.dir.path().join("host-only"), "#!/not/here\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    unseen(folder.ask(PATIENCE).await, "needs a loader or interpreter that is not here");
    folder.provider.wants_token = true;
    unseen(folder.ask(PATIENCE).await, "wants a token of the pod's service account");
}

fn runs(folder: &Folder) -> usize {
    folder.file("runs").lines().count()
}

#[tokio::test]
async fn many_registries_at_once_run_a_plugin_once() {
    let folder = Folder::with(&format!("echo x >>$DIR/runs\n{}", good("Global")));
    let plugins = folder.plugins();
    let one = |registry| ask(&plugins, registry, PATIENCE, Duration::ZERO);
    let (a, b, c) = tokio::join!(one("reg.lan"), one("reg.lan"), one("other.lan"));
    assert_eq!((a.list.len(), b.list.len(), c.list.len(), runs(&folder)), (1, 1, 0, 1));
}

#[tokio::test]
async fn an_answer_is_asked_for_again_when_it_no_longer_counts() {
    let folder = Folder::with(&format!("echo x >>$DIR/runs\n{}", good("Image")));
    let plugins = folder.plugins();
    let hour = Duration::from_secs(3600);
    for (now, expect) in [(Duration::ZERO, 1), (hour / 2, 1), (hour * 2, 2)] {
        ask(&plugins, "reg.lan", PATIENCE, now).await;
        assert_eq!(runs(&folder), expect);
    }
    // Another image has an answer of its own.
    ask(&plugins, "b.lan", PATIENCE, hour * 2).await;
    assert_eq!(runs(&folder), 3);
}

#[tokio::test]
async fn a_plugin_that_fails_rests_for_a_minute() {
    let folder = Folder::with("echo x >>$DIR/runs; exit 1");
    let plugins = folder.plugins();
    for (now, expect) in [(Duration::ZERO, 1), (REST / 2, 1), (REST * 2, 2)] {
        trouble(ask(&plugins, "reg.lan", PATIENCE, now).await, "failed with exit status: 1");
        assert_eq!(runs(&folder), expect);
    }
}
