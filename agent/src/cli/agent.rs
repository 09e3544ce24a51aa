//! `pullscope agent`: the daemon. Joins the acting wing to the knowing one by a channel, and serves.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pullscope::config::Config;
use pullscope::export::http::{self, Sources};
use pullscope::export::log::Log;
use pullscope::ledger::{Ledger, Policy};
use pullscope::model::{Evidence, Look, News, Workloads};
use pullscope::schedule::{self, Pulse};
use pullscope::walk::{Clock, Walker};
use pullscope::workloads::{self, Watching};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::{UNDECIDED, block_on, complain, load, usage, watched};

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

/// Evidence on its way to the ledger; the writer is never slow, so a few rounds' worth is plenty.
const EVIDENCE_UNDER_WAY: usize = 64;

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let config = match load(Some(&arguments.config)) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match block_on(serve(&config)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problem)) => usage(&problem),
        Err(error) => {
            complain(&format!("pullscope: cannot start: {error}"));
            ExitCode::from(UNDECIDED)
        }
    }
}

async fn serve(config: &Config) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("cannot hear SIGTERM: {e}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("cannot hear SIGINT: {e}"))?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|e| format!("listen: {}: {e}", config.listen))?;
    let clock = Clock::start();
    let walker = Arc::new(Walker::new(config, clock));
    let policy = Policy::agent(config.interval, schedule::pull_period(&config.pull));
    let ledger = Ledger::new(policy, watched(&walker));

    let (publish, published) = watch::channel(Arc::new(ledger.clone()));
    let (sender, receiver) = mpsc::channel(EVIDENCE_UNDER_WAY);
    let (stop, stopped) = watch::channel(false);
    let pulse = Arc::new(Pulse::new(config.interval));
    let alive = Arc::clone(&pulse);
    let sources = Arc::new(Sources {
        node: config.node.clone(),
        ledger: Box::new(move || Arc::clone(&published.borrow())),
        now: Box::new(move || clock.now()),
        alive: Box::new(move || alive.is_alive()),
    });
    tracing::info!(node = config.node, listen = %config.listen, registries = config.registries.len(), "the agent runs");

    if let Some(note) = schedule::stretched(&config.pull) {
        tracing::warn!("{note}");
    }

    let stop_on_signal = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The receivers live as long as the scheduler, which is awaited beside.
        let _ = stop.send(true);
    };
    let sweeper = Arc::clone(&walker);
    tokio::spawn(async move { sweeper.sweep().await });
    let looker = Arc::clone(&walker);
    let schedule = schedule::run(config, walker, sender, pulse, stopped);
    let pods = pods(config, &looker, clock);
    let write = write(ledger, Seen { evidence: receiver, pods }, publish, clock);
    tokio::select! {
        () = async { tokio::join!(stop_on_signal, schedule); } => {}
        () = write => {}
        () = http::serve(listener, sources) => {}
    }
    tracing::info!("the agent ends");
    Ok(())
}

/// Looks at pods' images that wait for the writer.
const LOOKS_UNDER_WAY: usize = 8;
/// News for pods that wait to be told; more are not told, and stand in the report.
const NEWS_UNDER_WAY: usize = 32;
/// From one Event to the next.
const EVENT_GAP: Duration = Duration::from_secs(5);

/// What comes of watching this node's pods.
struct Pods {
    workloads: watch::Receiver<Option<Arc<Workloads>>>,
    looks: mpsc::Receiver<Look>,
    /// Whom pods are told by, where they are.
    herald: Option<mpsc::Sender<News>>,
}

/// Everything that the ledger is written from.
struct Seen {
    evidence: mpsc::Receiver<Evidence>,
    pods: Option<Pods>,
}

/// Watches this node's pods, where the configuration does not say otherwise, and looks at the images they wait for.
fn pods(config: &Config, walker: &Arc<Walker>, clock: Clock) -> Option<Pods> {
    let watching = Arc::new(Watching::of(config)?);
    let (publish, workloads) = watch::channel(None);
    let (sender, looks) = mpsc::channel(LOOKS_UNDER_WAY);
    let following = Arc::clone(&watching);
    tokio::spawn(async move { workloads::watch(&following, &move || clock.now(), &publish).await });
    let (config_of_looks, walker, wanted) = (config.clone(), Arc::clone(walker), workloads.clone());
    tokio::spawn(async move { schedule::looks(&config_of_looks, walker, wanted, sender).await });
    let herald = config.workloads.events.then(|| {
        let (sender, news) = mpsc::channel(NEWS_UNDER_WAY);
        tokio::spawn(async move { workloads::post(&watching, EVENT_GAP, news).await });
        sender
    });
    Some(Pods { workloads, looks, herald })
}

/// The ledger's one writer.
async fn write(mut ledger: Ledger, mut seen: Seen, publish: watch::Sender<Arc<Ledger>>, clock: Clock) {
    let mut log = Log::default();
    while seen.next(&mut ledger).await {
        let view = ledger.view(clock.now());
        log.tell(&view);
        let news = log.tell_pods(view.workloads.as_ref(), view.at);
        if let Some(herald) = seen.pods.as_ref().and_then(|pods| pods.herald.as_ref()) {
            // What does not fit stands in the report.
            news.into_iter().for_each(|news| drop(herald.try_send(news)));
        }
        publish.send_replace(Arc::new(ledger.clone()));
    }
}

// === impl Seen ===

impl Seen {
    /// Writes what comes next, and says whether anything may follow.
    async fn next(&mut self, ledger: &mut Ledger) -> bool {
        let Some(pods) = &mut self.pods else {
            return self.evidence.recv().await.map(|evidence| ledger.record(evidence)).is_some();
        };
        tokio::select! {
            evidence = self.evidence.recv() => match evidence {
                Some(evidence) => ledger.record(evidence),
                None => return false,
            },
            Some(look) = pods.looks.recv() => ledger.record_look(look),
            Ok(()) = pods.workloads.changed() => {
                ledger.record_workloads(pods.workloads.borrow_and_update().clone());
            }
        }
        true
    }
}
