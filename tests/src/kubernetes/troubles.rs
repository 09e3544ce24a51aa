//! Pods whose images do not come: each is told of, explained, and well again when its trouble is over.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::checks::Report;
use super::cluster::Cluster;
use super::install::PORT;
use super::registries::{APP, IMAGES, LIMITED, PRIVATE, STOPPED};
use super::until;
use crate::metrics::{self, Sample};
use crate::{Fallible, PASSWORD, USER, http};

/// Two rounds, the kubelet's first tries, and a busy machine.
const TOLD: Duration = Duration::from_secs(60);

/// The kubelet backs off for up to 80 s after so many tries as there are in a minute.
const RECOVERED: Duration = Duration::from_secs(150);

/// The cluster, and a person's own pullscope beside it.
#[derive(Debug)]
pub(super) struct Troubles<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) pullscope: &'a Path,
}

/// A pod in trouble, and what must be said of it.
struct Trouble {
    pod: &'static str,
    registry: &'static str,
    tag: &'static str,
    /// What brings it about, and what ends it.
    begin: fn(&mut Cluster) -> Fallible<()>,
    end: fn(&mut Cluster) -> Fallible<()>,
    domain: &'static str,
    /// None: any of the domain's.
    cause: Option<&'static str>,
    /// Words that `/health` and `explain` must have beside domain and cause.
    words: &'static [&'static str],
}

const ALL: [Trouble; 4] = [
    Trouble {
        pod: "misspelt",
        registry: IMAGES,
        tag: "1.0.O",
        begin: |_| Ok(()),
        end: |cluster| {
            let image = format!("app={IMAGES}/{APP}:1.0.0");
            cluster.kubectl.run(&["set", "image", "pod/misspelt", &image]).map(|_| ())
        },
        domain: "spec",
        cause: Some("manifest_not_found"),
        // The near tag.
        words: &["1.0.0"],
    },
    Trouble {
        pod: "secretless",
        registry: PRIVATE,
        tag: "1.0.0",
        begin: |_| Ok(()),
        end: give_secret,
        domain: "auth",
        cause: None,
        words: &[],
    },
    Trouble {
        pod: "refused",
        registry: STOPPED,
        tag: "1.0.0",
        begin: |cluster| cluster.registries.stop(STOPPED),
        end: |cluster| cluster.registries.go_on(STOPPED),
        domain: "network",
        cause: Some("connect_refused"),
        words: &[],
    },
    Trouble {
        pod: "limited",
        registry: LIMITED,
        tag: "1.0.0",
        begin: |cluster| cluster.registries.limit(LIMITED),
        end: |cluster| cluster.registries.go_on(LIMITED),
        domain: "quota",
        cause: Some("rate_limited"),
        words: &[],
    },
];

impl Trouble {
    /// Whether others than this pod meet it.
    fn is_the_registrys(&self) -> bool {
        matches!(self.domain, "network" | "quota")
    }

    fn manifest(&self, secrets: &str) -> String {
        let Trouble { pod, registry, tag, .. } = self;
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, namespace: default}}\nspec:\n  \
             automountServiceAccountToken: false\n  imagePullSecrets: [{secrets}]\n  containers:\n  \
             - {{name: app, image: \"{registry}/{APP}:{tag}\"}}\n"
        )
    }
}

