//! The pull lane: whether a test pull may be made at all, and what it is made with.

use std::future::{Future, pending};
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::login;
use super::target::Target;
use super::tools::Tools;
use crate::config::Via;
use crate::containerd::Generation;
use crate::containerd::credentials::Credentials;
use crate::model::{Fact, PullOutcome, PullReport, text};
use crate::stages::runtime::{self, Runtime};
use crate::stages::{Checked, Seen, Stop, pull};

/// No test pull is made while less than this share of the registry's quota is left: it belongs to the pods.
const QUOTA_FOR_PODS: f64 = 0.2;

/// The pull keeps its own deadline; the rest is for what comes before and after it: a wire lane that is asking for a
/// token with the same credentials, containerd's own word, and what the pull stage does beside pulling.
pub(super) fn fence(tools: &Tools) -> Duration {
    tools.pull.timeout + tools.timeout * 2 + pull::OVERHEAD
}

/// What is said of a pull that is not waited for.
const NOT_WAITED_FOR: &str =
    "the test pull was not waited for: the way to the registry fails, or something on it does not answer";

/// The pull lane, which is not waited for after `until`.
pub(super) async fn stage_until(
    tools: &Tools,
    target: &Target,
    stop: impl Future<Output = ()>,
    until: Option<Instant>,
) -> Checked<()> {
    let late = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    };
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = late => {}
        }
    };
    let checked = match until {
        Some(until) if until <= Instant::now() => {
            Err(not_tried(target.test_image().map_or("", |image| &image.reference), pull::STOPPED.into()))
        }
        _ => stage(tools, target, stop).await,
    };
    match checked {
        Err(Stop::Undecided(why, mut seen)) if until.is_some_and(|until| until <= Instant::now()) => {
            let told = |text: &str| text.replacen(pull::STOPPED, NOT_WAITED_FOR, 1);
            if let Some(Fact::Pull(report)) = &mut seen.fact {
                report.message = text::clean_ends(&told(&report.message), text::MAX_TEXT);
            }
            Err(Stop::Undecided(told(&why), seen))
        }
        checked => checked,
    }
}

/// The pull lane, where a pull may be made at all.
async fn stage(tools: &Tools, target: &Target, stop: impl Future<Output = ()>) -> Checked<()> {
    let Some(image) = target.test_image() else {
        return Err(Stop::Undecided("no test image is configured".into(), Seen::default()));
    };
    if let Some(why) = reason_not_to_pull(tools, target).await {
        return Err(not_tried(&image.reference, why));
    }
    let runtime = match timeout(tools.timeout, runtime::inspect(&tools.socket, &tools.asked)).await {
        Ok(Ok(pass)) => pass.product,
        Ok(Err(Stop::Failed(finding, _))) => return Err(not_tried(&image.reference, finding.text)),
        Ok(Err(Stop::Undecided(why, _))) => return Err(not_tried(&image.reference, why)),
        Err(_) => return Err(not_tried(&image.reference, "containerd does not answer".into())),
    };
    let (content, snapshots) = tools.roots(Some(&runtime));
    let credentials = credentials(tools, target).await;
    let order = pull::Order {
        socket: &tools.socket,
        image: &image.reference,
        credentials: credentials.as_ref(),
        registry: target.name().as_str(),
        via: match tools.pull.via {
            Via::Cri => pull::Wanted::Cri,
            Via::Transfer => pull::Wanted::Transfer,
            Via::Auto | Via::Off => pull::Wanted::Auto,
        },
        generation: Generation::of_version(&runtime.info.version),
        host_dir: host_dir(&runtime),
        pulls_by_transfer: runtime.pulls_by_transfer,
        snapshotter: &runtime.info.snapshotter,
        limit: tools.pull.timeout,
        stall: tools.pull.stall_timeout,
        min_rate: tools.pull.min_bytes_per_second.into(),
        content: &content,
        snapshots: &snapshots,
        disk: tools.disk,
    };
    pull::pull(order, stop).await
}

/// The folder of hosts.toml files as the CRI itself hands it to Transfer: it takes a list of them for one name.
fn host_dir(runtime: &Runtime) -> Option<&Path> {
    match runtime.told.as_ref().ok()?.config_path.as_slice() {
        [only] => Some(only),
        _ => None,
    }
}

/// What speaks against a test pull now: it must neither take the pods' quota nor lock an account.
async fn reason_not_to_pull(tools: &Tools, target: &Target) -> Option<String> {
    if let Some((left, limit)) = target.quota_left()
        && (left as f64) < limit as f64 * QUOTA_FOR_PODS
    {
        return Some(format!("{left} of {limit} pulls are left, and the last fifth belongs to the pods"));
    }
    let credentials = credentials(tools, target).await?;
    target.was_refused(&credentials, tools.now()).await.then(|| {
        "the registry has refused these credentials, and each pull would show them several times".into()
    })
}

/// What the test pull shows: what a manifest was got with last, else what the kubelet would try first.
async fn credentials(tools: &Tools, target: &Target) -> Option<Credentials> {
    match target.credentials() {
        Some(credentials) => Some(credentials),
        None => {
            let list = login::candidates(tools, target, tools.timeout).await.list;
            list.into_iter().next().map(|first| first.credentials)
        }
    }
}

fn not_tried(image: &str, why: String) -> Stop {
    let report = PullReport {
        image: image.to_owned(),
        via: pull::VIA,
        outcome: PullOutcome::Undecided,
        bytes: 0,
        took: Duration::ZERO,
        phases: Vec::new(),
        message: text::clean_ends(&why, text::MAX_TEXT),
    };
    Stop::Undecided(why, Seen { fact: Some(Fact::Pull(report)), ..Seen::default() })
}
