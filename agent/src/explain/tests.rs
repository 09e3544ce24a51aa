//! Every line of the checklist, and what credentials make of a verdict.

mod secrets;

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

const IMAGE: &str = "r.test:5000/team/app:1";
const REFUSED: &str = "failed to pull and unpack image \"r.test:5000/team/app:1\": failed to resolve reference \
    \"r.test:5000/team/app:1\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to \
    https://r.test:5000/token: 401 Unauthorized";
const REJECTED: &str = "failed to pull and unpack image \"r.test:5000/team/app:1\": failed to resolve reference \
    \"r.test:5000/team/app:1\": failed to authorize: failed to fetch oauth token: unexpected status from GET request to \
    https://r.test:5000/token: 401 Unauthorized";
const NOT_FOUND: &str =
    "failed to resolve reference \"r.test:5000/team/app:1\": r.test:5000/team/app:1: not found";
const BACK_OFF: &str = "Back-off pulling image \"r.test:5000/team/app:1\"";
const SECRET_TEXT: &str = "hunter22";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn pod(secrets: &[&str], reason: &str, message: &str) -> Value {
    let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
    let state = match reason {
        "" => json!({"running": {}}),
        reason => json!({"waiting": {"reason": reason, "message": message}}),
    };
    let image_id = if reason.is_empty() { "sha256:1" } else { "" };
    json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1"},
        "spec": {"nodeName": "n1", "serviceAccountName": "default", "imagePullSecrets": secrets,
            "containers": [{"name": "app", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}]},
        "status": {"phase": "Pending", "hostIP": "10.0.0.9",
            "containerStatuses": [{"name": "app", "imageID": image_id, "state": state}]}
    })
}

fn facts(pod: Value) -> Facts {
    Facts {
        pod: serde_json::from_value(pod).unwrap(),
        secrets: Vec::new(),
        account: Seen::There(Account::default()),
        events: Seen::There(Events::default()),
        report: Seen::Absent,
        now: now(),
    }
}

/// A pod that is refused without credentials, and what is seen of its one secret.
fn with_secret(secret: Seen<PullSecret>) -> Facts {
    Facts { secrets: vec![("regcred".into(), secret)], ..facts(pod(&["regcred"], "ErrImagePull", REFUSED)) }
}

fn secret(auths: &Value) -> Seen<PullSecret> {
    raw("kubernetes.io/dockerconfigjson", ".dockerconfigjson", json!({"auths": auths}).to_string().as_bytes())
}

fn raw(kind: &str, key: &str, value: &[u8]) -> Seen<PullSecret> {
    let object = json!({"type": kind, "data": {key: STANDARD.encode(value), "other": null}});
    Seen::There(serde_json::from_value(object).unwrap())
}

fn login(user: &str, password: &str) -> Value {
    json!({"auth": STANDARD.encode(format!("{user}:{password}"))})
}

fn report(registry: &Value, workloads: &Value) -> Seen<NodeReport> {
    let object = json!({"node": "n1", "version": "1.0.0", "at": "2026-11-18T12:00:00Z", "status": "failing", "verdict": null,
        "registries": [registry], "workloads": workloads});
    Seen::There(serde_json::from_value(object).unwrap())
}

/// Every line of the checklist as `MARK what: text`.
fn lines(told: &Explanation) -> Vec<String> {
    let all = told.checks.iter().chain(told.containers.iter().flat_map(|container| &container.checks));
    all.map(|c| format!("{} {}: {}", c.mark.sign(), c.what.label(), c.text)).collect()
}

/// The first line that begins so has `expect` in it.
#[track_caller]
fn check(facts: &Facts, begins: &str, expect: &str) {
    let lines = lines(&explain(facts));
    let found = lines.iter().filter(|line| line.starts_with(begins));
    assert!(found.clone().any(|line| line.contains(expect)), "no `{begins}` with `{expect}` in {lines:#?}");
}

#[track_caller]
fn verdict(facts: &Facts) -> Verdict {
    explain(facts).containers[0].verdict.clone().expect("the container fails")
}

