//! What was seen: one [`Evidence`] per subject, lane and round.

use std::time::{Duration, SystemTime};

use super::{Cause, Lane, Reading, RegistryHost, RegistryName, Stage, text};

/// An instant, twice: by the wall clock for people, and by a clock that never jumps for ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By this node's wall clock.
    pub wall: SystemTime,
    /// Since the process began, by the monotonic clock.
    pub since_start: Duration,
}

impl Moment {
    /// How long before `later` this was; zero when it was not before.
    pub fn age(&self, later: Moment) -> Duration {
        later.since_start.saturating_sub(self.since_start)
    }
}

/// Whether an endpoint is the registry itself or a mirror of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A mirror, asked before the registry.
    Mirror,
    /// The registry itself, asked last.
    Registry,
}

impl Role {
    /// The label in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Role::Mirror => "mirror",
            Role::Registry => "registry",
        }
    }
}

/// Whom the evidence is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The node itself.
    Node,
    /// One endpoint of a registry, by its base URL (`https://registry-1.docker.io`).
    Endpoint {
        /// The registry that it serves.
        registry: RegistryName,
        /// Its base URL.
        url: String,
        /// Whether it is the registry itself.
        role: Role,
    },
    /// A registry as containerd sees it: what it is told of it (the node lane), and a pull.
    Registry(RegistryName),
}

impl Subject {
    /// The registry in question, if it is not the node.
    pub fn registry(&self) -> Option<&RegistryName> {
        match self {
            Subject::Node => None,
            Subject::Endpoint { registry, .. } | Subject::Registry(registry) => Some(registry),
        }
    }
}

/// All that one lane of one subject saw in one round.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Whom it is about.
    pub subject: Subject,
    /// Which lane was walked.
    pub lane: Lane,
    /// When the round ended.
    pub at: Moment,
    /// What each stage saw, in order.
    pub steps: Vec<Step>,
}

impl Evidence {
    /// The stage that failed, with what it found. A lane has at most one on the way, the node lane may have more:
    /// the first counts.
    pub fn failure(&self) -> Option<(&Step, &Finding)> {
        self.steps.iter().find_map(|step| match &step.outcome {
            Outcome::Failed(finding) => Some((step, finding)),
            _ => None,
        })
    }

    /// The stages that passed with a warning.
    pub fn warnings(&self) -> impl Iterator<Item = (&Step, &Finding)> {
        self.steps.iter().filter_map(|step| match &step.outcome {
            Outcome::Warned(finding) => Some((step, finding)),
            _ => None,
        })
    }

    /// The step of `stage`, if the lane came to it.
    pub fn step(&self, stage: Stage) -> Option<&Step> {
        self.steps.iter().find(|step| step.stage == stage)
    }

    /// Why the agent could not look, where it could not.
    pub fn why_undecided(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match &step.outcome {
            Outcome::Undecided(why) => Some(why.as_str()),
            _ => None,
        })
    }

    /// Whether nothing could be decided: no stage passed or failed, and at least one could not look.
    pub fn is_undecided(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.outcome, Outcome::Undecided(_)))
            && !self
                .steps
                .iter()
                .any(|step| matches!(step.outcome, Outcome::Passed | Outcome::Warned(_) | Outcome::Failed(_)))
    }
}

/// What one stage saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The stage.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// What it saw, in a few words; bounded and safe to show. May be empty.
    pub detail: String,
    /// The numbers that it read.
    pub readings: Vec<(Reading, f64)>,
    /// What it learnt that is more than a number.
    pub fact: Option<Fact>,
}

/// How a stage ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All well.
    Passed,
    /// It works, yet something is not as it should be.
    Warned(Finding),
    /// A pull would fail here.
    Failed(Finding),
    /// Not walked: this earlier stage of the lane failed or could not look.
    Skipped(Stage),
    /// The agent itself could not look; it says why, and blames nobody.
    Undecided(String),
}

impl Outcome {
    /// The label in JSON.
    pub const fn label(&self) -> &'static str {
        match self {
            Outcome::Passed => "ok",
            Outcome::Warned(_) => "warn",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped(_) => "skipped",
            Outcome::Undecided(_) => "undecided",
        }
    }

    /// Whether the stage was walked and stops no pull.
    pub const fn is_passed(&self) -> bool {
        matches!(self, Outcome::Passed | Outcome::Warned(_))
    }

    /// The finding of a warning or a failure.
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Outcome::Warned(finding) | Outcome::Failed(finding) => Some(finding),
            _ => None,
        }
    }
}

/// What is wrong, in which words, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is wrong.
    pub cause: Cause,
    /// A plain sentence that ends in the error's own words; for people and logs, never for a label.
    pub text: String,
    /// The host, path or mount point in question; empty where there is none.
    pub place: String,
    /// What to do, where it is more than the cause's own advice.
    pub hint: Option<String>,
    /// Whether the host answered as if all were well, and the answer is what is wrong: the runtime takes such an answer,
    /// and asks no other host (containerd 1.6 to 2.1).
    pub is_taken: bool,
}

impl Finding {
    /// Makes a finding; `text` is cleaned, and keeps its two ends within [`text::MAX_TEXT`] bytes.
    pub fn new(cause: Cause, text: impl AsRef<str>) -> Finding {
        let text = text::clean_ends(text.as_ref(), text::MAX_TEXT);
        Finding { cause, text, place: String::new(), hint: None, is_taken: false }
    }

