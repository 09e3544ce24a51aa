//! A node's ledger as a bad night fills it: many registries, each with a trouble of its own. For what people look at.

use std::time::{Duration, SystemTime};

use pullscope::ledger::{Ledger, Policy, Watched};
use pullscope::model::{
    Cause, Evidence, Fact, Finding, Lane, Moment, Outcome, PullOutcome, PullReport, Quota, RegistryHost,
    RegistryName, Role, RuntimeInfo, Stage, Step, Subject,
};

/// The stages of a wire lane, with what a good one has seen.
const WIRE: [(Stage, &str); 8] = [
    (Stage::Dns, "192.0.2.10, 2001:db8::10 via 10.0.0.2"),
    (Stage::Tcp, "192.0.2.10:443, [2001:db8::10]:443"),
    (Stage::Tls, "TLSv1.3, CN=registry.example.com, until 2027-01-30"),
    (Stage::Ping, "401: Bearer https://auth.example.com/token"),
    (Stage::Auth, "a token for anonymous pulls"),
    (Stage::Manifest, "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"),
    (Stage::Quota, "93 of 100 pulls left in 6 h"),
    (Stage::Blob, "4096 bytes from cdn.example.com"),
];

/// What is wrong with every third registry, by turns.
const TROUBLES: [(Stage, Cause, &str); 8] = [
    (
        Stage::Tls,
        Cause::TlsExpired,
        "the certificate of HOST (CN=HOST, issued by CN=Example CA R3) expired on 2026-11-21 (1 day ago): certificate has expired or is not yet valid",
    ),
    (
        Stage::Tcp,
        Cause::ConnectTimeout,
        "192.0.2.10:443 and [2001:db8::10]:443 did not answer within 10 s: dial tcp 192.0.2.10:443: i/o timeout",
    ),
    (
        Stage::Auth,
        Cause::CredentialsRejected,
        "https://auth.example.com/token?scope=repository:team/app:pull answered 401 to the credentials of the node's docker config: incorrect username or password",
    ),
    (
        Stage::Manifest,
        Cause::ManifestNotFound,
        "HOST has no team/app:1.27.4: MANIFEST_UNKNOWN: manifest unknown",
    ),
    (
        Stage::Manifest,
        Cause::RateLimited,
        "HOST answered 429: TOOMANYREQUESTS: You have reached your pull rate limit",
    ),
    (
        Stage::Ping,
        Cause::NotARegistry,
        "https://HOST/v2/ answered 200 with a page of HTML: <!doctype html><title>Sign in to the guest network</title>",
    ),
    (Stage::Blob, Cause::TransferTimeout, "cdn.example.com sent 1024 of 4096 bytes within 10 s"),
    (Stage::Dns, Cause::DnsFailure, "10.0.0.2 answered SERVFAIL for HOST"),
];

/// The moment of all evidence.
pub fn now() -> Moment {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_300_000);
    Moment { wall, since_start: Duration::from_secs(3600) }
}

/// The ledger of a node with so many registries: of three one fails, one in six is degraded, one is not decided.
pub fn ledger(registries: usize) -> Ledger {
    let names: Vec<String> = (0..registries).map(name).collect();
    let hosts = |name: &str| {
        let own = RegistryHost::new(format!("https://{name}"), Role::Registry);
        match name.starts_with("mirrored") {
            true => vec![RegistryHost::new(format!("https://mirror.{name}"), Role::Mirror), own],
            false => vec![own],
        }
    };
    let watched = names.iter().map(|name| Watched { registry: RegistryName::new(name), hosts: hosts(name) });
    let mut ledger = Ledger::new(Policy::ONCE, watched.collect());
    ledger.record(node());
    for (n, name) in names.iter().enumerate() {
        let trouble = (n % 3 == 0).then(|| TROUBLES[n / 3 % TROUBLES.len()]);
        if name.starts_with("mirrored") {
            let url = format!("https://mirror.{name}");
            ledger.record(wire(name, url, Role::Mirror, Some(TROUBLES[1])));
        }
        ledger.record(wire(name, format!("https://{name}"), Role::Registry, trouble));
        ledger.record(pull(name, trouble));
    }
    ledger
}

