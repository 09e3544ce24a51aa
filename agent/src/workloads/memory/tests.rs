use super::*;
use crate::workloads::pod::{ContainerState, Metadata, PodSpec, PodStatus, Waiting};
use std::time::{Duration, SystemTime};

const NOT_FOUND: &str = "rpc error: code = NotFound desc = failed to pull and unpack image \"r.test/app:1\": failed to resolve \
    reference \"r.test/app:1\": r.test/app:1: not found";

fn at(seconds: u64) -> Moment {
    let since_start = Duration::from_secs(seconds);
    Moment { wall: SystemTime::UNIX_EPOCH + since_start, since_start }
}

/// A pod with one container, which waits for `reason` where that is not empty.
fn pod(reason: &str, message: &str) -> Pod {
    let waiting = (!reason.is_empty()).then(|| Waiting { reason: reason.into(), message: message.into() });
    let status = ContainerStatus {
        name: "app".into(),
        state: ContainerState { waiting },
        ..ContainerStatus::default()
    };
    let container = Container { name: "app".into(), image: "r.test/app:1".into(), ..Container::default() };
    Pod {
        metadata: Metadata {
            name: "web".into(),
            namespace: "shop".into(),
            uid: "u1".into(),
            ..Metadata::default()
        },
        spec: PodSpec { containers: vec![container], ..PodSpec::default() },
        status: PodStatus {
            phase: "Pending".into(),
            container_statuses: vec![status],
            ..PodStatus::default()
        },
    }
}

/// What is known after each of `said`, ten seconds apart.
fn after(said: &[(&str, &str)]) -> Option<Arc<Trouble>> {
    let mut memory = Memory::default();
    for (n, (reason, message)) in (0..).zip(said) {
        memory.take(&pod(reason, message), at(n * 10));
    }
    memory.workloads(200).troubles.first().cloned()
}

fn cause(trouble: Option<Arc<Trouble>>) -> Option<(Cause, u64)> {
    let error = trouble?.last_error.clone()?;
    Some((error.finding.cause, error.at.since_start.as_secs()))
}

#[test]
fn the_error_is_kept_through_the_back_off() {
    let said = [("ErrImagePull", NOT_FOUND), ("ImagePullBackOff", "Back-off pulling image \"r.test/app:1\"")];
    let trouble = after(&said).unwrap();
    assert_eq!(trouble.reason, WaitingReason::ImagePullBackOff);
    assert_eq!(trouble.message, "Back-off pulling image \"r.test/app:1\"");
    assert_eq!((trouble.since, cause(Some(trouble.clone()))), (at(0), Some((Cause::ManifestNotFound, 0))));
}

#[test]
fn a_back_off_that_repeats_the_error_is_read_and_is_no_new_try() {
    let repeated = format!("Back-off pulling image \"r.test/app:1\": ErrImagePull: {NOT_FOUND}");
    assert_eq!(cause(after(&[("ImagePullBackOff", &repeated)])), Some((Cause::ManifestNotFound, 0)));
    let said = [("ErrImagePull", NOT_FOUND), ("ImagePullBackOff", &repeated)];
    assert_eq!(cause(after(&said)), Some((Cause::ManifestNotFound, 0)));
}

#[test]
fn another_try_is_another_error() {
    let refused = "failed to do request: Head \"https://r.test/v2/\": dial tcp 10.0.0.1:443: connect: connection refused";
    let back_off = ("ImagePullBackOff", "Back-off pulling image \"r.test/app:1\"");
    let said = [("ErrImagePull", NOT_FOUND), back_off, ("ErrImagePull", refused), back_off];
    assert_eq!(cause(after(&said)), Some((Cause::ConnectRefused, 20)));
    let said = [("ErrImagePull", NOT_FOUND), back_off, ("ErrImagePull", NOT_FOUND)];
    assert_eq!(cause(after(&said)), Some((Cause::ManifestNotFound, 20)));
}

#[test]
fn a_back_off_alone_tells_no_error() {
    let trouble = after(&[("ImagePullBackOff", "Back-off pulling image \"r.test/app:1\"")]).unwrap();
    assert_eq!(trouble.last_error, None);
}

#[test]
fn a_container_that_runs_or_waits_for_something_else_is_forgotten() {
    for end in [("", ""), ("CrashLoopBackOff", "back-off 10s"), ("ContainerCreating", "")] {
        assert_eq!(after(&[("ErrImagePull", NOT_FOUND), end]), None, "{end:?}");
    }
    let back_off = ("ImagePullBackOff", "Back-off pulling image \"r.test/app:1\"");
    let again = after(&[("ErrImagePull", NOT_FOUND), ("", ""), back_off]).unwrap();
    assert_eq!((again.last_error.clone(), again.since), (None, at(20)));
}

