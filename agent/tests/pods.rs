//! From a container that waits for its image to the verdict on it: the kubelet's words, a look at the very image, what is
//! watched of its registry, and what is shown of all that.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pullscope::config::{self, Config};
use pullscope::export::log::Log;
use pullscope::export::text::Paint;
use pullscope::export::{metrics, report, text};
use pullscope::ledger::{Ledger, Policy, Watched};
use pullscope::model::{
    Cause, ContainerKind, Evidence, Finding, ImageReference, Lane, LastError, Look, Moment, Outcome,
    RegistryHost, RegistryName, Role, Stage, Step, Subject, Trouble, WaitingReason, Workloads,
};
use pullscope::walk::{Clock, Walker};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn at(seconds: u64) -> Moment {
    let since_start = Duration::from_secs(seconds);
    Moment { wall: SystemTime::UNIX_EPOCH + since_start, since_start }
}

fn waiting(pod: &str, container: &str, image: &str, cause: Cause) -> Arc<Trouble> {
    Arc::new(Trouble {
        namespace: "shop".into(),
        pod: pod.into(),
        uid: format!("uid-{pod}"),
        container: container.into(),
        kind: ContainerKind::Main,
        image: image.into(),
        reference: ImageReference::parse(image).ok(),
        reason: WaitingReason::ErrImagePull,
        message: "the kubelet's words".into(),
        last_error: Some(LastError { finding: Finding::new(cause, "the error's words"), at: at(5) }),
        since: at(4),
    })
}

fn workloads(troubles: Vec<Arc<Trouble>>) -> Option<Arc<Workloads>> {
    Some(Arc::new(Workloads { troubles, left_out: 0, max_series: 2 }))
}

fn host(registry: &str) -> RegistryHost {
    RegistryHost::new(format!("http://{registry}"), Role::Registry)
}

fn ledger(registry: &str) -> Ledger {
    let watched = Watched { registry: RegistryName::new(registry), hosts: vec![host(registry)] };
    Ledger::new(Policy::agent(Duration::from_secs(60), Duration::from_secs(1800)), vec![watched])
}

fn wire(registry: &str, seconds: u64, stage: Stage, outcome: Outcome) -> Evidence {
    let step =
        Step { stage, outcome, took: Duration::ZERO, detail: String::new(), readings: vec![], fact: None };
    let url = format!("http://{registry}");
    let subject = Subject::Endpoint { registry: RegistryName::new(registry), url, role: Role::Registry };
    Evidence { subject, lane: Lane::Wire, at: at(seconds), steps: vec![step] }
}

/// A registry that has one tag of `team/app`, and writes down what it is asked.
async fn registry() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let name = listener.local_addr().expect("it is bound").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut bytes = vec![0; 16 * 1024];
                while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                    let request = String::from_utf8_lossy(&bytes[..n]).into_owned();
                    let line = request.split(" HTTP/").next().unwrap_or_default().to_owned();
                    let (status, headers, body) = match line.as_str() {
                        "GET /v2/" => ("200 OK", "Docker-Distribution-Api-Version: registry/2.0\r\n", "{}"),
                        "HEAD /v2/team/app/manifests/1.0" => (
                            "200 OK",
                            "Content-Type: application/vnd.oci.image.manifest.v1+json\r\nDocker-Content-Digest: sha256:\
                             aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
                            "",
                        ),
                        "GET /v2/team/app/tags/list?n=100" => ("200 OK", "", r#"{"tags":["1.0"]}"#),
                        _ => (
                            "404 Not Found",
                            "",
                            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}"#,
                        ),
                    };
                    told.lock().expect("nobody panics while it is held").push(line.clone());
                    let body = if line.starts_with("HEAD") { "" } else { body };
                    let answer =
                        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (name, asked)
}

fn config(registry: &str) -> Config {
    let text = format!(
        "node: n1\ncontainerd: {{socket: /nonexistent/c.sock, config: /nonexistent/c.toml}}\n\
         registries: [{{name: \"{registry}\", plain_http: true}}]\n"
    );
    config::load(&text, &|_| Err(std::io::ErrorKind::NotFound.into())).expect("it is valid")
}