/// Most names are short; one is as long as clouds make them.
fn name(n: usize) -> String {
    match n % 6 {
        2 => format!("mirrored-{n}.example.com"),
        3 => format!("europe-west{n}-docker.pkg.dev.artifacts.internal.example.com:5000"),
        5 => format!("10.20.30.{n}:5000"),
        _ => format!("registry-{n}.example.com"),
    }
}

fn step(stage: Stage, outcome: Outcome, detail: &str, fact: Option<Fact>) -> Step {
    let took = Duration::from_micros(300 + 1700 * stage as u64);
    Step { stage, outcome, took, detail: detail.to_owned(), readings: Vec::new(), fact }
}

fn node() -> Evidence {
    let info = RuntimeInfo {
        name: "containerd".into(),
        version: "1.7.24~ds1".into(),
        snapshotter: "overlayfs".into(),
    };
    let low = "content (/var/lib/containerd): 11.2% of 107.4 GB free";
    let disk = Finding::new(Cause::DiskFull, low).at("/var/lib/containerd");
    let steps = vec![
        step(Stage::Disk, Outcome::Warned(disk), "", None),
        step(
            Stage::Runtime,
            Outcome::Passed,
            "containerd 1.7.24~ds1, snapshotter overlayfs",
            Some(Fact::Runtime(info)),
        ),
        step(Stage::Clock, Outcome::Passed, "within 1 s of 19 registries", None),
    ];
    Evidence { subject: Subject::Node, lane: Lane::Node, at: now(), steps }
}

/// A walk that ends at its trouble.
fn wire(name: &str, url: String, role: Role, trouble: Option<(Stage, Cause, &str)>) -> Evidence {
    let mut over = None;
    let steps = WIRE.iter().map(|&(stage, detail)| {
        let outcome = match (over, trouble) {
            (Some(at), _) => Outcome::Skipped(at),
            (None, Some((at, cause, text))) if at == stage => {
                over = Some(at);
                let host = url.trim_start_matches("https://");
                Outcome::Failed(Finding::new(cause, text.replace("HOST", host)).at(host))
            }
            _ => Outcome::Passed,
        };
        let quota = Quota {
            limit: Some(100),
            remaining: Some(93),
            window: Some(Duration::from_secs(21_600)),
            source: None,
        };
        let fact = (stage == Stage::Quota && over.is_none()).then_some(Fact::Quota(quota));
        step(stage, outcome, detail, fact)
    });
    let steps = steps.collect();
    let subject = Subject::Endpoint { registry: RegistryName::new(name), url, role };
    Evidence { subject, lane: Lane::Wire, at: now(), steps }
}

fn pull(name: &str, trouble: Option<(Stage, Cause, &str)>) -> Evidence {
    let (outcome, end) = match trouble {
        Some((_, cause, text)) => {
            let words = format!("containerd could not pull the test image: {}", text.replace("HOST", name));
            (PullOutcome::Failed, Outcome::Failed(Finding::new(cause, words).at(name)))
        }
        None => (PullOutcome::Pulled, Outcome::Passed),
    };
    let report = PullReport {
        image: format!("{name}/team/app:1.27.4"),
        via: "cri",
        outcome,
        bytes: if outcome == PullOutcome::Pulled { 1_048_576 } else { 0 },
        took: Duration::from_millis(480),
        phases: Vec::new(),
        message: String::new(),
    };
    let steps = vec![step(Stage::Pull, end, "1.0 MiB in 0.48 s", Some(Fact::Pull(report)))];
    let subject = Subject::Registry(RegistryName::new(name));
    Evidence { subject, lane: Lane::Pull, at: now(), steps }
}
