//! Stage `pull`: a real pull through containerd's CRI, as the kubelet would make it, and nothing left of it.

mod cleanup;
mod content;
mod names;
mod progress;

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::{Duration, SystemTime};

use pullscope_proto::v1::{AuthConfig, ImageSpec, PullImageRequest, PullImageResponse};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tonic::{Code, Request, Response, Status};

use self::cleanup::Before;
use self::progress::{Ingest, Standing, Watch};
use super::disk::{self, Limits};
use super::grpc::{Node, undecided, words};
use super::{Checked, Pass, Seen, Stop};
use crate::classify::{grpc, text};
use crate::containerd::credentials::Credentials;
use crate::model::{Fact, Finding, PullOutcome, PullReport, text as safe};

/// The service that pulls go through, as reports name it.
pub const VIA: &str = "cri";

/// How long the disk may take to answer before the pull: a hung one must not hold the lane.
const DISK_PATIENCE: Duration = Duration::from_secs(5);
/// How long the lists before the pull may take, together.
const BEFORE_PATIENCE: Duration = Duration::from_secs(10);
/// How often the ingests are listed: small layers come and go in between, and a deadline is seconds.
const POLL: Duration = Duration::from_millis(250);
/// How long looking at what was fetched may take, a call for each blob.
const CONTENT_PATIENCE: Duration = Duration::from_secs(5);
/// How long removing may take: containerd collects garbage before it answers.
const CLEANUP_PATIENCE: Duration = Duration::from_secs(10);
/// What is left for removing once the agent is told to end; with [`SETTLE`] half of the second that it has in all.
const GRACE: Duration = Duration::from_millis(400);
/// The most that a pull's surroundings take beside its own limit: the disk, the lists, the content, the removal.
pub const OVERHEAD: Duration = DISK_PATIENCE
    .saturating_add(BEFORE_PATIENCE)
    .saturating_add(CONTENT_PATIENCE)
    .saturating_add(CLEANUP_PATIENCE);
/// After a call is dropped, containerd takes a moment to see it; a pull may still end well in it.
const SETTLE: Duration = Duration::from_millis(100);

/// One test pull.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// containerd's socket.
    pub socket: &'a Path,
    /// The whole reference (`docker.io/library/hello-world:latest`).
    pub image: &'a str,
    /// What the registry is to be given.
    pub credentials: Option<&'a Credentials>,
    /// The registry that the credentials are for, as in the reference.
    pub registry: &'a str,
    /// The most that the pull itself may take.
    pub limit: Duration,
    /// containerd's content folder.
    pub content: &'a Path,
    /// containerd's snapshot folder.
    pub snapshots: &'a Path,
    /// When there is too little room for a pull.
    pub disk: Limits,
}

/// Pulls, sees what was fetched, and removes it. `stop` ends it early: then the call is dropped, which makes
/// containerd clean up by itself, and what came through nevertheless is removed within half a second.
///
/// The [`PullReport`] is in [`Seen::fact`] however it ends. Beside `limit`, the lists before, the look at what was
/// fetched and the removal have bounds of their own, 30 s together.
///
/// # Errors
/// Failed: the pull failed or did not end in time, or containerd is down. Undecided: no pull was made (too little
/// room, a read-only disk, no socket, no CRI), it was stopped, or it fetched nothing.
pub async fn pull(order: Order<'_>, stop: impl Future<Output = ()>) -> Checked<()> {
    let mut stop = Stopper { signal: pin!(stop), fired: false };
    let mut trip = Trip::default();
    let ending = match stop.or(prepare(&order)).await {
        Some(Ok(ready)) => run(&order, &ready, &mut stop, &mut trip).await,
        Some(Err(Stop::Failed(finding, _))) => Ending::Failed(finding),
        Some(Err(Stop::Undecided(why, _))) => Ending::Undecided(why),
        None => stopped(),
    };
    conclude(&order, ending, trip)
}

/// How it ended.
enum Ending {
    Pulled,
    Present(String),
    Failed(Finding),
    Undecided(String),
}

/// What is counted on the way.
#[derive(Default)]
struct Trip {
    took: Duration,
    bytes: u64,
    /// Why something stays on the node.
    left: Option<String>,
}

