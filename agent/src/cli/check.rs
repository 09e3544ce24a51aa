//! `pullscope check`: looks once, now.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pullscope::config::{Config, Registry, Via};
use pullscope::export::{report, text};
use pullscope::ledger::{Ledger, Policy, View};
use pullscope::model::{Cause, Evidence, Finding, Lane, RegistryName, Role, Status, Subject, Target};
use pullscope::walk::{self, Clock, Walker};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{
    FAILING, Output, UNDECIDED, block_on, columns, complain, load, paint, print, unprinted, usage, watched,
};

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Registries (quay.io) or images (quay.io/org/app:1). None: all that the configuration names, else what this node
    /// pulls from.
    target: Vec<String>,
    /// The configuration file; without one the defaults hold.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A table for people, or the report as JSON.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Pull the images that are given by hand, too.
    #[arg(long, conflicts_with = "no_pull")]
    pull: bool,
    /// Pull nothing.
    #[arg(long)]
    no_pull: bool,
}

/// How many registries are looked at side by side: at up to 16 connections each they stay under the 1,024 files that a
/// process may have open by default.
const WALKS_AT_ONCE: usize = 50;

/// The test pull of a registry where something hangs ends so long after one stage's time-out: a small image comes in less
/// where containerd has another way than this agent, and who asks for a verdict has one about then.
const PULL_GRACE: Duration = Duration::from_millis(1400);

/// Looks at every target, prints what it saw and ends with the code that says it.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let config = match load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let (config, by_hand) = match narrow(config, &arguments.target) {
        Ok(narrowed) => narrowed,
        Err(problem) => return usage(&problem),
    };
    let pulls = |name: &RegistryName| match (arguments.no_pull, arguments.pull) {
        (true, _) => false,
        (_, true) => true,
        _ => !by_hand.contains(name),
    };
    match block_on(look(&config, pulls)) {
        Ok(Ok((ledger, clock))) => {
            let view = ledger.view(clock.now());
            match show(&config.node, &view, arguments.output) {
                Ok(()) => code(&view),
                Err(error) => unprinted(&error, code(&view), UNDECIDED),
            }
        }
        Ok(Err(problem)) => usage(&problem),
        Err(error) => {
            complain(&format!("pullscope: cannot start: {error}"));
            ExitCode::from(UNDECIDED)
        }
    }
}

/// Keeps what was asked for, in its order; the second value names the registries whose image was given by hand.
fn narrow(mut config: Config, targets: &[String]) -> Result<(Config, Vec<RegistryName>), String> {
    let mut by_hand = Vec::new();
    if targets.is_empty() {
        return Ok((config, by_hand));
    }
    let mut registries: Vec<Registry> = Vec::new();
    for text in targets {
        let target = Target::parse(text).map_err(|error| format!("{text}: {error}"))?;
        let registry = config.target(&target);
        if registries.iter().any(|r| r.name == registry.name) {
            return Err(format!("{text}: {} is given twice; check its images one by one", registry.name));
        }
        if matches!(target, Target::Image(_)) {
            by_hand.push(registry.name.clone());
        }
        registries.push(registry);
    }
    config.registries = registries;
    config.discover = false;
    Ok((config, by_hand))
}

/// Walks the wire lanes side by side, then the node's, then pulls one image after the other; last those that may hang.
async fn look(config: &Config, pulls: impl Fn(&RegistryName) -> bool) -> Result<(Ledger, Clock), String> {
    let clock = Clock::start();
    let until = Instant::now() + config.timeout + PULL_GRACE;
    let walker = Arc::new(Walker::new(config, clock));
    walker.survey().await;
    walker.discover().await;
    let mut ledger = Ledger::new(Policy::ONCE, watched(&walker));
    let targets = walker.targets();
    let images: Vec<&Arc<walk::Target>> = targets
        .iter()
        .filter(|t| config.pull.via != Via::Off && t.test_image().is_some() && pulls(t.name()))
        .collect();
    let mut progress = Progress::new(targets.len() + 1 + images.len());

    let (sender, mut receiver) = mpsc::channel(WALKS_AT_ONCE);
    let mut wires = JoinSet::new();
    let places = Arc::new(Semaphore::new(WALKS_AT_ONCE));
    for target in &targets {
        let walk = Arc::clone(&walker).wires(Arc::clone(target), sender.clone());
        let (places, target, interval) = (Arc::clone(&places), Arc::clone(target), config.interval);
        wires.spawn(async move {
            let _place = places.acquire().await.expect("the semaphore is never closed");
            // Who asks once may read the manifest once.
            target.grant_for(interval);
            walk.await;
        });
    }
    drop(sender);
    // Ends when the last walk has dropped its sender.
    while let Some(evidence) = receiver.recv().await {
        progress.record(&mut ledger, evidence);
    }
    while let Some(walked) = wires.join_next().await {
        if let Err(panic) = walked {
            tracing::error!(%panic, "a walk panicked; its registry stays unknown");
        }
    }
    // After the wires, so that the registries' clocks are known.
    let evidence = Arc::clone(&walker).node().await;
    progress.record(&mut ledger, evidence);
    let interrupted = interrupted();
    let doubtful = doubtful(&ledger.view(clock.now()));
    let (hang, end): (Vec<_>, Vec<_>) =
        images.into_iter().partition(|target| doubtful.contains(target.name()));
    let pulls = end.into_iter().map(|target| (target, None));
    for (target, until) in pulls.chain(hang.into_iter().map(|target| (target, Some(until)))) {
        progress.say(&format!("pulling {}", target.image().map_or("", |image| &image.reference)));
        let stop = heard(interrupted.clone());
        let evidence = Arc::clone(&walker).pull_until(Arc::clone(target), stop, until).await;
        progress.record(&mut ledger, evidence);
        if *interrupted.borrow() {
            break;
        }
    }
    progress.end();
    Ok((ledger, clock))
}