    /// Says that the answer in question is one that the runtime takes.
    #[must_use]
    pub fn taken(self) -> Finding {
        Finding { is_taken: true, ..self }
    }

    /// Names the host, path or mount point in question.
    #[must_use]
    pub fn at(mut self, place: impl AsRef<str>) -> Finding {
        self.place = text::clean(place.as_ref(), text::MAX_TEXT);
        self
    }

    /// Says what to do, where that is more than the cause's own advice.
    #[must_use]
    pub fn hint(mut self, hint: impl AsRef<str>) -> Finding {
        self.hint = Some(text::clean(hint.as_ref(), text::MAX_TEXT));
        self
    }
}

/// What a stage learnt that is more than a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The runtime on this node.
    Runtime(RuntimeInfo),
    /// What the registry says of its rate limit.
    Quota(Quota),
    /// How the test pull went.
    Pull(PullReport),
    /// Where the runtime asks for the registry, in its order.
    Hosts(Vec<RegistryHost>),
    /// From when to when the server's certificate is valid.
    Validity(Validity),
    /// How far this node's clock is off.
    Clock(ClockOffset),
}

/// From when to when a certificate chain is valid that nothing but this node's clock can be against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: SystemTime,
    /// Its last moment.
    pub until: SystemTime,
    /// Who issued the certificate that is out of its time, or else the server's own.
    pub issuer: String,
    /// That certificate's serial number, as its issuer gave it.
    pub serial: String,
}

impl Validity {
    /// What the true time is ahead of a clock that shows `now`, if the certificate is well.
    pub fn offset(&self, now: SystemTime) -> ClockOffset {
        ClockOffset { least: seconds_between(now, self.from), most: seconds_between(now, self.until) }
    }
}

/// What the true time is ahead of this node's clock, in seconds; negative where that clock runs ahead.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockOffset {
    /// At least.
    pub least: f64,
    /// At most.
    pub most: f64,
}

impl ClockOffset {
    /// Whether both can be true, to within `tolerance`.
    pub fn meets(&self, other: &ClockOffset, tolerance: Duration) -> bool {
        let tolerance = tolerance.as_secs_f64();
        self.least <= other.most + tolerance && other.least <= self.most + tolerance
    }
}

/// How many seconds `to` is after `from`; negative where it is before.
pub fn seconds_between(from: SystemTime, to: SystemTime) -> f64 {
    match to.duration_since(from) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// The runtime on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// `containerd`.
    pub name: String,
    /// As it says itself (`1.7.24~ds1`).
    pub version: String,
    /// The snapshotter that pulls unpack into (`overlayfs`).
    pub snapshotter: String,
}

/// A rate limit as the registry's headers tell it. Every number may be absent: Docker Hub sends empty values on
/// paid plans (hub-feedback#2081).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Pulls per window.
    pub limit: Option<u64>,
    /// Pulls left in this window.
    pub remaining: Option<u64>,
    /// The window's length.
    pub window: Option<Duration>,
    /// Who is counted: an address or an account id, as the registry says.
    pub source: Option<String>,
}

/// How a test pull ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullOutcome {
    /// The image was fetched.
    Pulled,
    /// The content was on the node already: nothing was fetched, and nothing is proved.
    Present,
    /// The pull failed.
    Failed,
    /// No pull was tried, or it could not be.
    Undecided,
}

impl PullOutcome {
    /// Every outcome.
    pub const ALL: [PullOutcome; 4] =
        [PullOutcome::Pulled, PullOutcome::Present, PullOutcome::Failed, PullOutcome::Undecided];

    /// The label in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            PullOutcome::Pulled => "pulled",
            PullOutcome::Present => "present",
            PullOutcome::Failed => "failed",
            PullOutcome::Undecided => "undecided",
        }
    }
}

/// A part of a pull, in order. Through the CRI the first three cannot be told apart while all is well: what they took
/// together stands under [`Phase::Manifest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The manifest's HEAD: which digest a tag means.
    Resolve,
    /// The registry has asked for a token or a password.
    Token,
    /// The index and the manifest.
    Manifest,
    /// The image's configuration.
    Config,
    /// The layers; the configuration's time is among theirs, as they are fetched side by side.
    Layers,
    /// What was fetched becomes snapshots, as far as that is not done beside fetching.
    Unpack,
}

impl Phase {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Token => "token",
            Phase::Manifest => "manifest",
            Phase::Config => "config",
            Phase::Layers => "layers",
            Phase::Unpack => "unpack",
        }
    }
}

/// How the test pull went.
#[derive(Clone, Debug, PartialEq)]
pub struct PullReport {
    /// The image reference.
    pub image: String,
    /// Through which of containerd's services (`cri`, `transfer`).
    pub via: &'static str,
    /// How it ended.
    pub outcome: PullOutcome,
    /// Bytes fetched, compressed.
    pub bytes: u64,
    /// How long the pull itself took.
    pub took: Duration,
    /// How long each part of it took, in order, as far as it came.
    pub phases: Vec<(Phase, Duration)>,
    /// The error, or what is to be known of the result; bounded and safe to show.
    pub message: String,
}