#[test]
fn another_image_or_another_pod_of_the_name_begins_anew() {
    let (mut memory, back_off) = (Memory::default(), "Back-off pulling image \"x\"");
    memory.take(&pod("ErrImagePull", NOT_FOUND), at(0));
    let mut other = pod("ImagePullBackOff", back_off);
    other.spec.containers[0].image = "r.test/app:2".into();
    memory.take(&other, at(1));
    let trouble = memory.workloads(1).troubles[0].clone();
    assert_eq!((trouble.image.as_str(), &trouble.last_error), ("r.test/app:2", &None));
    memory.take(&pod("ErrImagePull", NOT_FOUND), at(2));
    let mut other = pod("ImagePullBackOff", back_off);
    other.metadata.uid = "u2".into();
    memory.take(&other, at(3));
    assert_eq!(memory.workloads(1).troubles[0].last_error, None);
}

#[test]
fn pods_that_are_gone_or_end_are_forgotten() {
    let mut memory = Memory::default();
    assert!(memory.take(&pod("ErrImagePull", NOT_FOUND), at(0)));
    assert!(!memory.take(&pod("ErrImagePull", NOT_FOUND), at(5)), "nothing new");
    assert!(memory.keep(&BTreeSet::new()));
    memory.take(&pod("ErrImagePull", NOT_FOUND), at(0));
    let mut ending = pod("ErrImagePull", NOT_FOUND);
    ending.metadata.deletion_timestamp = Some("2026-01-01T00:00:00Z".into());
    assert!(memory.take(&ending, at(1)));
    memory.take(&pod("ErrImagePull", NOT_FOUND), at(2));
    assert!(memory.forget(&pod("", "")));
    assert_eq!(memory.workloads(1), Workloads { max_series: 1, ..Workloads::default() });
}

#[test]
fn init_and_ephemeral_containers_are_told_apart() {
    let mut pod = pod("ErrImagePull", NOT_FOUND);
    pod.spec.init_containers = pod.spec.containers.clone();
    pod.status.init_container_statuses = pod.status.container_statuses.clone();
    pod.status.ephemeral_container_statuses = pod.status.container_statuses.clone();
    let mut memory = Memory::default();
    memory.take(&pod, at(0));
    let kinds: Vec<_> = memory.workloads(1).troubles.iter().map(|t| t.kind.label()).collect();
    assert_eq!(kinds, ["init", "container", "ephemeral"]);
}

#[test]
fn a_container_that_cannot_be_made_counts_where_its_image_is_why() {
    let unpack = "failed to create containerd container: error unpacking image: failed to extract layer sha256:ab: \
        write /var/lib/containerd/x: no space left on device";
    assert_eq!(cause(after(&[("CreateContainerError", unpack)])), Some((Cause::DiskFull, 0)));
    for other in ["context deadline exceeded", "failed to reserve container name \"a\"", ""] {
        assert_eq!(after(&[("CreateContainerError", other)]), None, "{other}");
    }
}

#[test]
fn what_is_kept_is_bounded_and_safe_and_the_rest_is_counted() {
    let mut memory = Memory::default();
    let long = format!("{NOT_FOUND} \u{1b}[31m token=hunter2hunter2 {}", "x".repeat(100_000));
    for n in 0..(3 * MAX_TROUBLES) {
        let mut pod = pod("ErrImagePull", if n == 0 { &long } else { NOT_FOUND });
        pod.metadata.name = format!("web-{n:05}");
        memory.take(&pod, at(0));
    }
    let told = memory.workloads(7);
    assert_eq!((told.troubles.len(), told.left_out, told.max_series), (MAX_TROUBLES, MAX_TROUBLES, 7));
    let first = &told.troubles[0];
    for text in [&first.message, &first.last_error.as_ref().unwrap().finding.text] {
        assert!(text.len() <= MAX_TEXT && !text.contains('\u{1b}') && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn an_image_that_cannot_be_read_has_no_registry() {
    let mut bad =
        pod("InvalidImageName", "Failed to apply default image tag \"R.test//a\": couldn't parse image name");
    bad.spec.containers[0].image = "r.test//App:1:2".into();
    let mut memory = Memory::default();
    memory.take(&bad, at(0));
    let told = memory.workloads(1);
    assert_eq!((told.troubles[0].registry(), told.troubles[0].image.as_str()), (None, "r.test//App:1:2"));
}