impl Troubles<'_> {
    /// All of them, one after the other.
    pub(super) fn check(&mut self, report: &mut Report) {
        for trouble in &ALL {
            self.story(report, trouble);
        }
    }

    fn story(&mut self, report: &mut Report, trouble: &Trouble) {
        let (pod, registry) = (trouble.pod, trouble.registry);
        let begun = report.check(&format!("{pod}: the pod's image does not come"), || {
            (trouble.begin)(self.cluster)?;
            self.cluster.kubectl.apply(&trouble.manifest(""))?;
            until("failing pull", TOLD, || waits_for_its_image(self.cluster, pod))
        });
        if !begun {
            return;
        }
        if trouble.is_the_registrys() {
            report.check(&format!("{pod}: {registry} is failing, and why"), || {
                until("verdict", TOLD, || registry_is_failing(self.cluster, trouble))
            });
        }
        report.check(&format!("{pod}: /metrics tells why"), || {
            until("metric", TOLD, || self.pod_is_told(trouble))
        });
        report
            .check(&format!("{pod}: /health lists it"), || until("entry", TOLD, || self.is_listed(trouble)));
        report.check(&format!("{pod}: explain tells why"), || self.is_explained(trouble));
        report.check(&format!("{pod}: well again"), || {
            (trouble.end)(self.cluster)?;
            until("ready pod", RECOVERED, || is_ready(self.cluster, pod))?;
            until("end of what was told", TOLD, || self.nothing_is_told(trouble))
        });
        report.check(&format!("{pod}: gone"), || delete(self.cluster, pod));
    }

    /// The one series of this pod, which is counted for its registry as well.
    fn pod_is_told(&self, trouble: &Trouble) -> Fallible<()> {
        let samples = samples(self.cluster)?;
        let wanted = [
            ("namespace", "default"),
            ("pod", trouble.pod),
            ("container", "app"),
            ("registry", trouble.registry),
            ("domain", trouble.domain),
        ];
        let of_pod = |sample: &&Sample| {
            sample.name == "pullscope_pod_pull_failure"
                && sample.labels.get("pod").is_some_and(|pod| pod == trouble.pod)
        };
        let found: Vec<_> = samples.iter().filter(of_pod).collect();
        let [one] = found[..] else {
            return Err(format!("{} series of the pod: {found:?}", found.len()).into());
        };
        let matches = wanted
            .iter()
            .all(|(label, value)| one.labels.get(*label).is_some_and(|seen| seen == value))
            && trouble.cause.is_none_or(|cause| one.labels.get("cause").is_some_and(|seen| seen == cause));
        if !matches {
            return Err(format!("{one:?}").into());
        }
        let counted = |sample: &Sample| {
            let same = |label: &str| sample.labels.get(label) == one.labels.get(label);
            sample.name == "pullscope_pods_failing" && ["registry", "domain", "cause"].into_iter().all(same)
        };
        match samples.iter().find(|sample| counted(sample)) {
            Some(count) if count.value == "1" => Ok(()),
            other => Err(format!("counted as {other:?}").into()),
        }
    }

    fn is_listed(&self, trouble: &Trouble) -> Fallible<()> {
        let answer = http::get(self.cluster.at(PORT), "/health?format=json")?;
        let report: Value = serde_json::from_str(&answer.body)?;
        let workloads = report["workloads"].as_array().ok_or("no workloads")?;
        let entry = workloads.iter().find(|entry| entry["pod"] == trouble.pod);
        has_words(&entry.ok_or_else(|| format!("not in {workloads:?}"))?.to_string(), trouble)
    }

    fn is_explained(&self, trouble: &Trouble) -> Fallible<()> {
        let out = Command::new("timeout")
            .args(["--kill-after=1", "60"])
            .arg(self.pullscope)
            .args(["explain", trouble.pod, "-n", "default"])
            .env("KUBECONFIG", self.cluster.kubectl.kubeconfig())
            .output()?;
        let told = String::from_utf8_lossy(&out.stdout);
        has_words(&told, trouble).map_err(|error| {
            format!("{error}\n{}, stderr: {}", out.status, String::from_utf8_lossy(&out.stderr)).into()
        })
    }

    fn nothing_is_told(&self, trouble: &Trouble) -> Fallible<()> {
        let samples = samples(self.cluster)?;
        let of_pod = |sample: &&Sample| sample.labels.get("pod").is_some_and(|pod| pod == trouble.pod);
        if let Some(sample) = samples.iter().find(of_pod) {
            return Err(format!("{sample:?}").into());
        }
        if !trouble.is_the_registrys() {
            return Ok(());
        }
        let up = Sample::parse(&format!("pullscope_registry_up{{registry=\"{}\"}} 1", trouble.registry))?;
        if samples.iter().any(|sample| up.matches(sample)) {
            return Ok(());
        }
        Err(format!("{} is not up", trouble.registry).into())
    }
}