#[track_caller]
fn blames(facts: &Facts, cause: Cause, summary: &str, advice: &str) {
    let verdict = verdict(facts);
    assert_eq!(verdict.cause, cause, "{verdict:?}");
    assert!(verdict.summary.contains(summary), "`{summary}` is not in {}", verdict.summary);
    assert!(verdict.advice().contains(advice), "`{advice}` is not in {}", verdict.advice());
}

// === the image line ===

#[test]
fn the_image_is_told_as_containerd_reads_it() {
    let of = |image: &str| {
        let mut pod = pod(&[], "", "");
        pod["spec"]["containers"][0]["image"] = image.into();
        facts(pod)
    };
    check(&of(IMAGE), "ok image", IMAGE);
    check(&of("nginx"), "ok image", "nginx is docker.io/library/nginx:latest");
    check(&of("Nginx:1"), "!! image", "must be in lower case");
    check(&of("nginx:1 "), "!! image", "white space");
    let digest = format!("q.test/a:1@sha256:{}", "0".repeat(64));
    check(&of(&digest), "ok image", "beside the digest the tag does not count");
}

#[test]
fn a_policy_says_when_the_registry_is_asked() {
    for (policy, expect) in
        [("Always", "every start"), ("IfNotPresent", "only where"), ("Never", "never asked"), ("", "default")]
    {
        let mut pod = pod(&[], "", "");
        pod["spec"]["containers"][0]["imagePullPolicy"] = policy.into();
        check(&facts(pod), "-- pull_policy", expect);
    }
}