/// What comes of a look at `image`, told in a ledger where one container waits for it after an error of `cause`.
async fn looked(registry: &str, image: &str, cause: Cause) -> Value {
    let walker = Arc::new(Walker::new(&config(registry), Clock::start()));
    walker.survey().await;
    let reference = ImageReference::parse(image).expect("it is a reference");
    let look = Look { at: at(9), ..Arc::clone(&walker).look(&reference).await };
    let mut ledger = ledger(registry);
    ledger.record_workloads(workloads(vec![waiting("web", "app", image, cause)]));
    ledger.record_look(look);
    shown(&ledger)["workloads"][0].clone()
}

fn shown(ledger: &Ledger) -> Value {
    let view = ledger.view(at(10));
    serde_json::to_value(report::report("n1", &view)).expect("it is plain data")
}

#[tokio::test]
async fn a_mistyped_tag_is_found_by_one_head_and_the_right_one_is_offered() {
    let (registry, asked) = registry().await;
    let told = looked(&registry, &format!("{registry}/team/app:1.1"), Cause::DeniedOrAbsent).await;
    assert_eq!(
        (&told["domain"], &told["cause"], &told["fault"]),
        (&"spec".into(), &"manifest_not_found".into(), &"user".into())
    );
    assert!(told["advice"].as_str().unwrap().contains("1.0"), "{told}");
    assert_eq!(told["registry"], *registry);
    assert_eq!((&told["reason"], &told["message"]), (&"ErrImagePull".into(), &"the kubelet's words".into()));
    let asked = asked.lock().unwrap().clone();
    let heads = asked.iter().filter(|line| line.starts_with("HEAD ")).count();
    assert_eq!(heads, 1, "{asked:?}");
    assert!(asked.iter().all(|line| !line.contains("/blobs/")), "{asked:?}");
}

#[tokio::test]
async fn an_image_that_anyone_may_have_blames_the_pods_secret_and_costs_one_head() {
    let (registry, asked) = registry().await;
    let told = looked(&registry, &format!("{registry}/team/app:1.0"), Cause::DeniedOrAbsent).await;
    assert_eq!((&told["domain"], &told["cause"]), (&"auth".into(), &"credentials_rejected".into()));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, ["GET /v2/", "HEAD /v2/team/app/manifests/1.0"]);
}

#[tokio::test]
async fn a_registry_that_nobody_watches_is_walked_for_a_pod() {
    // Nobody listens there, as an agent that watches another registry finds out.
    let told = looked("watched.test", "127.0.0.1:1/team/app:1", Cause::Unknown).await;
    assert_eq!((&told["domain"], &told["cause"]), (&"network".into(), &"connect_refused".into()));
    assert_eq!(told["where"], "127.0.0.1:1");
}

