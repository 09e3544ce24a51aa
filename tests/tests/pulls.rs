//! Test pulls through real containerds of every line: what they prove, where they stood, and that nothing stays.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::thread;
use std::time::{Duration, Instant};

use pullscope::model::{Phase, PullOutcome, PullReport};
use pullscope::stages::pull::Wanted;
use pullscope::stages::{Checked, Stop};
use pullscope_tests::PASSWORD;
use pullscope_tests::pulls::{Ask, Ground, Stand};
use pullscope_tests::world::containerd::Wait;
use pullscope_tests::world::cri::{self, Cri};
use pullscope_tests::world::process::is_installed;
use pullscope_tests::world::release::{Release, Version};

use PullOutcome::{Failed, Present, Pulled, Undecided};

/// A ground and a containerd on it, or nothing where they cannot stand: then the reason is printed, and in CI it is a
/// failure.
fn ground(version: Version) -> Option<(Ground, Release)> {
    let missing: Vec<_> = ["docker-registry", "nginx"].into_iter().filter(|p| !is_installed(p)).collect();
    let release = Release::find(version);
    if let (true, true, Ok(release)) = (rustix::process::geteuid().is_root(), missing.is_empty(), &release) {
        return Some((Ground::new().unwrap(), release.clone()));
    }
    eprintln!("SKIPPED: needs root, {missing:?} and containerd {version} ({release:?})");
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
    None
}

fn plain(ground: &Ground, release: &Release) -> Stand {
    ground.stand(release, "plain", &|same| same, Wait::Cri).unwrap()
}

/// The services that a line has.
fn services(version: Version) -> &'static [Wanted] {
    match version {
        Version::V1_6 => &[Wanted::Cri],
        Version::V1_7 | Version::V2_1 => &[Wanted::Cri, Wanted::Transfer],
    }
}

fn cause(checked: &Checked<()>) -> &'static str {
    match checked {
        Err(Stop::Failed(finding, _)) => finding.cause.label(),
        _ => "",
    }
}

/// A pull that ends so, says this, and leaves nothing.
fn check(stand: &Stand, name: &str, ask: Ask, outcome: PullOutcome, means: &str, says: &str) -> PullReport {
    let (checked, report) = stand.puller.pull(name, ask);
    let of = format!("{name} by {:?}: {report:?}", ask.via);
    assert_eq!((report.outcome, cause(&checked)), (outcome, means), "{of}");
    assert!(report.message.contains(says), "{of}");
    assert_eq!(report.bytes > 0, outcome == Pulled || report.bytes > 0, "{of}");
    stand.containerd.wait_until_empty().unwrap_or_else(|left| panic!("{of}: {left}"));
    report
}

fn each_service_says_what_a_pull_came_to(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let stand = plain(&ground, &release);
    for &via in services(version) {
        let ask = Ask::via(via);
        let report = check(&stand, "bulk:1", ask, Pulled, "", "MB/s; ");
        assert!(report.bytes > 6_000_000 && report.bytes < 6_100_000, "{report:?}");
        let parts: Duration = report.phases.iter().map(|(_, took)| *took).sum();
        assert!(parts.abs_diff(report.took) < Duration::from_millis(1), "{report:?}");
        let report = check(&stand, "index:1", ask, Pulled, "", "manifest 0.");
        assert!(report.bytes > 2000 && report.bytes < 6000, "one platform of two: {report:?}");
        check(&stand, "other:1", ask, Failed, "platform_mismatch", "no match for platform in manifest");
        check(&stand, "absent:1", ask, Failed, "manifest_not_found", "not found");
        let page = stand.puller.pull("page:1", ask).0;
        assert!(["not_a_registry", "unsupported_manifest"].contains(&cause(&page)), "{page:?}");
        let chart = stand.puller.pull("chart:1", ask).0;
        assert!(["unsupported_manifest", "unpack_failed"].contains(&cause(&chart)), "{chart:?}");
        stand.containerd.wait_until_empty().unwrap();
    }
    if version == Version::V1_6 {
        let says = "no Transfer";
        check(&stand, "tiny:1", Ask::via(Wanted::Transfer), Undecided, "", says);
    }
}

