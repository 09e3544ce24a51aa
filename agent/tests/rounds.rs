//! Rounds on a real clock: what a registry that says nothing comes to, what comes of one that flaps, and what a pull
//! waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pullscope::config::load;
use pullscope::ledger::{Ledger, Policy, Watched};
use pullscope::model::{Evidence, Lane, Outcome, RegistryHost, RegistryName, Role, Stage};
use pullscope::schedule::{Pulse, run};
use pullscope::walk::{Clock, Walker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

#[tokio::test]
async fn a_registry_that_never_answers_has_a_verdict_though_a_stage_may_take_the_whole_interval() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = listener.local_addr().unwrap();
    let text = format!(
        "interval: 1s\ntimeout: 1s\nnode: n1\npull: {{via: \"off\"}}\n\
         registries:\n  - name: \"{name}\"\n    plain_http: true\n"
    );
    let config = load(&text, &|path| std::fs::read(path)).unwrap();
    let walker = Arc::new(Walker::new(&config, Clock::start()));
    let (sender, mut receiver) = mpsc::channel::<Evidence>(64);
    let (_stop, stopped) = watch::channel(false);
    let wire = async {
        loop {
            let evidence = receiver.recv().await.expect("the scheduler runs");
            if evidence.lane == Lane::Wire {
                return evidence;
            }
        }
    };
    let seen = tokio::select! {
        () = run(&config, walker, sender, Arc::new(Pulse::new(config.interval)), stopped) => None,
        seen = tokio::time::timeout(Duration::from_secs(10), wire) => seen.ok(),
    };
    let seen = seen.expect("a round has ended within ten seconds");
    let ping = seen.step(Stage::Ping).expect("it was walked");
    assert!(matches!(ping.outcome, Outcome::Failed(_)), "{:?}", ping.outcome);
}

#[tokio::test]
async fn no_test_pull_is_made_before_the_wire_lane_has_seen_the_quota() {
    let text = "timeout: 500ms\ncontainerd: {socket: /nonexistent/c.sock}\n\
                registries:\n  - {name: \"127.0.0.1:1\", image: \"127.0.0.1:1/a:1\"}\n";
    let config = load(text, &|path| std::fs::read(path)).unwrap();
    let walker = Arc::new(Walker::new(&config, Clock::start()));
    let target = Arc::clone(&walker.targets()[0]);
    let mut pull = Box::pin(Arc::clone(&walker).pull(Arc::clone(&target), std::future::pending()));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut pull).await.is_err(), "it did not wait");
    let (sender, _receiver) = mpsc::channel(64);
    Arc::clone(&walker).wires(target, sender).await;
    let seen = tokio::time::timeout(Duration::from_secs(10), pull).await.expect("it waits no longer");
    assert!(matches!(seen.steps[0].outcome, Outcome::Undecided(_)), "{:?}", seen.steps);
}

/// A registry that answers its nth ping as `is_well` says, and where it listens.
async fn registry(is_well: fn(u32) -> bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let name = listener.local_addr().expect("it is bound").to_string();
    let pings = Arc::new(AtomicU32::new(0));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let pings = Arc::clone(&pings);
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while let Ok(1..) = stream.read(&mut request).await {
                    let status = match is_well(pings.fetch_add(1, Ordering::Relaxed)) {
                        true => "200 OK",
                        false => "503 Service Unavailable",
                    };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    name
}

/// What the agent shows after each of so many rounds of a registry, a second each, and since when.
async fn shown(is_well: fn(u32) -> bool, rounds: usize) -> Vec<(String, Option<std::time::SystemTime>)> {
    let name = registry(is_well).await;
    let text = format!(
        "interval: 1s\ntimeout: 1s\nnode: n1\npull: {{via: \"off\"}}\ncontainerd: {{socket: /nonexistent/c.sock}}\n\
         registries:\n  - name: \"{name}\"\n    plain_http: true\n"
    );
    let config = load(&text, &|path| std::fs::read(path)).expect("a good configuration");
    let clock = Clock::start();
    let walker = Arc::new(Walker::new(&config, clock));
    let (sender, mut receiver) = mpsc::channel::<Evidence>(64);
    let (_stop, stopped) = watch::channel(false);
    let registry = RegistryName::new(&name);
    let hosts = vec![RegistryHost::new(format!("http://{name}"), Role::Registry)];
    let policy = Policy::agent(config.interval, config.pull.interval);
    let mut ledger = Ledger::new(policy, vec![Watched { registry, hosts }]);
    let listen = async {
        let mut shown = Vec::new();
        while shown.len() < rounds {
            let evidence = receiver.recv().await.expect("the scheduler runs");
            let is_round = evidence.lane == Lane::Wire;
            ledger.record(evidence);
            if is_round {
                let view = ledger.view(clock.now());
                let verdict = view.registries[0].verdict.as_ref();
                shown.push((view.registries[0].status.label().to_owned(), verdict.map(|v| v.since)));
            }
        }
        shown
    };
    tokio::select! {
        () = run(&config, walker, sender, Arc::new(Pulse::new(config.interval)), stopped) => panic!("it ended"),
        shown = tokio::time::timeout(Duration::from_secs(60), listen) => shown.expect("the rounds go on"),
    }
}

#[tokio::test]
async fn a_registry_that_fails_every_second_round_is_steadily_degraded() {
    let shown = shown(|ping| ping % 2 == 1, 8).await;
    let (first, rest) = shown.split_first().unwrap();
    assert_eq!(first.0, "degraded");
    assert!(rest.iter().all(|one| one == first), "{shown:?}");
}

#[tokio::test]
async fn a_registry_that_was_down_is_healthy_after_two_good_rounds() {
    let shown = shown(|ping| !(1..4).contains(&ping), 6).await;
    let statuses: Vec<&str> = shown.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["healthy", "degraded", "failing", "failing", "failing", "healthy"]);
}
