//! How long each query of the dashboard takes with 50 simulated nodes of 20 registries: `./just bench-dashboard`.
//!   bench_dashboard DASHBOARD RULES MINUTES
//!
//! The agent whose text is multiplied is a real one; the nodes are not. An hour is written, and the panels ask for it as
//! Grafana does, a point a minute.

use std::env;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use pullscope_tests::prometheus::dashboard;
use pullscope_tests::prometheus::fleet::Fleet;
use pullscope_tests::prometheus::server::Prometheus;
use pullscope_tests::prometheus::simulated::{self, Size};
use pullscope_tests::{Fallible, binary};
use serde_json::Value;

/// What a query may take.
const LIMIT: Duration = Duration::from_millis(50);

/// How often each is asked; the median counts.
const TRIES: usize = 9;

fn main() -> Fallible<ExitCode> {
    let args: Vec<_> = env::args().skip(1).collect();
    let [board, rules, minutes] = &args[..] else {
        return Err("bench_dashboard DASHBOARD RULES MINUTES".into());
    };
    let board: Value = serde_json::from_str(&fs::read_to_string(board)?)?;
    let size = Size { nodes: 50, registries: 20, minutes: minutes.parse()? };
    let text = of_a_real_agent()?;
    let dir = tempfile::tempdir()?;
    let began = Instant::now();
    let series = simulated::write(&text, "quota.test", size, &dir.path().join("data"))?;
    println!(
        "{series} series of {} nodes × {} registries, {} minutes, written in {:.0} s",
        size.nodes,
        size.registries,
        size.minutes,
        began.elapsed().as_secs_f64()
    );
    let start = || Prometheus::start(Ipv4Addr::new(127, 78, 0, 90).into(), dir.path(), "global: {}\n");
    // Twice: some rules ask for what others have recorded.
    for _ in 0..2 {
        simulated::record(&start()?, Path::new(rules), size, &dir.path().join("data"))?;
    }
    let prometheus = start()?;
    let queries = dashboard::queries(&board, "4m")?;
    let span = Duration::from_secs(size.minutes * 60);
    let mut slow = 0;
    for query in &queries {
        let (took, points) = dashboard::time(query, &prometheus, span, Duration::from_secs(60), TRIES)?;
        let verdict = if took > LIMIT { "SLOW" } else { "ok" };
        slow += usize::from(took > LIMIT);
        let kind = if query.instant { "now" } else { "range" };
        println!(
            "{verdict:<5}{:>7.1} ms  {kind:<6}{points:>5} series  {}",
            took.as_secs_f64() * 1000.0,
            query.panel
        );
    }
    println!("{} queries, {slow} above {} ms", queries.len(), LIMIT.as_millis());
    Ok(if slow == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What an agent serves that has pulled, one of whose pods waits, and whose registry has failed once.
fn of_a_real_agent() -> Fallible<String> {
    let mut fleet = Fleet::start(&binary::find()?)?;
    fleet.close("quota.test")?;
    thread::sleep(Duration::from_secs(3));
    fleet.mend("quota.test")?;
    fleet.pods.tell("ADDED", "web", "quota.test/probe/missing:1", "quota.test/probe/missing:1: not found");
    for _ in 0..60 {
        thread::sleep(Duration::from_secs(1));
        let text = fleet.metrics("n3")?;
        let told = [
            "pullscope_pull_duration_seconds_count{registry=\"quota.test\"",
            "pullscope_pod_pull_failure{",
            "pullscope_registry_verdict{registry=\"quota.test\",status=\"healthy\"",
            "pullscope_quota_remaining{",
        ];
        if told.iter().all(|metric| text.contains(metric)) {
            return Ok(text);
        }
    }
    Err("the agent did not pull within a minute".into())
}