/// The registries whose pull may hang, and is not to be waited for: those that fail already, and those where something on
/// the way does not answer. containerd waits half a minute for each of its requests then, or without end.
fn doubtful(view: &View<'_>) -> Vec<RegistryName> {
    let is_silence = |finding: &Finding| {
        matches!(
            finding.cause,
            Cause::DnsFailure | Cause::ConnectTimeout | Cause::TlsTimeout | Cause::TransferTimeout
        )
    };
    let is_silent =
        |wire: &Evidence| wire.steps.iter().filter_map(|step| step.outcome.finding()).any(is_silence);
    let registries = view.registries.iter().filter(|registry| {
        registry.status == Status::Failing || registry.endpoints.iter().filter_map(|e| e.wire).any(is_silent)
    });
    registries.map(|registry| registry.registry.clone()).collect()
}

/// Turns true at SIGINT or SIGTERM. A pull under way is to take back what it fetched, and no other is to begin.
fn interrupted() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        tokio::select! {
            Ok(()) = tokio::signal::ctrl_c() => {}
            Some(()) = terminate.recv() => {}
            else => return,
        }
        sender.send_replace(true);
    });
    receiver
}

/// Ends when `interrupted` turns true, and never where no signal can be heard.
async fn heard(mut interrupted: watch::Receiver<bool>) {
    if interrupted.wait_for(|is| *is).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn show(node: &str, view: &View<'_>, output: Output) -> io::Result<()> {
    match output {
        Output::Text => print(&text::table(node, view, paint(), columns(&io::stdout()))),
        Output::Json => {
            let json = serde_json::to_string(&report::report(node, view));
            print(&(json.expect("the report has string keys and finite numbers only") + "\n"))
        }
    }
}

fn code(view: &View<'_>) -> ExitCode {
    match view.status {
        Status::Failing => ExitCode::from(FAILING),
        Status::Unknown => ExitCode::from(UNDECIDED),
        Status::Healthy | Status::Degraded => ExitCode::SUCCESS,
    }
}

/// Whether this is the evidence that ends the looking at something.
fn is_last(subject: &Subject, lane: Lane) -> bool {
    match subject {
        Subject::Node => true,
        Subject::Endpoint { role, .. } => *role == Role::Registry,
        Subject::Registry(_) => lane == Lane::Pull,
    }
}

/// One line on a terminal that says how far it is; nothing elsewhere.
struct Progress {
    done: usize,
    all: usize,
    shown: bool,
}

impl Progress {
    fn new(all: usize) -> Progress {
        let progress = Progress { done: 0, all, shown: io::stderr().is_terminal() };
        progress.say("looking");
        progress
    }

    fn record(&mut self, ledger: &mut Ledger, evidence: Evidence) {
        // Of a registry, its own endpoint counts: how many mirrors there are is not known before.
        self.done += usize::from(is_last(&evidence.subject, evidence.lane));
        let who = evidence.subject.registry().map_or("the node", |r| r.as_str());
        self.say(&format!("{who}: {}", evidence.lane.label()));
        ledger.record(evidence);
    }

    fn say(&self, what: &str) {
        if self.shown {
            // Back to the first column, and clear to the end of the line.
            let head = format!("[{}/{}] ", self.done, self.all);
            // A line that the terminal breaks could not be taken back.
            let room = columns(&io::stderr()).saturating_sub(head.len() + 1);
            let what = pullscope::model::text::clean(what, room);
            let _ = write!(io::stderr(), "\r\u{1b}[K{head}{what}");
        }
    }

    fn end(&self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}
