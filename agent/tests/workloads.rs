//! This node's pods, followed from a small API server of ours: what is asked of it, and what survives what it does.

mod kube;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Act, Kube, bookmark, event, pod};
use pullscope::model::{Cause, Moment, News, Workloads};
use pullscope::workloads::{Access, Api, Pace, Pod as Slim, Watching, post, watch};
use serde_json::json;
use tokio::sync::{mpsc, watch as channel};
use tokio::time::{sleep, timeout};

const IMAGE: &str = "127.0.0.1:1/app:1";
const NOT_FOUND: &str = "rpc error: code = NotFound desc = failed to pull and unpack image \"127.0.0.1:1/app:1\": failed to \
    resolve reference \"127.0.0.1:1/app:1\": 127.0.0.1:1/app:1: not found";
const BACK_OFF: &str = "Back-off pulling image \"127.0.0.1:1/app:1\"";
/// Far more than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn now() -> Moment {
    Moment { wall: SystemTime::now(), since_start: Duration::from_secs(1) }
}

fn pace() -> Pace {
    Pace {
        first: Duration::ZERO,
        least: Duration::from_millis(40),
        most: Duration::from_millis(200),
        gone: Duration::from_millis(20),
        refused: Duration::from_secs(60),
        ..Pace::default()
    }
}

fn watching(kube: &Kube, pace: Pace) -> Watching {
    Watching {
        node: "n1".into(),
        kubeconfig: Some(kube.kubeconfig()),
        max_series: 200,
        resolv_conf: "/etc/resolv.conf".into(),
        pace,
    }
}

fn failing(name: &str, version: &str) -> Pod {
    pod(name, version, IMAGE, "ErrImagePull", NOT_FOUND)
}

fn well(name: &str, version: &str) -> Pod {
    pod(name, version, IMAGE, "", "")
}

type Told = Option<Arc<Workloads>>;

/// The names of the pods that are told to fail.
fn names(told: &Told) -> Option<Vec<String>> {
    told.as_ref().map(|told| told.troubles.iter().map(|trouble| trouble.pod.clone()).collect())
}