#[test]
fn each_service_of_1_6_says_what_a_pull_came_to() {
    each_service_says_what_a_pull_came_to(Version::V1_6);
}

#[test]
fn each_service_of_1_7_says_what_a_pull_came_to() {
    each_service_says_what_a_pull_came_to(Version::V1_7);
}

#[test]
fn each_service_of_2_1_says_what_a_pull_came_to() {
    each_service_says_what_a_pull_came_to(Version::V2_1);
}

/// Credentials reach the registry by either way, and no report shows them.
fn credentials_are_for_the_registry(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let stand = plain(&ground, &release);
    let private = ground.private(&stand);
    for &via in services(version) {
        for (password, outcome) in [(Some(PASSWORD), Pulled), (Some("wrong-horse"), Failed), (None, Failed)] {
            let (checked, report) = private.pull("tiny:1", Ask { password, ..Ask::via(via) });
            let of = format!("{version} {via:?} {password:?}: {checked:?}");
            assert_eq!(report.outcome, outcome, "{of}");
            let auth = ["credentials_rejected", "credentials_missing"].contains(&cause(&checked));
            assert_eq!(auth, outcome == Failed, "{of}");
            assert!(!format!("{checked:?}").contains("horse"), "{of}");
            stand.containerd.wait_until_empty().unwrap_or_else(|left| panic!("{of}: {left}"));
        }
    }
}

#[test]
fn credentials_are_for_the_registry_through_1_6() {
    credentials_are_for_the_registry(Version::V1_6);
}

#[test]
fn credentials_are_for_the_registry_through_1_7() {
    credentials_are_for_the_registry(Version::V1_7);
}

#[test]
fn credentials_are_for_the_registry_through_2_1() {
    credentials_are_for_the_registry(Version::V2_1);
}

