//! The pull against a fake containerd.

use std::collections::HashMap;
use std::future::pending;
use std::time::SystemTime;

use containerd_client::services::v1::Lease;
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::*;
use crate::containerd::credentials::Secret;
use crate::model::{Fact, PullOutcome, PullReport};
use crate::stages::fake::{Fake, ID, Pull, image};
use pullscope_proto::v1::Container;

const IMAGE: &str = "r.lan:5000/probe/tiny:1";
const ANY: Limits = Limits { warn_free_percent: 0.0, fail_free_percent: 0.0 };
const NONE: Limits = Limits { warn_free_percent: 101.0, fail_free_percent: 101.0 };
const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

/// A time after every beginning of a pull: what came then was fetched by it.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

async fn order(fake: &Fake, limit: Duration, disk: Limits, stop: impl Future<Output = ()>) -> Checked<()> {
    let folder = tempfile::tempdir().unwrap();
    let password = Credentials::Password { username: "u".to_owned(), password: Secret::new("hunter2") };
    let (content, snapshots) = (folder.path(), folder.path());
    let order = Order {
        socket: &fake.socket(),
        image: IMAGE,
        credentials: Some(&password),
        registry: "r.lan:5000",
        via: Wanted::Auto,
        generation: Generation::V1_7,
        host_dir: None,
        pulls_by_transfer: None,
        snapshotter: "overlayfs",
        limit,
        stall: LONG,
        min_rate: 0,
        content,
        snapshots,
        disk,
    };
    pull(order, stop).await
}

fn report(checked: &Checked<()>) -> PullReport {
    let seen = match checked {
        Ok(pass) => &pass.seen,
        Err(Stop::Failed(_, seen) | Stop::Undecided(_, seen)) => seen,
    };
    match &seen.fact {
        Some(Fact::Pull(report)) => report.clone(),
        other => panic!("no report but {other:?}"),
    }
}

#[tokio::test]
async fn a_good_pull_is_counted_and_nothing_stays() {
    let fake = Fake::start(Pull::Brings(later()));
    let checked = order(&fake, LONG, ANY, pending()).await;
    assert!(checked.is_ok(), "{checked:?}");
    let report = report(&checked);
    assert_eq!((report.outcome, report.bytes, report.via), (PullOutcome::Pulled, 1110, "cri"));
    assert!(report.message.ends_with("by the CRI: this containerd has no Transfer"), "{}", report.message);
    assert_eq!(fake.state().removed, [ID]);
    assert!(fake.state().leases.is_empty());
}

#[tokio::test]
async fn credentials_go_to_the_registry_they_are_for_and_to_no_mirror() {
    let fake = Fake::start(Pull::Brings(later()));
    assert!(order(&fake, LONG, ANY, pending()).await.is_ok());
    let auth = fake.state().pulled[0].auth.clone().expect("they were given");
    assert_eq!((auth.username.as_str(), auth.password.as_str()), ("u", "hunter2"));
    assert_eq!(auth.server_address, "https://r.lan:5000");
}

#[tokio::test]
async fn content_that_was_there_before_proves_nothing() {
    let fake = Fake::start(Pull::Brings(SystemTime::UNIX_EPOCH));
    let checked = order(&fake, LONG, ANY, pending()).await;
    assert!(matches!(checked, Err(Stop::Undecided(..))), "{checked:?}");
    assert_eq!((report(&checked).outcome, report(&checked).bytes), (PullOutcome::Present, 0));
    assert_eq!(fake.state().removed, [ID], "the image itself is new all the same");
}

#[tokio::test]
async fn an_image_under_another_name_loses_only_the_name_that_the_pull_gave_it() {
    let fake = Fake::start(Pull::Brings(SystemTime::UNIX_EPOCH));
    fake.state().images.push(image(ID, "other.lan/app:1"));
    let checked = order(&fake, LONG, ANY, pending()).await;
    assert_eq!(report(&checked).outcome, PullOutcome::Present);
    let state = fake.state();
    assert!(state.removed.is_empty());
    assert_eq!(state.untagged, [IMAGE]);
}