/// What must be said of a pod is in this text, and no password.
fn has_words(text: &str, trouble: &Trouble) -> Fallible<()> {
    let words = [trouble.domain].into_iter().chain(trouble.cause).chain(trouble.words.iter().copied());
    for word in words {
        if !text.contains(word) {
            return Err(format!("no {word:?} in {text}").into());
        }
    }
    if text.contains(PASSWORD) { Err("the password is shown".into()) } else { Ok(()) }
}

fn samples(cluster: &Cluster) -> Fallible<Vec<Sample>> {
    let answer = http::get(cluster.at(PORT), "/metrics")?;
    answer.expect_status(200, "/metrics")?;
    metrics::parse(&answer.body)
}

fn registry_is_failing(cluster: &Cluster, trouble: &Trouble) -> Fallible<()> {
    let registry = trouble.registry;
    let samples = samples(cluster)?;
    let verdict = samples.iter().find(|sample| {
        sample.name == "pullscope_registry_verdict"
            && sample.labels.get("registry").is_some_and(|name| name == registry)
    });
    let label = |name: &str| verdict.and_then(|sample| sample.labels.get(name)).map_or("", String::as_str);
    let seen = (label("status"), label("domain"), label("cause"));
    if seen != ("failing", trouble.domain, trouble.cause.unwrap_or_default()) {
        return Err(format!("{seen:?}").into());
    }
    http::get(cluster.at(PORT), &format!("/health/{registry}"))?.expect_status(503, "/health of it")
}

/// The pod's only container waits, as a pull has failed.
fn waits_for_its_image(cluster: &Cluster, pod: &str) -> Fallible<()> {
    let found = cluster.kubectl.get(&["pod", pod])?;
    let reason = found.pointer("/status/containerStatuses/0/state/waiting/reason");
    match reason.and_then(Value::as_str) {
        Some("ErrImagePull" | "ImagePullBackOff") => Ok(()),
        other => Err(format!("{other:?}: {}", found["status"]).into()),
    }
}

fn is_ready(cluster: &Cluster, pod: &str) -> Fallible<()> {
    let found = cluster.kubectl.get(&["pod", pod])?;
    match found.pointer("/status/containerStatuses/0/ready").and_then(Value::as_bool) {
        Some(true) => Ok(()),
        _ => Err(found["status"].to_string().into()),
    }
}

/// Takes a pod away without waiting for the kubelet, which takes its time.
fn delete(cluster: &Cluster, pod: &str) -> Fallible<()> {
    cluster.kubectl.run(&["delete", "pod", pod, "--grace-period=0", "--force"]).map(|_| ())
}

/// The secrets of a pod that exists cannot be changed: it is made anew.
fn give_secret(cluster: &mut Cluster) -> Fallible<()> {
    let who = [
        format!("--docker-server={PRIVATE}"),
        format!("--docker-username={USER}"),
        format!("--docker-password={PASSWORD}"),
    ];
    let [server, user, password] = &who;
    cluster.kubectl.run(&["create", "secret", "docker-registry", "private", server, user, password])?;
    let secretless = ALL.iter().find(|trouble| trouble.registry == PRIVATE).ok_or("no such trouble")?;
    delete(cluster, secretless.pod)?;
    cluster.kubectl.apply(&secretless.manifest("{name: private}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let told = has_words(text, &ALL[0]).map_err(|error| error.to_string());
        assert_eq!(told.err().unwrap_or_default().split(" in ").next(), Some(expect), "{text}");
    }

    #[test]
    fn a_near_tag_has_to_be_offered() {
        check("spec/manifest_not_found: there is 1.0.0", "");
        check("spec/manifest_not_found: there is none", "no \"1.0.0\"");
    }

    #[test]
    fn a_text_with_the_password_is_refused() {
        check(&format!("spec manifest_not_found 1.0.0 {PASSWORD}"), "the password is shown");
    }
}