/// Follows the pods of `kube` until `is_it` holds of what is told and of what was asked.
async fn until(kube: &Kube, pace: Pace, is_it: impl Fn(&Told, &[String]) -> bool) -> Told {
    let (sender, receiver) = channel::channel(None);
    let watching = watching(kube, pace);
    let seen = async {
        loop {
            let told = receiver.borrow().clone();
            if is_it(&told, &kube.asked()) {
                return told;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = async {
        tokio::select! {
            () = watch(&watching, &now, &sender) => None,
            told = seen => Some(told),
        }
    };
    match timeout(PATIENCE, ended).await {
        Ok(told) => told.expect("it does not end by itself"),
        Err(_) => panic!("it did not come: {:?} after {:?}", names(&receiver.borrow().clone()), kube.asked()),
    }
}

/// Until these pods, and no others, fail.
async fn until_failing(kube: &Kube, pods: &[&str]) -> Told {
    until(kube, pace(), |told, _| names(told).is_some_and(|names| names == pods)).await
}

#[tokio::test]
async fn a_run_of_events_is_one_list_and_one_watch() {
    let mut events: Vec<_> =
        (0..300).map(|n| event("MODIFIED", &failing("a", &format!("{}", 10 + n)))).collect();
    events.push(bookmark("400"));
    events.push(event("ADDED", &failing("b", "401")));
    events.push(event("MODIFIED", &well("a", "402")));
    let kube =
        Kube::play(vec![Act::List("7", vec![failing("a", "5"), well("w", "6")], None), Act::Hold(events)])
            .await;
    until_failing(&kube, &["b"]).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(kube.asked(), ["list 0", "watch 7"]);
    let requests = kube.requests();
    for part in
        ["GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1&", "limit=500", "authorization: Bearer t0k3n"]
    {
        assert!(requests[0].contains(part), "{}", requests[0]);
    }
    assert!(
        requests[1].contains("allowWatchBookmarks=true&") && requests[1].contains("timeoutSeconds="),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_where_it_was_and_nothing_is_listed_again() {
    let kube = Kube::play(vec![
        Act::List("7", vec![failing("a", "5")], None),
        Act::Break(vec![event("MODIFIED", &pod("a", "8", IMAGE, "ImagePullBackOff", BACK_OFF))]),
        Act::Events(vec![bookmark("20")]),
        Act::Hold(vec![event("ADDED", &failing("b", "21"))]),
    ])
    .await;
    let told = until_failing(&kube, &["a", "b"]).await.unwrap();
    assert_eq!(kube.asked(), ["list 0", "watch 7", "watch 8", "watch 20"]);
    let error = told.troubles[0].last_error.as_ref().expect("it is kept through the back-off");
    assert_eq!(
        (error.finding.cause, told.troubles[0].reason.label()),
        (Cause::ManifestNotFound, "ImagePullBackOff")
    );
}

#[tokio::test]
async fn a_version_that_is_gone_is_listed_anew_and_pods_that_went_with_it_are_forgotten() {
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old resource version: 7 (900)"}});
    for act in [Act::Refuse(410), Act::Events(vec![gone])] {
        let kube = Kube::play(vec![
            Act::List("7", vec![failing("a", "5"), failing("c", "6")], None),
            act,
            Act::List("900", vec![failing("b", "800"), failing("c", "6")], None),
        ])
        .await;
        let told = until(&kube, pace(), |told, asked| {
            names(told).unwrap_or_default() == ["b", "c"] && asked.len() == 4
        });
        assert_eq!(names(&told.await).unwrap(), ["b", "c"]);
        assert_eq!(kube.asked(), ["list 0", "watch 7", "list 0", "watch 900"]);
    }
}

#[tokio::test]
async fn a_storm_of_errors_is_met_with_patience() {
    let mut acts: Vec<_> = (0..6).map(|n| Act::Refuse(if n % 2 == 0 { 500 } else { 429 })).collect();
    acts.push(Act::List("7", vec![failing("a", "5")], None));
    acts.extend((0..3).map(|_| Act::Refuse(503)));
    acts.push(Act::Hold(vec![event("DELETED", &failing("a", "9"))]));
    let kube = Kube::play(acts).await;
    let begun = std::time::Instant::now();
    until(&kube, pace(), |told, asked| {
        names(told).is_some_and(|names| names.is_empty()) && asked.len() == 11
    })
    .await;
    assert_eq!(kube.asked()[7..], ["watch 7"; 4], "what is known stays so");
    // Half of 40, 80, 160 and three times 200 ms, and then of 40, 80 and 160 again.
    assert!(begun.elapsed() >= Duration::from_millis(580), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn whoever_is_forbidden_asks_once_and_not_soon_again() {
    for code in [401, 403] {
        let kube = Kube::play(vec![Act::Refuse(code)]).await;
        let watching = watching(&kube, pace());
        let (sender, receiver) = channel::channel(None);
        let asked = async |count| {
            while kube.requests().len() < count {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let twice = async {
            asked(1).await;
            timeout(Duration::from_secs(1), asked(2)).await.is_ok()
        };
        tokio::select! {
            () = watch(&watching, &now, &sender) => panic!("it does not end"),
            twice = timeout(PATIENCE, twice) => assert_eq!(twice, Ok(false), "{code}"),
        }
        assert!(receiver.borrow().is_none(), "nothing is known");
    }
}

#[tokio::test]
async fn an_answer_that_trickles_is_read_to_its_end() {
    let list = json!({"metadata": {"resourceVersion": "7"}, "items": [failing("a", "5"), well("b", "6")]})
        .to_string();
    let events = format!("{}\n\n{}\n", event("ADDED", &failing("ü", "8")), bookmark("9"));
    let kube = Kube::play(vec![Act::Say(list.into_bytes(), 7), Act::Say(events.into_bytes(), 1)]).await;
    until(&kube, pace(), |told, asked| names(told).is_some_and(|n| n == ["a", "ü"]) && asked.len() >= 3)
        .await;
    assert_eq!(kube.asked()[..3], ["list 0", "watch 7", "watch 9"]);
}

#[tokio::test]
async fn nonsense_is_survived() {
    let kube = Kube::play(vec![
        Act::Say(b"<html>portal</html>".to_vec(), 0),
        Act::Say(b"{\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[{".to_vec(), 0),
        Act::Say(b"{}".to_vec(), 0),
        Act::List("7", vec![failing("a", "5")], None),
        Act::Say(vec![b'x'; 5 << 20], 0),
        Act::Say(b"nonsense\n".to_vec(), 0),
        Act::Hold(vec![event("ADDED", &failing("b", "9"))]),
    ])
    .await;
    until_failing(&kube, &["a", "b"]).await;
    assert_eq!(kube.asked()[4..], ["watch 7"; 3]);
}

#[tokio::test]
async fn a_list_in_pages_is_read_to_the_last_and_begun_anew_where_it_breaks_off() {
    let kube = Kube::play(vec![
        Act::List("7", vec![failing("a", "5")], Some("p 2")),
        Act::Refuse(410),
        Act::List("8", vec![failing("a", "5")], Some("p 2")),
        Act::List("8", vec![failing("b", "6")], None),
    ])
    .await;
    until(&kube, pace(), |told, asked| names(told).is_some_and(|n| n == ["a", "b"]) && asked.len() == 5)
        .await;
    assert_eq!(kube.asked(), ["list 0", "list on p%202", "list 0", "list on p%202", "watch 8"]);
}

#[tokio::test]
async fn what_is_too_old_is_told_no_longer_and_comes_back() {
    let mut acts = vec![Act::List("7", vec![failing("a", "5")], None)];
    acts.extend((0..8).map(|_| Act::Refuse(500)));
    acts.push(Act::List("9", vec![failing("a", "5")], None));
    let kube = Kube::play(acts).await;
    let stale = Pace { stale: Duration::from_millis(100), ..pace() };
    let was_none = std::sync::atomic::AtomicBool::new(false);
    until(&kube, stale, |told, asked| {
        let is_none = told.is_none() && asked.len() > 3;
        was_none.fetch_or(is_none, std::sync::atomic::Ordering::Relaxed);
        was_none.load(std::sync::atomic::Ordering::Relaxed) && names(told).is_some_and(|n| n == ["a"])
    })
    .await;
}

#[tokio::test]
async fn without_an_api_server_nothing_is_told() {
    let missing = Watching {
        node: "n1".into(),
        kubeconfig: Some("/nonexistent/kubeconfig".into()),
        max_series: 1,
        resolv_conf: "/etc/resolv.conf".into(),
        pace: pace(),
    };
    let (sender, receiver) = channel::channel(None);
    assert!(timeout(Duration::from_millis(300), watch(&missing, &now, &sender)).await.is_err(), "it goes on");
    assert!(receiver.borrow().is_none());
}

#[tokio::test]
async fn one_pod_can_be_read_as_explain_does() {
    let json = serde_json::to_vec(&failing("a", "5")).unwrap();
    let kube = Kube::play(vec![Act::Say(json, 0), Act::Refuse(404)]).await;
    let access = Access::of_kubeconfig(&[kube.kubeconfig()], None).unwrap();
    let api = Api::new(access, "/etc/resolv.conf".as_ref()).unwrap();
    let pod: Slim = api.object("/api/v1/namespaces/shop/pods/a", 1 << 20, PATIENCE).await.unwrap();
    assert_eq!(pod.spec.containers[0].image, IMAGE);
    let missing = api.object::<Slim>("/api/v1/namespaces/shop/pods/b", 1 << 20, PATIENCE).await.unwrap_err();
    assert_eq!(missing.to_string(), "the API server refuses with 404: pods is refused with 404");
}

#[tokio::test]
async fn a_pod_is_told_by_an_event_of_kubernetes_own_shape() {
    let listed = Act::List("7", vec![failing("a", "5")], None);
    let kube = Kube::play(vec![listed]).await;
    let told = until_failing(&kube, &["a"]).await.unwrap();
    let kube = Kube::play(vec![Act::Refuse(403), Act::Say(b"{}".to_vec(), 0)]).await;
    let (sender, receiver) = mpsc::channel(4);
    for message in ["lost", "spec/manifest_not_found: no such tag"] {
        let news = News { of: Arc::clone(&told.troubles[0]), message: message.into(), at: now() };
        sender.send(news).await.unwrap();
    }
    drop(sender);
    post(&watching(&kube, pace()), Duration::ZERO, receiver).await;
    let requests = kube.requests();
    assert!(requests[1].starts_with("POST /api/v1/namespaces/shop/events HTTP/1.1"), "{}", requests[1]);
    let body = requests[1].split("\r\n\r\n").nth(1).unwrap();
    let event: Event = serde_json::from_str(body).unwrap();
    assert_eq!(event.message.as_deref(), Some("spec/manifest_not_found: no such tag"));
    let of = event.involved_object;
    assert_eq!((of.uid.as_deref(), of.field_path.as_deref()), (Some("uid-a"), Some("spec.containers{app}")));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
}