#[test]
fn where_nothing_may_be_pulled_no_credentials_are_told() {
    let mut pod = pod(&[], "ErrImageNeverPull", "Container image is not present with pull policy of Never");
    pod["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    let told = facts(pod);
    blames(&told, Cause::NeverPull, "", "imagePullPolicy");
    assert!(!lines(&explain(&told)).iter().any(|line| line.contains("credentials:")));
}

// === what was said ===

fn events(message: &str, at: &str) -> Seen<Events> {
    let event = |reason: &str, message: &str, at: &str| {
        json!({"involvedObject": {"uid": "u1", "fieldPath": "spec.containers{app}"}, "reason": reason, "message": message,
            "lastTimestamp": at})
    };
    let failed = format!("Failed to pull image \"{IMAGE}\": {message}");
    let items =
        json!([event("Failed", "Error: ErrImagePull", "2026-11-18T12:09:00Z"), event("Failed", &failed, at)]);
    Seen::There(serde_json::from_value(json!({"items": items})).unwrap())
}

#[test]
fn the_events_have_the_error_where_the_status_has_only_the_back_off() {
    let bare = facts(pod(&[], "ImagePullBackOff", BACK_OFF));
    assert_eq!(verdict(&bare).cause, Cause::Unknown);
    let told = Facts { events: events(NOT_FOUND, "2026-11-18T12:08:00Z"), ..bare };
    blames(&told, Cause::ManifestNotFound, "not found", "");
    check(&told, "!! error", "spec/manifest_not_found (told at 2026-11-18T12:08:00Z)");
    check(&told, "!! state", "tries again within five minutes");
}

#[test]
fn the_events_of_an_earlier_pod_of_this_name_do_not_count() {
    let mut told = Facts {
        events: events(NOT_FOUND, "2026-11-18T12:08:00Z"),
        ..facts(pod(&[], "ImagePullBackOff", BACK_OFF))
    };
    told.pod.metadata.uid = "u2".into();
    assert_eq!(verdict(&told).cause, Cause::Unknown);
}

#[test]
fn events_that_are_hidden_are_told() {
    let told = Facts { events: Seen::Hidden("no".into()), ..facts(pod(&[], "", "")) };
    check(&told, "?? events", "not allowed");
    let told = Facts { events: Seen::Unread("silence".into()), ..facts(pod(&[], "", "")) };
    check(&told, "?? events", "silence");
}

// === the node's agent ===

#[test]
fn a_registry_that_is_down_goes_before_what_the_text_says() {
    let down = json!({"registry": "r.test:5000", "status": "failing", "verdict": {"cause": "connect_refused",
        "where": "r.test:5000", "summary": "nothing listens", "advice": "start it", "since": "2026-11-18T11:00:00Z"}});
    let told = Facts { report: report(&down, &json!(null)), ..facts(pod(&[], "ImagePullBackOff", BACK_OFF)) };
    blames(&told, Cause::ConnectRefused, "nothing listens", "start it");
    let by_text = Facts { pod: facts(pod(&[], "ErrImagePull", REFUSED)).pod, ..told.clone() };
    assert!(explain(&by_text).containers[0].also.is_empty(), "the text's other causes are not this one's");
    check(&told, "!! registry", "r.test:5000 is failing from this node: network/connect_refused");
    check(&told, "ok node_agent", "pullscope 1.0.0 at 2026-11-18T12:00:00Z");
}

#[test]
fn the_agents_verdict_on_the_container_counts() {
    let well = json!({"registry": "r.test:5000", "status": "healthy", "verdict": null});
    let workload = json!([{"namespace": "shop", "pod": "web-1", "container": "app", "image": IMAGE, "cause": "manifest_not_found",
        "where": "r.test:5000", "summary": "there is a tag 1.0", "advice": "write 1.0", "since": "2026-11-18T11:00:00Z"}]);
    let told = Facts { report: report(&well, &workload), ..facts(pod(&[], "ErrImagePull", REFUSED)) };
    blames(&told, Cause::ManifestNotFound, "there is a tag 1.0", "write 1.0");
    check(&told, "ok registry", "r.test:5000 is healthy");
}

#[test]
fn a_report_of_another_node_does_not_count() {
    let down =
        json!({"registry": "r.test:5000", "status": "failing", "verdict": {"cause": "connect_refused"}});
    let mut told =
        Facts { report: report(&down, &json!(null)), ..facts(pod(&[], "ErrImagePull", NOT_FOUND)) };
    told.pod.spec.node_name = "n2".into();
    assert_eq!(verdict(&told).cause, Cause::ManifestNotFound);
    check(&told, "?? node_agent", "the report is of node n1");
}

#[test]
fn without_an_agent_it_is_explained_and_said() {
    let told = facts(pod(&[], "ErrImagePull", NOT_FOUND));
    check(&told, "?? node_agent", "no agent runs");
    let told = Facts { report: Seen::Unread("it is silent".into()), ..told };
    check(&told, "?? node_agent", "explained without the node's agent: it is silent");
}

#[test]
fn a_registry_that_the_agent_does_not_watch_is_told() {
    let other = json!({"registry": "q.test", "status": "healthy"});
    let told = Facts { report: report(&other, &json!([])), ..facts(pod(&[], "", "")) };
    check(&told, "-- registry", "does not watch r.test:5000");
}

// === the whole ===

#[track_caller]
fn whole(facts: &Facts, status: Status, summary: &str) {
    let told = explain(facts);
    assert_eq!(told.status, status, "{told:?}");
    assert!(told.summary.contains(summary), "{}", told.summary);
}

#[test]
fn the_status_is_that_of_the_pods_pulls() {
    whole(&facts(pod(&[], "", "")), Status::Healthy, "nothing is wrong");
    whole(&facts(pod(&[], "ErrImagePull", NOT_FOUND)), Status::Failing, "1 of 1 containers");
    let mut creating = pod(&[], "ContainerCreating", "");
    whole(&facts(creating.clone()), Status::Unknown, "no pull has failed");
    creating["metadata"]["deletionTimestamp"] = "2026-11-18T12:00:00Z".into();
    whole(&facts(creating), Status::Healthy, "being deleted");
    let mut ended = pod(&[], "", "");
    ended["status"]["phase"] = "Succeeded".into();
    whole(&facts(ended), Status::Healthy, "has ended");
    let spoilt =
        Facts { secrets: vec![("regcred".into(), Seen::Absent)], ..facts(pod(&["regcred"], "", "")) };
    whole(&spoilt, Status::Degraded, "may stop the next pull");
    let mut crashing = facts(pod(&[], "CrashLoopBackOff", "back-off 5m0s"));
    crashing.pod.status.container_statuses[0].image_id = "sha256:1".into();
    whole(&crashing, Status::Healthy, "nothing is wrong");
    check(&crashing, "ok state", "waits with CrashLoopBackOff: that is not a pull");
}

#[test]
fn a_pod_on_no_node_has_pulled_nothing() {
    let mut pod = pod(&[], "", "");
    pod["spec"]["nodeName"] = "".into();
    pod["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "message": "0/3 nodes are available"}]});
    let told = facts(pod);
    whole(&told, Status::Unknown, "not scheduled: no pull was tried");
    check(&told, "-- scheduled", "so no pull was tried: 0/3 nodes are available");
}

#[test]
fn a_pull_that_runs_is_told_with_its_age() {
    let pulling = json!({"items": [{"involvedObject": {"uid": "u1", "fieldPath": "spec.containers{app}"}, "reason": "Pulling",
        "eventTime": "2026-11-18T10:56:40.000000Z"}]});
    let events = Seen::There(serde_json::from_value(pulling).unwrap());
    let told = Facts { events, ..facts(pod(&[], "ContainerCreating", "")) };
    check(&told, "-- state", "its image is being pulled, for ");
}

#[test]
fn init_and_ephemeral_containers_are_explained_too() {
    let mut pod = pod(&[], "", "");
    pod["spec"]["initContainers"] = json!([{"name": "first", "image": "r.test:5000/team/init:1"}]);
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": NOT_FOUND}});
    pod["status"]["initContainerStatuses"] = json!([{"name": "first", "state": waiting}]);
    pod["status"]["ephemeralContainerStatuses"] = json!([{"name": "debug", "state": waiting}]);
    let told = explain(&facts(pod));
    let failing: Vec<_> =
        told.containers.iter().map(|c| (c.name.as_str(), c.kind.label(), c.verdict.is_some())).collect();
    assert_eq!(failing, [("first", "init", true), ("app", "container", false), ("debug", "ephemeral", true)]);
    assert!(told.text().contains("\ninit container first: spec/manifest_not_found"), "{}", told.text());
}

#[test]
fn no_line_shows_a_password_or_is_wider_than_a_terminal() {
    let entries = json!({"r.test:5000": login("bob", SECRET_TEXT), "u:hunter22@q.test": {"username": "u", "password": SECRET_TEXT}});
    let facts = with_secret(secret(&entries));
    let told = explain(&facts);
    for shown in [told.text(), told.json(), format!("{told:?}"), format!("{facts:?}")] {
        assert!(!shown.contains(SECRET_TEXT) && !shown.contains(&STANDARD.encode("bob:hunter22")), "{shown}");
    }
    let is_too_wide = |line: &&str| line.chars().count() > 80 && line.trim().contains(' ');
    let text = told.text();
    let wide: Vec<&str> = text.lines().filter(is_too_wide).collect();
    // Only a word that must be copied whole may be.
    assert!(wide.iter().all(|line| line.split_whitespace().any(|word| word.len() > 45)), "{wide:#?}");
}

#[test]
fn text_from_outside_does_not_reach_the_terminal_as_it_is() {
    let mut pod = pod(&["re\u{1b}[31mgcred"], "ErrImagePull", "\u{1b}[2Jboom\nboom");
    pod["spec"]["containers"][0]["name"] = "a\u{202e}p".into();
    pod["status"]["containerStatuses"][0]["name"] = "a\u{202e}p".into();
    let facts = Facts { secrets: vec![("re\u{1b}[31mgcred".into(), Seen::Absent)], ..facts(pod) };
    let told = explain(&facts);
    for shown in [told.text(), told.json()] {
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
    }
}

#[test]
fn the_json_keeps_its_shape() {
    let facts = with_secret(secret(&json!({"r.test:5000": login("bob", SECRET_TEXT)})));
    let told: Value = serde_json::from_str(&explain(&facts).json()).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&told), "at checks containers namespace node phase pod status summary");
    let container = &told["containers"][0];
    assert_eq!(
        keys(container),
        "also checks container digest error image kind pull_policy reason registry repository tag verdict"
    );
    assert_eq!(keys(&container["verdict"]), "advice cause domain fault summary where");
    assert_eq!(keys(&container["checks"][0]), "check result text");
    assert_eq!((&told["status"], &told["at"]), (&json!("failing"), &json!("2026-11-18T11:06:40Z")));
    assert_eq!(
        (&container["registry"], &container["repository"], &container["tag"], &container["digest"]),
        (&json!("r.test:5000"), &json!("team/app"), &json!("1"), &json!(null))
    );
    assert_eq!(container["verdict"]["domain"], "auth");
}