fn conclude(order: &Order<'_>, ending: Ending, trip: Trip) -> Checked<()> {
    let (outcome, mut message) = match &ending {
        Ending::Pulled => (PullOutcome::Pulled, String::new()),
        Ending::Present(why) => (PullOutcome::Present, why.clone()),
        Ending::Failed(finding) => (PullOutcome::Failed, finding.text.clone()),
        Ending::Undecided(why) => (PullOutcome::Undecided, why.clone()),
    };
    if let Some(left) = &trip.left {
        let join = if message.is_empty() { "" } else { "; " };
        message = format!("{message}{join}not cleaned up: {left}");
    }
    let mut detail = match ending {
        Ending::Pulled => {
            format!("{} in {:.2} s", disk::size_text(trip.bytes), trip.took.as_secs_f32())
        }
        _ => String::new(),
    };
    if let (Ending::Pulled, Some(left)) = (&ending, &trip.left) {
        detail.push_str(&format!("; not cleaned up: {left}"));
    }
    let report = PullReport {
        image: safe::clean(order.image, safe::MAX_TEXT),
        via: VIA,
        outcome,
        bytes: trip.bytes,
        took: trip.took,
        message: safe::clean(&message, safe::MAX_TEXT),
    };
    let seen = Seen { fact: Some(Fact::Pull(report)), ..Seen::detail(detail) };
    match ending {
        Ending::Pulled => Ok(Pass::new((), seen)),
        Ending::Failed(finding) => Err(Stop::Failed(finding, seen)),
        Ending::Present(_) | Ending::Undecided(_) => Err(Stop::Undecided(message, seen)),
    }
}

// === Before the pull ===

/// A node on which a pull may be tried, and what was on it before.
struct Ready {
    node: Node,
    before: Before,
    ingests: Vec<Ingest>,
}

async fn prepare(order: &Order<'_>) -> Result<Ready, Stop> {
    // containerd 1.6 dies of a pull onto a read-only disk; an unseen disk may be one.
    match disk::measure_within(order.content, order.snapshots, order.disk, DISK_PATIENCE).await {
        Ok(_) => {}
        Err(Stop::Failed(finding, _)) => {
            return Err(undecided(format!("no test pull onto this disk: {}", finding.text)));
        }
        Err(Stop::Undecided(why, _)) => {
            return Err(undecided(format!("no test pull onto a disk that is not to be seen: {why}")));
        }
    }
    let look = async {
        let node = Node::connect(order.socket).await?;
        let before = Before::look(&node).await.map_err(|status| unready(order, &status))?;
        let ingests = content::ingests(&node).await.map_err(|status| unready(order, &status))?;
        Ok(Ready { node, before, ingests })
    };
    timeout(BEFORE_PATIENCE, look)
        .await
        .unwrap_or_else(|_| Err(super::runtime::unanswered(order.socket, BEFORE_PATIENCE)))
}

fn unready(order: &Order<'_>, status: &Status) -> Stop {
    let place = order.socket.display();
    if status.code() == Code::Unimplemented {
        return undecided(format!(
            "no CRI answers on {place}, so there is no pull like the kubelet's to try"
        ));
    }
    let text = format!("containerd did not list its images: {}", words(status));
    Finding::new(grpc::no_answer(), text).at(place.to_string()).into()
}

// === The pull ===

/// How the call ended.
enum Call {
    Answered(Result<Response<PullImageResponse>, Status>),
    Late(Standing),
    Stopped,
}

async fn run<S: Future<Output = ()>>(
    order: &Order<'_>,
    ready: &Ready,
    stop: &mut Stopper<'_, S>,
    trip: &mut Trip,
) -> Ending {
    let since = SystemTime::now();
    let began = Instant::now();
    let call = call(order, ready, stop, since).await;
    trip.took = began.elapsed();
    let ending = match call {
        Call::Answered(Ok(answer)) => {
            let id = answer.into_inner().image_ref;
            stop.or(judge(order, ready, &id, since, trip)).await.unwrap_or_else(stopped)
        }
        Call::Answered(Err(status)) => Ending::Failed(refused(order, &status)),
        Call::Late(standing) => late(order, &standing),
        Call::Stopped => stopped(),
    };
    if !matches!(ending, Ending::Pulled | Ending::Present(_)) {
        sleep(SETTLE).await;
    }
    let sweep = timeout(CLEANUP_PATIENCE, cleanup::sweep(&ready.node, &ready.before, order.image));
    trip.left = match stop.within_grace(sweep).await {
        Some(Ok(Ok(()))) => None,
        Some(Ok(Err(why))) => Some(why),
        Some(Err(_)) | None => Some("containerd did not remove it in time".to_owned()),
    };
    ending
}

