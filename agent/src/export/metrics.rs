//! `/metrics`: the view in Prometheus' text format, computed at each scrape. What the view does not hold has no
//! series: there is no gauge to reset.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use crate::ledger::{self, EndpointView, PULL_BUCKETS, RegistryView, Tallies, View, WorkloadsView};
use crate::model::{Evidence, Outcome, Reading, Stage, Status, Step, Verdict};

const PREFIX: &str = "pullscope_";

/// What Prometheus wants in the `Content-Type` header.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The families of one scrape.
#[derive(Default)]
struct Scrape(BTreeMap<&'static str, MetricFamily>);

type Labels<'a> = &'a [(&'static str, &'a str)];

/// Writes the view.
pub fn metrics(view: &View<'_>) -> Vec<u8> {
    let mut scrape = Scrape::default();
    scrape.node(view);
    for registry in &view.registries {
        scrape.registry(registry);
    }
    if let Some(workloads) = &view.workloads {
        scrape.workloads(workloads);
    }
    scrape.words(view);
    scrape.tallies(view.tallies);
    let revision = env!("PULLSCOPE_REVISION");
    scrape.gauge(
        "build_info",
        "Always 1; which build this is.",
        &[("version", env!("CARGO_PKG_VERSION")), ("revision", revision)],
        1.0,
    );
    let mut out = Vec::with_capacity(16 * 1024);
    let process = ProcessCollector::for_self().collect();
    let families: Vec<MetricFamily> = scrape.0.into_values().chain(process).collect();
    // A family that does not encode would be a fault of this file, which the golden test catches: what was
    // written before it is still served.
    if let Err(error) = TextEncoder::new().encode(&families, &mut out) {
        tracing::error!(%error, "the metrics do not encode");
    }
    out
}

// === impl Scrape ===

impl Scrape {
    fn node(&mut self, view: &View<'_>) {
        self.up(
            "node_up",
            "1 when the node is healthy or degraded, 0 when failing; absent when unknown.",
            &[],
            view.status,
        );
        self.verdict(
            "node_verdict",
            "Always 1; what is wrong with the node itself or shared by all its registries.",
            &[],
            view.status,
            view.verdict.as_ref(),
        );
        let Some(node) = view.node else { return };
        self.last_round("", node);
        self.steps("", "", node);
        if let Some(step) = node.step(Stage::Runtime)
            && let Some(up) = up(step)
        {
            self.gauge("runtime_up", "1 when containerd answers, 0 when it does not.", &[], up);
        }
        if let Some(info) = view.runtime {
            let labels = [
                ("name", info.name.as_str()),
                ("version", &info.version),
                ("snapshotter", &info.snapshotter),
            ];
            self.gauge("runtime_info", "Always 1; the runtime on this node.", &labels, 1.0);
        }
    }

    /// The words of every cause that holds now, for alerts to quote: from the closed table, never from outside.
    fn words(&mut self, view: &View<'_>) {
        let registries = view.registries.iter().filter_map(|registry| registry.verdict.as_ref());
        let pods =
            view.workloads.iter().flat_map(|workloads| &workloads.failing).map(|failing| &failing.verdict);
        let causes: BTreeSet<_> =
            view.verdict.iter().chain(registries).chain(pods).map(|v| v.cause).collect();
        for cause in causes {
            let labels = [
                ("domain", cause.domain().label()),
                ("cause", cause.label()),
                ("meaning", cause.meaning()),
                ("advice", cause.advice()),
            ];
            self.gauge(
                "cause_info",
                "Always 1; what a cause means that holds now, and what to do.",
                &labels,
                1.0,
            );
        }
    }

    fn registry(&mut self, view: &RegistryView<'_>) {
        let name = view.registry.as_str();
        let labels = [("registry", name)];
        self.up(
            "registry_up",
            "1 when the registry is healthy or degraded, 0 when failing; absent when unknown.",
            &labels,
            view.status,
        );
        self.verdict(
            "registry_verdict",
            "Always 1; what holds of the registry now.",
            &labels,
            view.status,
            view.verdict.as_ref(),
        );
        for endpoint in &view.endpoints {
            self.endpoint(name, endpoint);
        }
        if let Some(quota) = view.quota {
            let mut tell = |metric, help, value: Option<f64>| {
                if let Some(value) = value {
                    self.gauge(metric, help, &labels, value);
                }
            };
            tell("quota_limit", "Pulls per window that the registry allows.", quota.limit.map(|n| n as f64));
            tell("quota_remaining", "Pulls left in the window.", quota.remaining.map(|n| n as f64));
            tell("quota_window_seconds", "Length of the window.", quota.window.map(|w| w.as_secs_f64()));
        }
        if let Some(pull) = view.pull {
            self.last_round(name, pull);
            self.steps(name, "", pull);
        }
    }

    fn endpoint(&mut self, registry: &str, view: &EndpointView<'_>) {
        let labels = [("registry", registry), ("endpoint", view.url), ("role", view.role.label())];
        self.up(
            "endpoint_up",
            "1 when the endpoint is healthy or degraded, 0 when failing; absent when unknown.",
            &labels,
            view.status,
        );
        let Some(wire) = view.wire else { return };
        if view.role == crate::model::Role::Registry {
            self.last_round(registry, wire);
        }
        self.steps(registry, view.url, wire);
    }

    /// What each stage of a lane saw. Empty labels are those that the subject has not; Prometheus drops them.
    fn steps(&mut self, registry: &str, endpoint: &str, evidence: &Evidence) {
        for step in &evidence.steps {
            let labels = [("registry", registry), ("endpoint", endpoint), ("stage", step.stage.label())];
            if let Some(up) = up(step) {
                self.gauge(
                    "stage_up",
                    "1 when the stage passed, 0 when it failed; absent when it was not walked.",
                    &labels,
                    up,
                );
                self.gauge(
                    "stage_duration_seconds",
                    "How long the stage took in the last round.",
                    &labels,
                    step.took.as_secs_f64(),
                );
            }
            for (reading, value) in &step.readings {
                self.reading(registry, endpoint, *reading, *value);
            }
        }
    }

    fn reading(&mut self, registry: &str, endpoint: &str, reading: Reading, value: f64) {
        let mut labels = Vec::with_capacity(3);
        if !registry.is_empty() {
            labels.extend([("registry", registry), ("endpoint", endpoint)]);
        }
        labels.extend(reading.label());
        self.gauge(reading.metric(), reading.help(), &labels, value);
    }

    /// The containers that wait for their images. A pod counts once for each cause; an empty registry is one that the
    /// image line does not tell.
    fn workloads(&mut self, view: &WorkloadsView<'_>) {
        let mut pods: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (n, failing) in view.failing.iter().enumerate() {
            let (trouble, cause) = (failing.trouble, failing.verdict.cause);
            let registry = trouble.registry().map_or("", |registry| registry.as_str());
            let (domain, cause) = (cause.domain().label(), cause.label());
            pods.entry((registry, domain, cause)).or_default().insert((&trouble.namespace, &trouble.pod));
            if n >= view.max_series {
                continue;
            }
            let labels = [
                ("namespace", trouble.namespace.as_str()),
                ("pod", &trouble.pod),
                ("container", &trouble.container),
                ("registry", registry),
                ("domain", domain),
                ("cause", cause),
            ];
            self.gauge("pod_pull_failure", "Always 1; why a container's image does not come.", &labels, 1.0);
        }
        for ((registry, domain, cause), pods) in pods {
            let labels = [("registry", registry), ("domain", domain), ("cause", cause)];
            self.gauge(
                "pods_failing",
                "Pods of this node that wait for an image.",
                &labels,
                pods.len() as f64,
            );
        }
    }

    fn tallies(&mut self, tallies: &Tallies) {
        for ((registry, lane), count) in &tallies.rounds {
            let labels = [("registry", registry.as_str()), ("lane", lane.label())];
            self.counter("rounds_total", "Rounds walked.", &labels, *count);
        }
        for ((registry, stage, cause), count) in &tallies.failures {
            let labels = [
                ("registry", registry.as_str()),
                ("stage", stage.label()),
                ("domain", cause.domain().label()),
                ("cause", cause.label()),
            ];
            self.counter("failures_total", "Stages that failed, by cause.", &labels, *count);
        }
        for ((registry, via, outcome), count) in &tallies.pulls {
            let labels = [("registry", registry.as_str()), ("via", via), ("outcome", outcome.label())];
            self.counter("pulls_total", "Test pulls, by how they ended.", &labels, *count);
        }
        for ((registry, via), bytes) in &tallies.pull_bytes {
            let labels = [("registry", registry.as_str()), ("via", via)];
            self.counter("pull_bytes_total", "Compressed bytes that test pulls fetched.", &labels, *bytes);
        }
        for ((registry, via), histogram) in &tallies.pull_seconds {
            self.pull_seconds(registry, via, histogram);
        }
        self.counter(
            "unclassified_total",
            "Error texts whose cause was not recognised.",
            &[],
            tallies.unclassified,
        );
    }

    fn pull_seconds(&mut self, registry: &str, via: &str, histogram: &ledger::Histogram) {
        let mut shape = Histogram::default();
        shape.set_sample_count(histogram.count);
        shape.set_sample_sum(histogram.sum);
        let buckets = PULL_BUCKETS.iter().zip(histogram.buckets).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        shape.set_bucket(buckets.collect());
        let labels = [("registry", registry), ("via", via)];
        let metric = self.metric(
            "pull_duration_seconds",
            "How long test pulls took that fetched the image.",
            MetricType::HISTOGRAM,
            &labels,
        );
        metric.set_histogram(shape);
    }

    fn last_round(&mut self, registry: &str, evidence: &Evidence) {
        let labels = [("registry", registry), ("lane", evidence.lane.label())];
        self.gauge(
            "last_round_timestamp_seconds",
            "When the lane's last round ended, in seconds since 1970.",
            &labels,
            seconds_since_1970(evidence.at.wall),
        );
    }

    fn up(&mut self, name: &'static str, help: &str, labels: Labels<'_>, status: Status) {
        match status {
            Status::Healthy | Status::Degraded => self.gauge(name, help, labels, 1.0),
            Status::Failing => self.gauge(name, help, labels, 0.0),
            Status::Unknown => {}
        }
    }

    fn verdict(
        &mut self,
        name: &'static str,
        help: &str,
        labels: Labels<'_>,
        status: Status,
        verdict: Option<&Verdict>,
    ) {
        // A series without a cause says the status alone: a healthy registry is seen, not merely silent.
        let (domain, cause) = verdict.map_or(("", ""), |v| (v.domain().label(), v.cause.label()));
        let mut labels = labels.to_vec();
        labels.extend([("status", status.label()), ("domain", domain), ("cause", cause)]);
        self.gauge(name, help, &labels, 1.0);
    }

    fn gauge(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.metric(name, help, MetricType::GAUGE, labels).set_gauge(gauge);
    }

    fn counter(&mut self, name: &'static str, help: &str, labels: Labels<'_>, value: u64) {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        self.metric(name, help, MetricType::COUNTER, labels).set_counter(counter);
    }

    fn metric(
        &mut self,
        name: &'static str,
        help: &str,
        kind: MetricType,
        labels: Labels<'_>,
    ) -> &mut Metric {
        let family = self.0.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(format!("{PREFIX}{name}"));
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        });
        let mut metric = Metric::default();
        metric.set_label(labels.iter().map(|(name, value)| label(name, value)).collect());
        let metrics = family.mut_metric();
        metrics.push(metric);
        metrics.last_mut().expect("one was pushed just now")
    }
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

/// 1 passed, 0 failed; nothing when it was not walked or could not look.
fn up(step: &Step) -> Option<f64> {
    match step.outcome {
        Outcome::Passed | Outcome::Warned(_) => Some(1.0),
        Outcome::Failed(_) => Some(0.0),
        Outcome::Skipped(_) | Outcome::Undecided(_) => None,
    }
}

fn seconds_since_1970(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