#[tokio::test]
async fn an_image_that_was_pulled_by_this_name_before_is_not_pulled_over() {
    let fake = Fake::start(Pull::Brings(SystemTime::UNIX_EPOCH));
    fake.state().images.push(image("sha256:01d", IMAGE));
    let checked = order(&fake, LONG, ANY, pending()).await;
    assert_eq!(report(&checked).outcome, PullOutcome::Present);
    let state = fake.state();
    assert!(state.pulled.is_empty() && state.removed.is_empty() && state.untagged.is_empty());
}

#[tokio::test]
async fn an_image_that_a_container_uses_stays_and_is_told() {
    let fake = Fake::start(Pull::Brings(later()));
    fake.state().containers.push(Container { id: "abc".to_owned(), image: None, image_ref: ID.to_owned() });
    let checked = order(&fake, LONG, ANY, pending()).await;
    assert_eq!(report(&checked).outcome, PullOutcome::Pulled);
    assert!(report(&checked).message.contains("container abc uses it"), "{}", report(&checked).message);
    assert!(fake.state().removed.is_empty());
}

#[tokio::test]
async fn the_error_of_a_pull_is_told_without_containerds_preface() {
    let text = format!("failed to pull and unpack image \"{IMAGE}\": zzz");
    let fake = Fake::start(Pull::Fails(Status::not_found(text)));
    let checked = order(&fake, LONG, ANY, pending()).await;
    let Err(Stop::Failed(finding, _)) = &checked else { panic!("{checked:?}") };
    assert_eq!((finding.cause.label(), finding.place.as_str()), ("manifest_not_found", "r.lan:5000"));
    assert_eq!(finding.text, format!("containerd could not pull {IMAGE}: zzz"));
    assert_eq!(report(&checked).outcome, PullOutcome::Failed);
}

#[tokio::test]
async fn a_pull_that_does_not_end_ends_at_its_deadline_and_says_where_it_stood() {
    let fake = Fake::start(Pull::Hangs);
    let checked = order(&fake, SHORT, ANY, pending()).await;
    let Err(Stop::Failed(finding, _)) = &checked else { panic!("{checked:?}") };
    assert_eq!(finding.cause.label(), "transfer_timeout");
    assert!(finding.text.contains("resolving"), "{}", finding.text);
    assert!(
        report(&checked).took >= SHORT && report(&checked).took < SHORT * 5,
        "{:?}",
        report(&checked).took
    );
}

#[tokio::test]
async fn a_pull_that_ends_as_it_is_given_up_leaves_nothing() {
    let fake = Fake::start(Pull::BringsAndHangs);
    let checked = order(&fake, LONG, ANY, sleep(SHORT)).await;
    assert_eq!(report(&checked).outcome, PullOutcome::Undecided);
    assert_eq!(fake.state().removed, [ID]);
}

