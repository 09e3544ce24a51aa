//! One table of causes feeds all that is shown: wherever a cause is told, it is in the same words.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pullscope::export::log::Log;
use pullscope::export::text::Paint;
use pullscope::export::{metrics, page, report, text};
use pullscope::ledger::{Ledger, Policy, View, Watched};
use pullscope::model::{
    Cause, ContainerKind, Evidence, Finding, ImageReference, Lane, LastError, Moment, Outcome, RegistryHost,
    RegistryName, Role, Stage, Step, Subject, Trouble, Verdict, WaitingReason, Workloads,
};
use serde_json::Value;

fn at(seconds: u64) -> Moment {
    let since_start = Duration::from_secs(seconds);
    Moment { wall: SystemTime::UNIX_EPOCH + since_start, since_start }
}

/// What one stage of a registry has seen.
fn seen(host: &str, outcome: Outcome) -> Evidence {
    let (took, detail, readings) = (Duration::ZERO, String::new(), Vec::new());
    let step = Step { stage: Stage::Ping, outcome, took, detail, readings, fact: None };
    let (registry, url) = (RegistryName::new(host), format!("https://{host}"));
    let subject = Subject::Endpoint { registry, url, role: Role::Registry };
    Evidence { subject, lane: Lane::Wire, at: at(5), steps: vec![step] }
}

/// A healthy registry beside one where this cause holds, and a container that waits for an image of the latter.
fn ledger(cause: Cause) -> Ledger {
    let hosts = |host: &str| vec![RegistryHost::new(format!("https://{host}"), Role::Registry)];
    let watched = ["well.test", "ill.test"]
        .map(|host| Watched { registry: RegistryName::new(host), hosts: hosts(host) });
    let mut ledger = Ledger::new(Policy::ONCE, watched.into());
    ledger.record(seen("well.test", Outcome::Passed));
    let finding = Finding::new(cause, "the stage's words").at("ill.test");
    ledger.record(seen("ill.test", Outcome::Failed(finding)));
    let image = "ill.test/app:1";
    let trouble = Trouble {
        namespace: "shop".into(),
        pod: "web".into(),
        uid: "uid".into(),
        container: "app".into(),
        kind: ContainerKind::Main,
        image: image.into(),
        reference: ImageReference::parse(image).ok(),
        reason: WaitingReason::ErrImagePull,
        message: "the kubelet's words".into(),
        last_error: Some(LastError { finding: Finding::new(cause, "the error's words"), at: at(5) }),
        since: at(4),
    };
    let troubles = vec![Arc::new(trouble)];
    ledger.record_workloads(Some(Arc::new(Workloads { troubles, left_out: 0, max_series: 9 })));
    ledger
}

/// What is told of a verdict in any form, with every space made one.
struct Told(&'static str, String);

impl Told {
    fn says(&self, words: &str) {
        let Told(form, text) = self;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "the {form} does not say {words:?}:\n{text}");
    }
}

/// As HTML has it.
fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A writer that keeps what it is given.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log's lines, as JSON, and what pods are told.
fn logged(view: &View<'_>) -> (Vec<Value>, Vec<String>) {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
    let news = tracing::subscriber::with_default(subscriber.finish(), || {
        let mut log = Log::default();
        log.tell(view);
        log.tell_pods(view.workloads.as_ref(), view.at)
    });
    let bytes = kept.0.lock().unwrap().clone();
    let lines = String::from_utf8(bytes).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, news.into_iter().map(|news| news.message).collect())
}

/// A JSON object's fields that are to be the table's.
fn is_told_in(object: &Value, verdict: &Verdict) {
    let cause = verdict.cause;
    assert_eq!(
        (&object["domain"], &object["cause"]),
        (&cause.domain().label().into(), &cause.label().into())
    );
    assert_eq!((&object["meaning"], &object["advice"]), (&cause.meaning().into(), &verdict.advice().into()));
    assert_eq!(object["fault"], cause.fault().label());
}

fn is_told_alike(cause: Cause) {
    let ledger = ledger(cause);
    let view = ledger.view(at(10));
    let ill = view.registries.iter().find(|registry| registry.registry.as_str() == "ill.test").unwrap();
    let verdict = ill.verdict.as_ref().unwrap();
    let pod = &view.workloads.as_ref().unwrap().failing[0].verdict;
    assert_eq!(verdict.cause, cause);

    let table = Told("table", text::table("n1", &view, Paint::Plain, 80));
    let shown = Told("page", page::node("n1", &view, true));
    let own = Told("registry's page", page::registry(ill, true));
    let scraped = Told("metrics", String::from_utf8(metrics::metrics(&view)).unwrap());
    for verdict in [verdict, pod] {
        let (cause, meaning) = (verdict.cause.to_string(), verdict.cause.meaning());
        for words in [&cause, meaning, &verdict.advice(), verdict.fault().who()] {
            table.says(words);
            shown.says(&escaped(words));
        }
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let (domain, label) = (verdict.domain().label(), verdict.cause.label());
        let advice = quoted(verdict.cause.advice());
        let meaning = quoted(meaning);
        scraped.says(&format!(
            "pullscope_cause_info{{domain=\"{domain}\",cause=\"{label}\",meaning=\"{meaning}\",advice=\"{advice}\"}} 1"
        ));
    }
    let (domain, label) = (cause.domain().label(), cause.label());
    own.says(&escaped(cause.meaning()));
    own.says(&escaped(&verdict.advice()));
    let status = ill.status.label();
    scraped.says(&format!(
        "pullscope_registry_verdict{{registry=\"ill.test\",status=\"{status}\",domain=\"{domain}\",cause=\"{label}\"}} 1"
    ));

    let json = serde_json::to_value(report::report("n1", &view)).unwrap();
    is_told_in(&json["registries"][1]["verdict"], verdict);
    is_told_in(&json["workloads"][0], pod);

    let (lines, events) = logged(&view);
    for (key, told, verdict) in [("registry", "ill.test", verdict), ("pod", "web", pod)] {
        let line = lines.iter().find(|line| line[key] == told).unwrap();
        assert_eq!(line["cause"], verdict.cause.to_string(), "{line}");
        assert_eq!(line["meaning"], verdict.cause.meaning(), "{line}");
        assert_eq!(line["advice"], verdict.advice(), "{line}");
    }
    assert_eq!(events.len(), 1);
    assert!(events[0].len() <= 1024, "{} bytes", events[0].len());
    let event = Told("Event", events[0].clone());
    for words in [&pod.cause.to_string(), pod.fault().who(), pod.cause.meaning(), &pod.advice()] {
        event.says(words);
    }
}

#[test]
fn every_cause_is_told_in_the_same_words_everywhere() {
    for &cause in Cause::ALL {
        // Where others resolve, a name that does not exist is a mistyped one: the other cause of the two.
        if cause != Cause::DnsNotFound {
            is_told_alike(cause);
        }
    }
}

#[test]
fn what_to_do_is_never_cut_from_an_event() {
    let ledger = ledger(Cause::TlsProtocol);
    let view = ledger.view(at(10));
    let verdict = view.registries.iter().find_map(|registry| registry.verdict.as_ref()).unwrap();
    let long = Verdict { summary: "x".repeat(512), hint: Some("do this. ".repeat(56)), ..verdict.clone() };
    let words = long.in_words(1024);
    assert!(words.len() <= 1024 && words.ends_with(&long.advice()), "{words}");
}