#[test]
fn a_registry_that_goes_down_is_why_its_pods_wait_and_not_why_others_do() {
    let mut ledger = ledger("a.test");
    let pods = vec![
        waiting("one", "app", "a.test/x:1", Cause::ManifestNotFound),
        waiting("two", "app", "b.test/x:1", Cause::AccessDenied),
    ];
    ledger.record_workloads(workloads(pods));
    for seconds in [6, 7] {
        let refused =
            Outcome::Failed(Finding::new(Cause::ConnectRefused, "connection refused").at("10.0.0.1:443"));
        ledger.record(wire("a.test", seconds, Stage::Tcp, refused));
    }
    let told = shown(&ledger);
    let causes: Vec<_> =
        told["workloads"].as_array().unwrap().iter().map(|w| w["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["connect_refused", "access_denied"]);
    assert_eq!(told["workloads"][0]["where"], "10.0.0.1:443");
    for seconds in [8, 9] {
        ledger.record(wire("a.test", seconds, Stage::Manifest, Outcome::Passed));
    }
    assert_eq!(shown(&ledger)["workloads"][0]["cause"], "manifest_not_found", "it recovers");
}

#[test]
fn what_is_not_watched_is_not_shown_and_none_failing_is_an_empty_list() {
    let mut ledger = ledger("a.test");
    assert!(shown(&ledger).get("workloads").is_none());
    ledger.record_workloads(workloads(vec![]));
    assert_eq!(shown(&ledger)["workloads"], Value::Array(vec![]));
    ledger.record_workloads(None);
    assert!(shown(&ledger).get("workloads").is_none());
}

#[test]
fn metrics_count_pods_and_cap_what_each_container_costs() {
    let mut ledger = ledger("a.test");
    let mut pods = vec![
        waiting("one", "app", "a.test/x:1", Cause::AccessDenied),
        waiting("one", "sidecar", "a.test/y:1", Cause::AccessDenied),
        waiting("two", "app", "a.test/x:1", Cause::AccessDenied),
    ];
    pods.push(waiting("two", "odd", "A//b", Cause::InvalidReference));
    ledger.record_workloads(workloads(pods));
    let scraped = String::from_utf8(metrics::metrics(&ledger.view(at(10)))).unwrap();
    let lines = |name: &str| -> Vec<&str> { scraped.lines().filter(|line| line.starts_with(name)).collect() };
    assert_eq!(
        lines("pullscope_pods_failing{"),
        [
            "pullscope_pods_failing{registry=\"\",domain=\"spec\",cause=\"invalid_reference\"} 1",
            "pullscope_pods_failing{registry=\"a.test\",domain=\"auth\",cause=\"access_denied\"} 2",
        ]
    );
    assert_eq!(
        lines("pullscope_pod_pull_failure{"),
        ["app", "sidecar"].map(|container| format!(
            "pullscope_pod_pull_failure{{namespace=\"shop\",pod=\"one\",container=\"{container}\",registry=\"a.test\",\
             domain=\"auth\",cause=\"access_denied\"}} 1"
        ))
    );
}

#[test]
fn the_table_tells_fifty_and_counts_the_rest() {
    let mut ledger = ledger("a.test");
    let pod = |n| waiting(&format!("web-{n:02}"), "app", "a.test/x:1", Cause::AccessDenied);
    ledger.record_workloads(workloads((0..60).map(pod).collect()));
    let table = text::table("n1", &ledger.view(at(10)), Paint::Plain, 80);
    assert!(table.contains("\npods that wait for an image: 60 containers\n"), "{table}");
    assert!(
        table.contains(
            "\nshop/web-49 app a.test/x:1\n  auth/access_denied (the pod's author or the platform acts)"
        ),
        "{table}"
    );
    assert!(table.contains("\nand 10 more; the JSON has them\n") && !table.contains("web-50"), "{table}");
}

#[test]
fn news_are_told_once_until_they_change() {
    let (mut ledger, mut log) = (ledger("a.test"), Log::default());
    let mut tell = |ledger: &Ledger| {
        let view = ledger.view(at(10));
        let news = log.tell_pods(view.workloads.as_ref(), view.at);
        news.into_iter().map(|news| news.message).collect::<Vec<_>>()
    };
    ledger.record_workloads(workloads(vec![waiting("one", "app", "a.test/x:1", Cause::AccessDenied)]));
    let first = tell(&ledger);
    assert!(first.len() == 1 && first[0].contains("the error's words"), "{first:?}");
    assert!(tell(&ledger).is_empty());
    ledger.record_workloads(workloads(vec![waiting("one", "app", "a.test/x:1", Cause::RateLimited)]));
    assert_eq!(tell(&ledger).len(), 1);
    ledger.record_workloads(workloads(vec![]));
    assert!(tell(&ledger).is_empty());
    ledger.record_workloads(workloads(vec![waiting("one", "app", "a.test/x:1", Cause::RateLimited)]));
    assert_eq!(tell(&ledger).len(), 1, "it fails anew");
}