#[tokio::test]
async fn a_stop_in_mid_pull_ends_it_within_a_second() {
    let fake = Fake::start(Pull::Hangs);
    let began = Instant::now();
    let checked = order(&fake, LONG, ANY, sleep(SHORT)).await;
    assert!(matches!(checked, Err(Stop::Undecided(..))), "{checked:?}");
    assert!(began.elapsed() < SHORT + Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn no_pull_is_tried_onto_a_full_disk() {
    let fake = Fake::start(Pull::Brings(later()));
    let checked = order(&fake, LONG, NONE, pending()).await;
    let Err(Stop::Undecided(why, _)) = &checked else { panic!("{checked:?}") };
    assert!(why.contains("no test pull onto this disk"), "{why}");
    assert_eq!(report(&checked).outcome, PullOutcome::Undecided);
    assert!(fake.state().pulled.is_empty());
}

#[tokio::test]
async fn without_the_cri_there_is_no_pull_to_try() {
    let fake = Fake::start(Pull::Brings(later()));
    fake.state().cri = false;
    fake.state().plugins.retain(|plugin| plugin.id != "cri");
    let checked = order(&fake, LONG, ANY, pending()).await;
    let Err(Stop::Undecided(why, _)) = &checked else { panic!("{checked:?}") };
    assert!(why.contains("neither a CRI nor Transfer"), "{why}");
}

/// A process of another PID namespace has begun a pull, brought the image, and is no more.
fn dead_pull(fake: &Fake, began: SystemTime) {
    let labels = [("pullscope/image", IMAGE), ("pullscope/holder", "pid:[1] 1 1")];
    let labels: HashMap<_, _> =
        labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
    let mut state = fake.state();
    state.leases.push(Lease { id: "dead".to_owned(), created_at: Some(began.into()), labels });
    state.images.push(image(ID, IMAGE));
    let came = began + Duration::from_secs(1);
    for name in [IMAGE, ID] {
        state.records.insert(name.to_owned(), (came, came));
    }
}

fn yesterday() -> SystemTime {
    SystemTime::now() - Duration::from_secs(86_400)
}

#[tokio::test]
async fn what_a_dead_process_pulled_is_taken_back() {
    let fake = Fake::start(Pull::Hangs);
    dead_pull(&fake, yesterday());
    let swept = sweep(&fake.socket()).await;
    assert_eq!(swept, Swept { removed: vec![IMAGE.to_owned()], ..Swept::default() });
    assert_eq!(fake.state().removed, [ID]);
    assert!(fake.state().leases.is_empty());
}

#[tokio::test]
async fn what_was_there_before_a_dead_process_pulled_stays() {
    let fake = Fake::start(Pull::Hangs);
    dead_pull(&fake, yesterday());
    fake.state().records.clear();
    sweep(&fake.socket()).await;
    let state = fake.state();
    assert!(state.removed.is_empty() && state.untagged.is_empty() && state.leases.is_empty());
}

#[tokio::test]
async fn what_a_dead_process_pulled_and_a_pod_pulled_again_stays() {
    let fake = Fake::start(Pull::Hangs);
    dead_pull(&fake, yesterday());
    let (came, now) = (yesterday() + Duration::from_secs(1), SystemTime::now());
    fake.state().records.insert(IMAGE.to_owned(), (came, now));
    let swept = sweep(&fake.socket()).await;
    assert!(swept.stays[0].contains("someone else has pulled it"), "{swept:?}");
    assert!(fake.state().removed.is_empty());
}

#[tokio::test]
async fn a_pull_that_is_under_way_is_not_swept() {
    let fake = Fake::start(Pull::BringsAndHangs);
    let stop = async {
        sleep(SHORT).await;
        assert_eq!(sweep(&fake.socket()).await, Swept::default());
        assert!(fake.state().removed.is_empty());
    };
    order(&fake, LONG, ANY, stop).await.expect_err("it was stopped");
    assert_eq!(fake.state().removed, [ID]);
}

#[tokio::test]
async fn an_image_is_not_removed_while_another_pull_may_be_of_it() {
    let fake = Fake::start(Pull::Brings(later()));
    let other = Lease { created_at: Some(SystemTime::now().into()), ..Lease::default() };
    fake.state().leases.push(other);
    let checked = order(&fake, LONG, ANY, pending()).await;
    assert!(report(&checked).message.contains("another pull is under way"), "{}", report(&checked).message);
    assert!(fake.state().removed.is_empty());
    assert_eq!(fake.state().leases.len(), 2, "the note of it stays");
}

#[tokio::test]
async fn a_sweep_without_a_containerd_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let swept = sweep(&folder.path().join("c.sock")).await;
    assert!(swept.trouble.is_some_and(|why| why.contains("no containerd socket")));
}
