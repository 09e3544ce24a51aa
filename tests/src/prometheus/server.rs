//! A real Prometheus, and the questions that the tests put to it.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::world::process::Process;
use crate::{Fallible, http};

/// How long an alert may take to come or to go: the rules' longest `for` among those waited for, in a hurry, and a busy
/// machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// From one look at the alerts to the next.
const LOOK: Duration = Duration::from_millis(250);

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    dir: PathBuf,
    /// What one look after the other has seen firing.
    seen: BTreeSet<String>,
}

/// One agent, or what stands in for it, to be scraped.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node's name.
    pub node: String,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Prometheus {
    /// Starts one with this configuration; it reads what else it names from `dir`.
    pub fn start(ip: IpAddr, dir: &Path, configuration: &str) -> Fallible<Prometheus> {
        let address = SocketAddr::new(ip, 9090);
        let file = dir.join("prometheus.yml");
        fs::write(&file, configuration)?;
        let args = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("data").display()),
            format!("--web.listen-address={address}"),
            "--storage.tsdb.retention.time=30d".to_owned(),
        ];
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let mut process = Process::start("prometheus", dir, "prometheus", &args)?;
        process.wait_until("200 of /-/ready", || {
            http::get(address, "/-/ready").is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(Prometheus { process, address, dir: dir.to_owned(), seen: BTreeSet::new() })
    }

    /// What it has written.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Writes the targets of a job to the file that it asks, as Kubernetes would tell of their pods.
    pub fn scrape(dir: &Path, file: &str, targets: &[Target]) -> Fallible<()> {
        let targets: Vec<_> = targets
            .iter()
            .map(|target| {
                let name = format!("pullscope-{}", target.node);
                json!({"targets": [target.address.to_string()], "labels": {
                    "__meta_kubernetes_namespace": "pullscope",
                    "__meta_kubernetes_pod_container_name": "pullscope",
                    "__meta_kubernetes_pod_container_port_name": "http",
                    "__meta_kubernetes_pod_label_app_kubernetes_io_name": "pullscope",
                    "__meta_kubernetes_pod_name": name,
                    "__meta_kubernetes_pod_node_name": target.node,
                    "__meta_kubernetes_pod_phase": "Running",
                }})
            })
            .collect();
        // Moved into place: it is read at any moment.
        let new = dir.join(format!("{file}.new"));
        fs::write(&new, json!(targets).to_string())?;
        Ok(fs::rename(new, dir.join(file))?)
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Asks its API; the answer as it came.
    pub fn fetch(&self, path: &str) -> Fallible<String> {
        let answer = http::get(self.address, path)?;
        answer.expect_status(200, path)?;
        Ok(answer.body)
    }

    /// Asks its API; the answer's `data`.
    pub fn ask(&self, path: &str) -> Fallible<Value> {
        let body = self.fetch(path)?;
        let mut body: Value = serde_json::from_str(&body).map_err(|e| format!("{path}: {e}: {body}"))?;
        Ok(body["data"].take())
    }

    /// The series of a query at this moment.
    pub fn query(&self, query: &str) -> Fallible<Vec<Value>> {
        Ok(self.ask(&instant(query))?["result"].as_array().cloned().unwrap_or_default())
    }

    /// The alerts that fire: each name with whom it is about.
    pub fn firing(&mut self) -> Fallible<BTreeSet<String>> {
        let data = self.ask("/api/v1/alerts")?;
        let mut firing = BTreeSet::new();
        for alert in data["alerts"].as_array().ok_or("no alerts")? {
            if alert["state"] == "firing" {
                legible(alert)?;
                firing.insert(name(alert));
            }
        }
        self.seen.extend(firing.iter().cloned());
        Ok(firing)
    }

    /// Waits until exactly these fire; how long it took.
    pub fn wait_for(&mut self, expected: &[&str]) -> Fallible<Duration> {
        let expected: BTreeSet<_> = expected.iter().map(|name| (*name).to_owned()).collect();
        let began = Instant::now();
        loop {
            let firing = self.firing()?;
            if firing == expected {
                return Ok(began.elapsed());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("fires: {firing:#?}\nexpected: {expected:#?}").into());
            }
            thread::sleep(LOOK);
        }
    }

    /// Goes on looking for so long.
    pub fn look_on(&mut self, span: Duration) -> Fallible<()> {
        let began = Instant::now();
        while began.elapsed() < span {
            self.firing()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// What has been seen firing since the last time that this was asked; an error unless it is exactly this.
    pub fn has_seen(&mut self, expected: &[&str]) -> Fallible<()> {
        let seen = std::mem::take(&mut self.seen);
        if seen.iter().map(String::as_str).eq(expected.iter().copied().collect::<BTreeSet<_>>()) {
            return Ok(());
        }
        Err(format!("has fired: {seen:#?}\nexpected: {expected:#?}").into())
    }
}

/// A path of the API, with these words.
pub fn path(what: &str, words: &[(&str, &str)]) -> String {
    let words: Vec<_> = words.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    format!("/api/v1/{what}?{}", words.join("&"))
}

/// The path that asks for a query at this moment.
pub fn instant(query: &str) -> String {
    path("query", &[("query", query)])
}

/// The path that asks for a query over the last `span`, a value each `step`.
pub fn range(query: &str, span: Duration, step: Duration) -> Fallible<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (start, end) = ((now - span.as_secs()).to_string(), now.to_string());
    let step = step.as_secs().to_string();
    Ok(path("query_range", &[("query", query), ("start", &start), ("end", &end), ("step", &step)]))
}

/// `Name node registry domain/cause`, as far as the alert has them.
fn name(alert: &Value) -> String {
    let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default();
    let node = if label("instance").is_empty() { label("node") } else { label("instance") };
    let cause = format!("{}/{}", label("domain"), label("cause"));
    let words = [label("alertname"), node, label("registry"), cause.trim_matches('/')];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// An alert's words must be whole: what its cause means and what to do come from the agents, by a query.
fn legible(alert: &Value) -> Fallible<()> {
    for key in ["summary", "description", "runbook_url"] {
        let text = alert["annotations"][key].as_str().unwrap_or_default();
        let broken = text.is_empty()
            || ["<error", "<no value>", "{{", "What to do: Other"].iter().any(|w| text.contains(w));
        let silent = key == "description"
            && !alert["labels"]["cause"].is_null()
            && alert["labels"]["alertname"] != "PullscopeDiskLow"
            && !text.contains("What to do: ");
        if broken || silent {
            return Err(format!("its {key} is {text:?}: {alert}").into());
        }
    }
    Ok(())
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
