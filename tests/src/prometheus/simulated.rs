//! Simulated nodes: an hour of what a real agent has served once, many times over, as blocks of Prometheus' database.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::server::Prometheus;
use crate::Fallible;
use crate::metrics::{self, Sample};
use crate::world::process;

/// How much there is of what.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Registries of each.
    pub registries: usize,
    /// Minutes up to now, with one value of each series in each.
    pub minutes: u64,
}

/// Writes the blocks to `data`; how many series there are. Each registry is `model` of the text by another name, and each
/// node the text by another name; one registry in seven fails on one node in ten, and one node in 25 can pull from nowhere.
pub fn write(text: &str, model: &str, size: Size, data: &Path) -> Fallible<usize> {
    let samples = metrics::parse(text)?;
    let series: Vec<_> =
        (0..size.nodes).flat_map(|node| of_node(&samples, model, node, size.registries)).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let file = data.with_extension("openmetrics");
    let mut out = BufWriter::new(File::create(&file)?);
    // By time, as a database wants it.
    for minute in 0..=size.minutes {
        let at = now - (size.minutes - minute) * 60;
        for (name, value, grows) in &series {
            // A counter goes on, anything else wavers by some per cent.
            let wave = f64::from(u32::try_from((minute * 7 + name.len() as u64) % 11)?);
            let value = if *grows { value + minute as f64 } else { value * (1.0 + wave / 100.0) };
            writeln!(out, "{name} {value} {at}")?;
        }
    }
    writeln!(out, "# EOF")?;
    out.into_inner()?.sync_all()?;
    let (from, to) = (file.to_string_lossy(), data.to_string_lossy());
    process::run("promtool", &["tsdb", "create-blocks-from", "openmetrics", &from, &to])?;
    fs::remove_file(&file)?;
    Ok(series.len())
}

/// Has Prometheus' own tool write what the recording rules would have said in that time; Prometheus is to be started anew.
pub fn record(prometheus: &Prometheus, rules: &Path, size: Size, data: &Path) -> Fallible<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let words = [
        "tsdb".to_owned(),
        "create-blocks-from".to_owned(),
        "rules".to_owned(),
        format!("--url={}", prometheus.url()),
        format!("--start={}", now - size.minutes * 60),
        format!("--end={now}"),
        "--eval-interval=1m".to_owned(),
        format!("--output-dir={}", data.display()),
        rules.display().to_string(),
    ];
    process::run("promtool", &words.each_ref().map(String::as_str)).map(drop)
}

/// The series of one node: name with labels, value, and whether it is a counter.
fn of_node(samples: &[Sample], model: &str, node: usize, registries: usize) -> Vec<(String, f64, bool)> {
    let mut series = Vec::new();
    for sample in samples {
        match sample.labels.get("registry") {
            Some(registry) if registry == model => {
                let named = (0..registries).map(|number| one(sample, node, Some((model, number))));
                series.extend(named);
            }
            Some(_) => {}
            None => series.push(one(sample, node, None)),
        }
    }
    series
}

fn one(sample: &Sample, node: usize, registry: Option<(&str, usize)>) -> (String, f64, bool) {
    let mut labels = sample.labels.clone();
    let mut is = |verdict: [(&str, &str); 3]| {
        labels.extend(verdict.map(|(label, value)| (label.to_owned(), value.to_owned())));
    };
    if let Some((model, number)) = registry {
        if sample.name == "pullscope_registry_verdict" && number.is_multiple_of(7) && node.is_multiple_of(10)
        {
            is([("status", "failing"), ("domain", "network"), ("cause", "connect_refused")]);
        }
        for value in labels.values_mut() {
            *value = value.replace(model, &format!("r{number}.test"));
        }
    } else if sample.name == "pullscope_node_verdict" && node.is_multiple_of(25) {
        is([("status", "failing"), ("domain", "node"), ("cause", "disk_full")]);
    }
    let mut text = format!("{}{{instance=\"node-{node:03}\",job=\"pullscope\"", sample.name);
    for (label, value) in &labels {
        write!(text, ",{label}=\"{value}\"").expect("a String takes all");
    }
    text.push('}');
    let grows = ["_total", "_count", "_sum", "_bucket"].iter().any(|end| sample.name.ends_with(end));
    (text, sample.value.parse().unwrap_or(0.0), grows)
}