async fn call<S: Future<Output = ()>>(
    order: &Order<'_>,
    ready: &Ready,
    stop: &mut Stopper<'_, S>,
    since: SystemTime,
) -> Call {
    let mut images = ready.node.images();
    let mut request = Request::new(PullImageRequest {
        image: Some(ImageSpec { image: order.image.to_owned() }),
        auth: order.credentials.map(|credentials| auth(credentials, order.registry)),
    });
    // For containerd, should this process hang: our own deadline below comes first, so that the call still runs, and
    // its traces are still in the store, when we look where it stands.
    request.set_timeout(order.limit + order.limit / 10 + Duration::from_secs(2));
    let mut answer = pin!(images.pull_image(request));
    let mut watch = Watch::new(ready.ingests.clone());
    let began = Instant::now();
    tokio::select! {
        biased;
        answer = &mut answer => return Call::Answered(answer),
        () = stop.fired() => return Call::Stopped,
        () = sleep(order.limit) => {}
        () = follow(&ready.node, &mut watch, began) => {}
    }
    let look_patience = (order.limit / 20).clamp(Duration::from_millis(100), Duration::from_secs(2));
    let look = content::known(&ready.node, order.image, since);
    let known = timeout(look_patience, look).await.ok().and_then(Result::ok).unwrap_or_default();
    Call::Late(watch.standing(&known, began.elapsed()))
}

/// Lists the ingests again and again; it never ends by itself. A list that fails leaves the last one standing.
async fn follow(node: &Node, watch: &mut Watch, began: Instant) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(list) = content::ingests(node).await {
            watch.note(began.elapsed(), list);
        }
    }
}

/// What containerd is to send. `server_address` keeps it from giving the credentials to a mirror: without it, every
/// host that it asks for this image gets them.
fn auth(credentials: &Credentials, registry: &str) -> AuthConfig {
    let server_address = names::server(registry);
    match credentials {
        Credentials::Password { username, password } => AuthConfig {
            username: username.clone(),
            password: password.expose().to_owned(),
            server_address,
            ..AuthConfig::default()
        },
        Credentials::IdentityToken(token) => {
            AuthConfig { identity_token: token.expose().to_owned(), server_address, ..AuthConfig::default() }
        }
    }
}

// === What it came to ===

async fn judge(order: &Order<'_>, ready: &Ready, id: &str, since: SystemTime, trip: &mut Trip) -> Ending {
    let look = timeout(CONTENT_PATIENCE, content::fetched(&ready.node, order.image, id, since)).await;
    let bytes = look.map_err(|_| "containerd did not tell in time".to_owned());
    match bytes.and_then(|bytes| bytes.map_err(|status| status.message().to_owned())) {
        Ok(0) => Ending::Present(
            "the image's content was on the node already: the pull fetched nothing and proves nothing beyond the \
             manifest's request"
                .to_owned(),
        ),
        Ok(bytes) => {
            trip.bytes = bytes;
            if ready.before.had(id) {
                return Ending::Present(
                    "the image was on the node already under another name: its layers need not have been \
                     fetched, so the pull proves nothing beyond the manifest"
                        .to_owned(),
                );
            }
            Ending::Pulled
        }
        Err(why) => Ending::Undecided(format!("the pull went well, but what it fetched is not known: {why}")),
    }
}

fn refused(order: &Order<'_>, status: &Status) -> Finding {
    if std::error::Error::source(status).is_some() {
        // Made on this side: the connection to containerd broke. Its words are not a registry's.
        let text = format!("containerd went away in mid-pull: {}", words(status));
        return Finding::new(grpc::no_answer(), text).at(order.socket.display().to_string());
    }
    let cause = grpc::pull(status.code(), status.message());
    let words = text::redact(own_words(status.message()));
    Finding::new(cause, format!("containerd could not pull {}: {words}", order.image)).at(order.registry)
}

/// The message without the prefix that only repeats the reference: texts are cut at the end, where the cause is.
fn own_words(message: &str) -> &str {
    message
        .strip_prefix("failed to pull and unpack image \"")
        .and_then(|rest| rest.split_once("\": "))
        .map_or(message, |(_, words)| words)
}

fn late(order: &Order<'_>, standing: &Standing) -> Ending {
    let words = format!(
        "the pull of {} did not end within {} s: {}",
        order.image,
        order.limit.as_secs_f32(),
        standing.words()
    );
    match standing {
        Standing::Waits(_) => Ending::Undecided(words),
        Standing::Unpacking => Ending::Failed(Finding::new(grpc::unpacking_deadline(), words)),
        _ => Ending::Failed(Finding::new(grpc::deadline(), words).at(order.registry)),
    }
}

fn stopped() -> Ending {
    Ending::Undecided("the agent was told to end in mid-pull".to_owned())
}

// === impl Stopper ===

/// The signal to end, which may be awaited at several places.
struct Stopper<'a, S> {
    signal: Pin<&'a mut S>,
    fired: bool,
}

impl<S: Future<Output = ()>> Stopper<'_, S> {
    async fn fired(&mut self) {
        if !self.fired {
            self.signal.as_mut().await;
            self.fired = true;
        }
    }

    /// `work`, unless the signal comes first.
    async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.fired() => None,
        }
    }

    /// `work`, which the signal leaves [`GRACE`].
    async fn within_grace<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let end = async {
            self.fired().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = end => None,
        }
    }
}

#[cfg(test)]
mod tests;
