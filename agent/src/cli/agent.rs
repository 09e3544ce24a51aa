//! `pullscope agent`: the daemon. Joins the acting wing to the knowing one by a channel, and serves.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use pullscope::config::Config;
use pullscope::export::http::{self, Sources};
use pullscope::export::log::Log;
use pullscope::ledger::{Ledger, Policy};
use pullscope::model::Evidence;
use pullscope::schedule::{self, Pulse};
use pullscope::walk::{Clock, Walker};
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
    let schedule = schedule::run(config, walker, sender, pulse, stopped);
    let write = write(ledger, receiver, publish, clock);
    tokio::select! {
        () = async { tokio::join!(stop_on_signal, schedule); } => {}
        () = write => {}
        () = http::serve(listener, sources) => {}
    }
    tracing::info!("the agent ends");
    Ok(())
}

/// The ledger's one writer.
async fn write(
    mut ledger: Ledger,
    mut evidence: mpsc::Receiver<Evidence>,
    publish: watch::Sender<Arc<Ledger>>,
    clock: Clock,
) {
    let mut log = Log::default();
    while let Some(seen) = evidence.recv().await {
        ledger.record(seen);
        log.tell(&ledger.view(clock.now()));
        publish.send_replace(Arc::new(ledger.clone()));
    }
}
