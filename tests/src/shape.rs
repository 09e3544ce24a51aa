//! The shape of what others parse, without the values that differ from run to run: for the goldens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{Fallible, metrics};

/// Keys whose values are words of the contract: they stay in the shape.
const WORDS: [&str; 10] =
    ["status", "domain", "cause", "fault", "stage", "outcome", "role", "via", "registry", "endpoint"];

/// JSON with every other text as `"…"` and every number as 0.
pub fn of_json(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let shaped = fields.iter().map(|(key, value)| {
                let keep = WORDS.contains(&key.as_str()) && !value.is_object();
                (key.clone(), if keep { value.clone() } else { of_json(value) })
            });
            Value::Object(shaped.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(of_json).collect()),
        Value::String(_) => json!("…"),
        Value::Number(_) => json!(0),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

/// One line a metric, sorted: name, type, label names. Those of the process are the library's, and left out.
pub fn of_metrics(text: &str) -> Fallible<String> {
    let kinds: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let mut shapes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in metrics::parse(text)? {
        let (name, kind) = family(&sample.name, &kinds);
        let labels = sample.labels.into_keys().filter(|label| label != "le");
        shapes.entry(format!("{name} {kind}")).or_default().extend(labels);
    }
    let lines = shapes.into_iter().filter(|(name, _)| !name.starts_with("process_")).map(|(name, labels)| {
        let labels: Vec<_> = labels.into_iter().collect();
        format!("{name} {{{}}}\n", labels.join(","))
    });
    Ok(lines.collect())
}

/// The metric that a sample belongs to, and its type: a histogram's samples carry suffixes.
fn family<'a>(sample: &'a str, kinds: &BTreeMap<&str, &'a str>) -> (&'a str, &'a str) {
    for suffix in ["_bucket", "_sum", "_count"] {
        if let Some(base) = sample.strip_suffix(suffix)
            && let Some(kind) = kinds.get(base)
        {
            return (base, kind);
        }
    }
    (sample, kinds.get(sample).copied().unwrap_or("untyped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_and_words_stay() {
        let shaped =
            of_json(&json!({"status": "failing", "at": "2026-01-01", "seconds": 0.2, "verdict": null}));
        assert_eq!(shaped, json!({"status": "failing", "at": "…", "seconds": 0, "verdict": null}));
    }

    #[test]
    fn a_histogram_is_one_line() {
        let text = "# TYPE a histogram\na_bucket{r=\"x\",le=\"1\"} 1\na_sum{r=\"x\"} 1\na_count{r=\"x\"} 1\n# TYPE b gauge\nb 1\n";
        assert_eq!(of_metrics(text).unwrap(), "a histogram {r}\nb gauge {}\n");
    }
}
