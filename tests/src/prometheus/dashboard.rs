//! What a dashboard asks: its queries with the variables filled in as Grafana does, and whether there is an answer.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::{self, Prometheus};
use crate::Fallible;

/// One question of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// The panel's title.
    pub panel: String,
    /// In PromQL, filled in.
    pub text: String,
    /// Only the newest values are asked for.
    pub instant: bool,
}

/// The panels' questions, with all nodes and registries chosen.
pub fn queries(dashboard: &Value, rate_interval: &str) -> Fallible<Vec<Query>> {
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().ok_or("no panels")? {
        let title = panel["title"].as_str().unwrap_or_default();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = target["expr"].as_str().ok_or_else(|| format!("{title}: no expr"))?;
            let text = text
                .replace("$__rate_interval", rate_interval)
                .replace("$node", ".*")
                .replace("$registry", ".*");
            // `$1` is of a pattern, and no variable of Grafana's.
            if text
                .split('$')
                .skip(1)
                .any(|rest| rest.starts_with(|c: char| c.is_alphabetic() || "_{[".contains(c)))
            {
                return Err(format!("{title}: a variable that is not known in {text}").into());
            }
            let instant = target["instant"] == true;
            queries.push(Query { panel: title.to_owned(), text, instant });
        }
    }
    Ok(queries)
}

/// The queries of its variables: metric and label of each `label_values(metric, label)`.
pub fn variables(dashboard: &Value) -> Fallible<Vec<(String, String)>> {
    let mut found = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().ok_or("no variables")? {
        if variable["type"] == "query" {
            let query = variable["query"]["query"].as_str().unwrap_or_default();
            let inside = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) =
                inside.and_then(|i| i.split_once(", ")).ok_or_else(|| format!("{query}?"))?;
            found.push((metric.to_owned(), label.to_owned()));
        }
    }
    Ok(found)
}

/// Every panel and variable that shows nothing: no series, or no number in any.
pub fn empty(
    dashboard: &Value,
    prometheus: &Prometheus,
    rate_interval: &str,
    span: Duration,
) -> Fallible<Vec<String>> {
    let mut empty = Vec::new();
    for query in queries(dashboard, rate_interval)? {
        if !answered(&query, prometheus, span, Duration::from_secs(2))?.iter().any(has_number) {
            empty.push(format!("{}: {}", query.panel, query.text));
        }
    }
    for (metric, label) in variables(dashboard)? {
        let values =
            prometheus.ask(&server::path(&format!("label/{label}/values"), &[("match[]", &metric)]))?;
        if values.as_array().is_none_or(Vec::is_empty) {
            empty.push(format!("variable {label} of {metric}"));
        }
    }
    Ok(empty)
}

/// How long Prometheus takes for a query, from the request to the last byte: the median of so many tries; and how many
/// series there are.
pub fn time(
    query: &Query,
    prometheus: &Prometheus,
    span: Duration,
    step: Duration,
    tries: usize,
) -> Fallible<(Duration, usize)> {
    let mut took = Vec::new();
    for _ in 0..tries {
        let began = Instant::now();
        prometheus.fetch(&query.request(span, step)?)?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok((took[tries / 2], answered(query, prometheus, span, step)?.len()))
}

impl Query {
    fn request(&self, span: Duration, step: Duration) -> Fallible<String> {
        if self.instant { Ok(server::instant(&self.text)) } else { server::range(&self.text, span, step) }
    }
}

fn answered(query: &Query, prometheus: &Prometheus, span: Duration, step: Duration) -> Fallible<Vec<Value>> {
    let data = prometheus.ask(&query.request(span, step)?)?;
    Ok(data["result"].as_array().cloned().unwrap_or_default())
}

/// Whether a series has a number in it: a histogram without observations has only NaN.
fn has_number(series: &Value) -> bool {
    let number =
        |point: &Value| point[1].as_str().is_some_and(|n| n.parse::<f64>().is_ok_and(f64::is_finite));
    number(&series["value"]) || series["values"].as_array().is_some_and(|points| points.iter().any(number))
}