/// A pull that is given up while it fetches a layer.
fn given_up(stand: &Stand, name: &str, ask: Ask, says: &[&str]) {
    let began = Instant::now();
    let report = check(stand, name, ask, Failed, "transfer_timeout", says[0]);
    assert!(says.iter().all(|says| report.message.contains(says)), "{report:?}");
    assert!(report.phases.iter().any(|(phase, _)| *phase == Phase::Layers), "{report:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

fn what_stops_or_crawls_is_given_up_early(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let stand = plain(&ground, &release);
    for &via in services(version) {
        let stall = Ask { stall: Duration::from_secs(2), ..Ask::via(via) };
        given_up(&stand, "stop:1", stall, &["came to a stand", "layer 1 of 1", " of 3.5 MB"]);
        let slow = Ask { min_rate: 5_000_000, ..stall };
        given_up(&stand, "crawl:1", slow, &["too slow", "where 5.0 MB/s are the least"]);
        let short = Ask { limit: Duration::from_secs(3), ..Ask::via(via) };
        given_up(&stand, "crawl:1", short, &["did not end within 3 s", "layer 1 of 1"]);
    }
}

#[test]
fn what_stops_or_crawls_through_1_6_is_given_up_early() {
    what_stops_or_crawls_is_given_up_early(Version::V1_6);
}

#[test]
fn what_stops_or_crawls_through_1_7_is_given_up_early() {
    what_stops_or_crawls_is_given_up_early(Version::V1_7);
}

#[test]
fn what_stops_or_crawls_through_2_1_is_given_up_early() {
    what_stops_or_crawls_is_given_up_early(Version::V2_1);
}

/// What pods have stays, under every name, and proves nothing unless bytes crossed the network.
fn what_pods_have_stays(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let stand = plain(&ground, &release);
    let kept = ["tiny:1", "index:1"].map(|name| stand.puller.image(name));
    for image in &kept {
        let pulled =
            Cri::connect(&stand.containerd.socket()).unwrap().pull(image, None, Duration::from_secs(20));
        assert_eq!(pulled, cri::Pulled::Done);
    }
    let before = stand.containerd.images().unwrap();
    for &via in services(version) {
        // Another tag of the same image: the CRI gives it a name, which goes again.
        for (name, says) in [("tiny:1", "on the node already"), ("tiny:2", "local content")] {
            let (_, report) = stand.puller.pull(name, Ask::via(via));
            assert_eq!((report.outcome, report.bytes), (Present, 0), "{version} {via:?} {name}: {report:?}");
            assert!(via == Wanted::Transfer || report.message.contains(says), "{report:?}");
        }
        let (_, report) = stand.puller.pull("index:1", Ask::via(via));
        match via {
            Wanted::Transfer => {
                assert_eq!(report.outcome, Pulled, "{report:?}");
                assert!(report.message.contains("linux/arm64 of the same index"), "{report:?}");
                assert!(report.bytes > 2000 && report.bytes < 4000, "{report:?}");
            }
            _ => assert_eq!((report.outcome, report.bytes), (Present, 0), "{report:?}"),
        }
        assert_eq!(stand.containerd.images().unwrap(), before, "{version} {via:?}");
    }
    let left = stand.containerd.leftovers().unwrap();
    let ours = |line: &&String| line.starts_with("leases") || line.starts_with("namespace");
    assert_eq!(left.iter().find(ours), None);
}

#[test]
fn what_pods_of_1_6_have_stays() {
    what_pods_have_stays(Version::V1_6);
}

#[test]
fn what_pods_of_1_7_have_stays() {
    what_pods_have_stays(Version::V1_7);
}

#[test]
fn what_pods_of_2_1_have_stays() {
    what_pods_have_stays(Version::V2_1);
}

/// The kubelet pulls the same image at the same time, before and after ours begins: what it pulled stays.
fn a_kubelet_that_pulls_the_same_keeps_its_image(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let stand = plain(&ground, &release);
    let image = stand.puller.image("slow:1");
    for &via in services(version) {
        for (kubelet, ours) in [(0, 150), (150, 0)] {
            let (socket, name) = (stand.containerd.socket(), image.clone());
            let pod = thread::spawn(move || {
                thread::sleep(Duration::from_millis(kubelet));
                Cri::connect(&socket).unwrap().pull(&name, None, Duration::from_secs(20))
            });
            thread::sleep(Duration::from_millis(ours));
            let (checked, report) = stand.puller.pull("slow:1", Ask::via(via));
            assert_eq!(pod.join().unwrap(), cri::Pulled::Done);
            assert_eq!(cause(&checked), "", "{version} {via:?}: {report:?}");
            let images = stand.containerd.images().unwrap();
            assert!(images.contains(&image), "{version} {via:?} {kubelet}: {images:?} {report:?}");
            stand.containerd.ctr(&["images", "rm", "--sync", &image]).unwrap();
            for rest in stand.containerd.images().unwrap() {
                stand.containerd.ctr(&["images", "rm", "--sync", &rest]).unwrap();
            }
            // What is put off has a note, which stays as long.
            for note in stand.containerd.ctr(&["leases", "ls", "-q"]).unwrap().lines() {
                stand.containerd.ctr(&["leases", "rm", note]).unwrap();
            }
            stand.containerd.wait_until_empty().unwrap();
        }
    }
}

#[test]
fn a_kubelet_that_pulls_the_same_through_1_6_keeps_its_image() {
    a_kubelet_that_pulls_the_same_keeps_its_image(Version::V1_6);
}

#[test]
fn a_kubelet_that_pulls_the_same_through_1_7_keeps_its_image() {
    a_kubelet_that_pulls_the_same_keeps_its_image(Version::V1_7);
}

#[test]
fn a_kubelet_that_pulls_the_same_through_2_1_keeps_its_image() {
    a_kubelet_that_pulls_the_same_keeps_its_image(Version::V2_1);
}

/// A note as a process left it that was killed in mid-pull, and the image that its pull brought: it goes, unless
/// someone else has pulled it as well.
fn what_a_dead_process_pulled_goes(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let stand = plain(&ground, &release);
    let image = stand.puller.image("tiny:1");
    let kubelet = Cri::connect(&stand.containerd.socket()).unwrap();
    let label = format!("pullscope/image={image}");
    let note = ["leases", "create", "--id", "dead", &label, "pullscope/holder=pid:[1] 1 1"];
    stand.containerd.ctr(&note).unwrap();
    assert_eq!(kubelet.pull(&image, None, Duration::from_secs(20)), cri::Pulled::Done);
    let swept = stand.puller.sweep();
    assert_eq!((swept.removed.as_slice(), &swept.trouble), (&[image.clone()][..], &None), "{swept:?}");
    stand.containerd.wait_until_empty().unwrap();

    stand.containerd.ctr(&note).unwrap();
    assert_eq!(kubelet.pull(&image, None, Duration::from_secs(20)), cri::Pulled::Done);
    // 1.6 updates what it has pulled once more; only what is updated much later was pulled again.
    thread::sleep(Duration::from_secs(if version == Version::V1_6 { 6 } else { 0 }));
    assert_eq!(kubelet.pull(&image, None, Duration::from_secs(20)), cri::Pulled::Done);
    let swept = stand.puller.sweep();
    assert!(swept.removed.is_empty() && swept.stays[0].contains("someone else"), "{swept:?}");
    assert!(stand.containerd.images().unwrap().contains(&image));
    assert_eq!(stand.containerd.ctr(&["leases", "ls", "-q"]).unwrap(), "");
}

#[test]
fn what_a_dead_process_pulled_through_1_6_goes() {
    what_a_dead_process_pulled_goes(Version::V1_6);
}

#[test]
fn what_a_dead_process_pulled_through_1_7_goes() {
    what_a_dead_process_pulled_goes(Version::V1_7);
}

#[test]
fn what_a_dead_process_pulled_through_2_1_goes() {
    what_a_dead_process_pulled_goes(Version::V2_1);
}

/// Told to end in mid-pull, the stage ends within a second, and nothing stays.
fn a_stop_ends_a_pull_at_once(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let stand = plain(&ground, &release);
    // Until containerd has its folder of blobs it cannot collect any.
    check(&stand, "tiny:1", Ask::via(Wanted::Cri), Pulled, "", "");
    for &via in services(version) {
        let stop = async { tokio::time::sleep(Duration::from_millis(700)).await };
        let began = Instant::now();
        let (_, report) = stand.puller.pull_until("crawl:1", Ask::via(via), stop);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(report.outcome, Undecided, "{report:?}");
        // What did not go within the grace goes at the next start.
        stand.puller.sweep();
        stand.containerd.wait_until_empty().unwrap_or_else(|left| panic!("{version} {via:?}: {left}"));
    }
}

#[test]
fn a_stop_ends_a_pull_through_1_6_at_once() {
    a_stop_ends_a_pull_at_once(Version::V1_6);
}

#[test]
fn a_stop_ends_a_pull_through_1_7_at_once() {
    a_stop_ends_a_pull_at_once(Version::V1_7);
}

#[test]
fn a_stop_ends_a_pull_through_2_1_at_once() {
    a_stop_ends_a_pull_at_once(Version::V2_1);
}

/// containerd is killed in mid-pull, and comes back: the pull says so, leaves nothing, and the next one is well.
fn a_containerd_that_dies_in_mid_pull_is_told_and_tidied(version: Version) {
    let Some((ground, release)) = ground(version) else { return };
    let mut stand = plain(&ground, &release);
    for &via in services(version) {
        let puller = stand.puller.clone();
        let pull = thread::spawn(move || puller.pull("crawl:1", Ask::via(via)));
        // Two blobs are there, and the layer has begun.
        thread::sleep(Duration::from_millis(2500));
        stand.containerd.kill();
        ground.restart(&mut stand).unwrap();
        let (checked, report) = pull.join().unwrap();
        assert_eq!(cause(&checked), "runtime_unavailable", "{version} {via:?}: {report:?}");
        assert!(report.message.contains("went away in mid-pull"), "{report:?}");
        stand.puller.sweep();
        stand.containerd.wait_until_empty().unwrap_or_else(|left| panic!("{version} {via:?}: {left}"));
        check(&stand, "tiny:1", Ask::via(via), Pulled, "", "");
    }
}

#[test]
fn a_1_6_that_dies_in_mid_pull_is_told_and_tidied() {
    a_containerd_that_dies_in_mid_pull_is_told_and_tidied(Version::V1_6);
}

#[test]
fn a_1_7_that_dies_in_mid_pull_is_told_and_tidied() {
    a_containerd_that_dies_in_mid_pull_is_told_and_tidied(Version::V1_7);
}

#[test]
fn a_2_1_that_dies_in_mid_pull_is_told_and_tidied() {
    a_containerd_that_dies_in_mid_pull_is_told_and_tidied(Version::V2_1);
}

/// A 2.1 with this configuration.
fn of_2_1(edit: &dyn Fn(String) -> String, wait: Wait) -> Option<(Ground, Stand)> {
    let (ground, release) = ground(Version::V2_1)?;
    let stand = ground.stand(&release, "other", edit, wait).unwrap();
    Some((ground, stand))
}

const IMAGES: &str = "[plugins.\"io.containerd.cri.v1.images\"]\n";

#[test]
fn without_the_cri_transfer_pulls() {
    let disabled = "disabled_plugins = [\n  \"io.containerd.grpc.v1.cri\",\n  \"io.containerd.cri.v1.images\",\n  \
                    \"io.containerd.cri.v1.runtime\",";
    let edit = |text: String| text.replace("disabled_plugins = [", disabled);
    let Some((_ground, stand)) = of_2_1(&edit, Wait::Socket) else { return };
    let report = check(&stand, "tiny:1", Ask::via(Wanted::Auto), Pulled, "", "runs without its CRI");
    assert_eq!(report.via, "transfer");
    check(&stand, "tiny:1", Ask::via(Wanted::Cri), Undecided, "", "no CRI answers");
}

#[test]
fn with_local_image_pull_the_cri_pulls_as_before() {
    let edit = |text: String| text.replace(IMAGES, &format!("{IMAGES}use_local_image_pull = true\n"));
    let Some((_ground, stand)) = of_2_1(&edit, Wait::Cri) else { return };
    check(&stand, "bulk:1", Ask::via(Wanted::Cri), Pulled, "", "by the CRI");
    check(&stand, "absent:1", Ask::via(Wanted::Cri), Failed, "manifest_not_found", "not found");
}

#[test]
fn layers_that_are_thrown_away_at_once_are_counted() {
    let lines = format!("{IMAGES}use_local_image_pull = true\ndiscard_unpacked_layers = true\n");
    let edit = move |text: String| text.replace(IMAGES, &lines);
    let Some((_ground, stand)) = of_2_1(&edit, Wait::Cri) else { return };
    let report = check(&stand, "bulk:1", Ask::via(Wanted::Cri), Pulled, "", "");
    assert!(report.bytes > 6_000_000, "{report:?}");
}

#[test]
fn another_snapshotter_is_unpacked_into_where_transfer_is_set_for_it() {
    let edit = |text: String| text.replace("snapshotter = \"overlayfs\"", "snapshotter = \"native\"");
    let Some((_ground, mut stand)) = of_2_1(&edit, Wait::Cri) else { return };
    stand.puller = stand.puller.clone().unpacking_into("native");
    for via in [Wanted::Cri, Wanted::Transfer] {
        let report = check(&stand, "bulk:1", Ask::via(via), Pulled, "", "unpack 0.");
        assert!(!report.message.contains("not unpacked"), "{report:?}");
    }
}

#[test]
fn another_snapshotter_that_transfer_does_not_know_is_told() {
    let Some((_ground, mut stand)) = of_2_1(&|same| same, Wait::Cri) else { return };
    stand.puller = stand.puller.clone().unpacking_into("native");
    check(&stand, "bulk:1", Ask::via(Wanted::Transfer), Pulled, "", "not configured for snapshotter native");
}
