//! Prometheus text, as much of it as the tests compare.

use std::collections::BTreeMap;

use crate::Fallible;

/// One series and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value as written; `*` in an expectation stands for any.
    pub value: String,
}

impl Sample {
    /// Reads one line, such as `pullscope_registry_up{registry="quay.io"} 1`.
    pub fn parse(line: &str) -> Fallible<Sample> {
        let broken = || format!("no metric line: {line:?}");
        let (series, value) = line.trim().rsplit_once(' ').ok_or_else(broken)?;
        let (name, rest) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').ok_or_else(broken)?),
            None => (series, ""),
        };
        let mut labels = BTreeMap::new();
        let mut rest = rest;
        while !rest.is_empty() {
            let (label, after) = rest.split_once("=\"").ok_or_else(broken)?;
            let end = end_of_value(after).ok_or_else(broken)?;
            labels.insert(label.to_owned(), after[..end].to_owned());
            rest = after[end + 1..].trim_start_matches(',');
        }
        Ok(Sample { name: name.to_owned(), labels, value: value.to_owned() })
    }

    /// Whether `seen` is what this one expects: the same series, and the same number.
    pub fn matches(&self, seen: &Sample) -> bool {
        let same_number = || match (self.value.parse::<f64>(), seen.value.parse::<f64>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => self.value == seen.value,
        };
        self.name == seen.name && self.labels == seen.labels && (self.value == "*" || same_number())
    }
}

/// Where a label's value ends: at the first quote that is not escaped.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// All samples of an exposition.
pub fn parse(text: &str) -> Fallible<Vec<Sample>> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(Sample::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, seen: &str, expect: bool) {
        let matched = Sample::parse(expected).unwrap().matches(&Sample::parse(seen).unwrap());
        assert_eq!(matched, expect, "{expected} / {seen}");
    }

    #[test]
    fn the_order_of_labels_does_not_matter() {
        check(r#"a{x="1",y="2"} 1"#, r#"a{y="2",x="1"} 1.0"#, true);
    }

    #[test]
    fn a_star_stands_for_any_value_but_not_for_any_label() {
        check(r#"a{x="1"} *"#, r#"a{x="1"} 0.25"#, true);
        check(r#"a{x="1"} *"#, r#"a{x="2"} 0.25"#, false);
        check("a 1", "a 2", false);
    }

    #[test]
    fn a_quote_in_a_label_does_not_end_it() {
        let sample = Sample::parse(r#"a{x="say \"b\", c",y="d"} 1"#).unwrap();
        assert_eq!(sample.labels["y"], "d");
        assert!(Sample::parse("a{x=\"1} 1").is_err());
    }
}
