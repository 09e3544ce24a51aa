//! Rounds on a real clock: what a registry that says nothing comes to, and what a pull waits for.

use std::sync::Arc;
use std::time::Duration;

use pullscope::config::load;
use pullscope::model::{Evidence, Lane, Outcome, Stage};
use pullscope::schedule::{Pulse, run};
use pullscope::walk::{Clock, Walker};
use tokio::sync::{mpsc, watch};

#[tokio::test]
async fn a_registry_that_never_answers_has_a_verdict_though_a_stage_may_take_the_whole_interval() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
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
