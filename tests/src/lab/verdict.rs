//! What was said of a scenario, and whether it is what was expected, and what containerd itself has shown.

use pullscope::model::Cause;
use serde_json::Value;

use crate::expect::Expect;
use crate::world::cri::Pulled;

/// What is said, or expected, of the node or of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The registry; `node` for the node.
    pub who: String,
    /// Its status.
    pub status: String,
    /// The cause; none: no verdict.
    pub cause: Option<String>,
    /// Only the status counts.
    pub any_cause: bool,
}

/// What a report says.
#[derive(Clone, Debug)]
pub struct Told {
    /// Of the node, by its own lane or by all registries together.
    pub node: Said,
    /// Of each registry.
    pub registries: Vec<Said>,
}

/// What containerd's own pull from a registry came to.
#[derive(Debug)]
pub struct Truth {
    /// The registry.
    pub registry: String,
    /// How it ended.
    pub pulled: Pulled,
}

/// How far what was said is what was expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Whether each verdict has the expected domain.
    pub domain: bool,
    /// Whether each verdict has the expected cause.
    pub cause: bool,
    /// Something that works was called failing.
    pub wrongly_failing: bool,
    /// Something that fails was called healthy or degraded.
    pub wrongly_healthy: bool,
    /// What differs; none: all is as expected.
    pub differs: Option<String>,
}

// === impl Said ===

impl Said {
    /// `failing network/connect_refused`, `healthy`.
    pub fn words(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{} {}/{cause}", self.status, domain(cause)),
            None => self.status.clone(),
        }
    }

    fn of(who: &str, part: &Value) -> Said {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Said {
            who: who.to_owned(),
            status: text(&part["status"]).unwrap_or_default(),
            cause: text(&part["verdict"]["cause"]),
            any_cause: false,
        }
    }
}

fn domain(cause: &str) -> &'static str {
    Cause::from_label(cause).map_or("?", |cause| cause.domain().label())
}

/// What a scenario expects, the node first. A registry without a name is the first one of the report.
pub fn expected(expect: &Expect) -> Vec<Said> {
    let node = expect.node.iter().map(|node| Said {
        who: "node".to_owned(),
        status: node.status.clone(),
        cause: node.cause.clone(),
        any_cause: false,
    });
    let registries = expect.registry.iter().map(|registry| Said {
        who: registry.name.clone(),
        status: registry.status.clone(),
        cause: registry.cause.clone(),
        any_cause: registry.any_verdict,
    });
    node.chain(registries).collect()
}

// === impl Told ===

impl Told {
    /// Reads a report.
    pub fn of(report: &Value) -> Told {
        let all = report["registries"].as_array().map_or(&[][..], Vec::as_slice);
        let registries = all.iter().map(|r| Said::of(r["registry"].as_str().unwrap_or("?"), r)).collect();
        Told { node: Said::of("node", report), registries }
    }

    /// Whether the node itself is called failing: its verdict is more than its registries'.
    pub fn node_fails(&self) -> bool {
        self.node.status == "failing" && self.node.cause.is_some()
    }

    fn about(&self, who: &str) -> Option<&Said> {
        if who == "node" {
            return Some(&self.node);
        }
        self.registries.iter().find(|said| who.is_empty() || said.who == who)
    }

    /// Holds what was said against what was expected.
    pub fn score(&self, expected: &[Said]) -> Score {
        let mut score = Score { domain: true, cause: true, ..Score::default() };
        let mut differs = Vec::new();
        for wanted in expected {
            let said = self.about(&wanted.who);
            let (status, cause) = said.map_or(("absent", None), |s| (s.status.as_str(), s.cause.as_deref()));
            score.wrongly_failing |= wanted.status != "failing" && status == "failing";
            score.wrongly_healthy |= wanted.status == "failing" && ["healthy", "degraded"].contains(&status);
            let (mut same_domain, mut same_cause) = (true, true);
            if !wanted.any_cause {
                same_domain = cause.map(domain) == wanted.cause.as_deref().map(domain);
                same_cause = cause == wanted.cause.as_deref();
            }
            score.domain &= same_domain;
            score.cause &= same_cause;
            if status != wanted.status || !same_cause {
                differs.push(name(expected, wanted, &said.map_or_else(|| "absent".to_owned(), Said::words)));
            }
        }
        if !expected.iter().any(|wanted| wanted.who == "node") && self.node_fails() {
            score.domain = false;
            score.cause = false;
            score.wrongly_failing = true;
            differs.push(format!("node {}", self.node.words()));
        }
        score.differs = (!differs.is_empty()).then(|| differs.join("; "));
        score
    }

    /// Where what was said cannot be, given what containerd itself has done.
    pub fn contradictions(&self, truths: &[Truth]) -> Vec<String> {
        let mut found = Vec::new();
        for truth in truths {
            let Some(said) = self.about(&truth.registry) else { continue };
            let called_failing = said.status == "failing" || self.node_fails();
            let called_well = ["healthy", "degraded"].contains(&said.status.as_str()) && !self.node_fails();
            let name = &truth.registry;
            match &truth.pulled {
                Pulled::Done if called_failing => {
                    let who = if said.status == "failing" { said } else { &self.node };
                    found.push(format!("{name} is called {}, and containerd pulls from it", who.words()));
                }
                Pulled::Refused(words) if called_well => {
                    found.push(format!("{name} is called {}, and containerd fails: {words}", said.words()));
                }
                Pulled::NoEnd if called_well => {
                    found.push(format!("{name} is called {}, and a pull has no end", said.words()));
                }
                _ => {}
            }
        }
        found
    }
}

/// With the name in front where there are several, or it is the node's.
fn name(all: &[Said], one: &Said, words: &str) -> String {
    if one.who == "node" || all.len() > 1 && !one.who.is_empty() {
        format!("{} {words}", one.who)
    } else {
        words.to_owned()
    }
}

/// What is expected, in words.
pub fn in_words(expected: &[Said]) -> String {
    let words: Vec<_> = expected.iter().map(|said| name(expected, said, &said.words())).collect();
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(status: &str, cause: Option<&str>) -> Said {
        Said {
            who: String::new(),
            status: status.to_owned(),
            cause: cause.map(str::to_owned),
            any_cause: false,
        }
    }

    fn told(status: &str, cause: Option<&str>) -> Told {
        let verdict = cause.map(|cause| json!({"cause": cause}));
        Told::of(&json!({"status": status, "verdict": null,
            "registries": [{"registry": "r.test", "status": status, "verdict": verdict}]}))
    }

    fn check(seen: (&str, Option<&str>), wanted: (&str, Option<&str>), expect: (bool, bool, bool, bool)) {
        let score = told(seen.0, seen.1).score(&[said(wanted.0, wanted.1)]);
        assert_eq!((score.domain, score.cause, score.wrongly_failing, score.wrongly_healthy), expect);
        assert_eq!(score.differs.is_none(), seen == wanted);
    }

    #[test]
    fn what_is_expected_is_right() {
        let verdict = ("failing", Some("tls_expired"));
        check(verdict, verdict, (true, true, false, false));
        check(("healthy", None), ("healthy", None), (true, true, false, false));
    }

    #[test]
    fn another_cause_may_have_the_right_domain() {
        let wanted = ("failing", Some("tls_expired"));
        check(("failing", Some("tls_untrusted")), wanted, (true, false, false, false));
        check(("failing", Some("clock_skew")), wanted, (false, false, false, false));
    }

    #[test]
    fn a_status_can_be_wrong_either_way() {
        check(("failing", Some("tls_expired")), ("degraded", Some("tls_expired")), (true, true, true, false));
        check(("degraded", Some("tls_expired")), ("failing", Some("tls_expired")), (true, true, false, true));
        check(("unknown", None), ("failing", Some("tls_expired")), (false, false, false, false));
    }

    #[test]
    fn a_node_that_nobody_expected_to_fail_is_an_objection() {
        let report = json!({"status": "failing", "verdict": {"cause": "disk_full"},
            "registries": [{"registry": "r.test", "status": "healthy", "verdict": null}]});
        let score = Told::of(&report).score(&[said("healthy", None)]);
        assert!(score.wrongly_failing && !score.domain, "{score:?}");
        assert_eq!(score.differs.as_deref(), Some("node failing node/disk_full"));
    }

    #[test]
    fn containerd_contradicts_either_way() {
        let truth = |pulled| [Truth { registry: "r.test".to_owned(), pulled }];
        let failing = told("failing", Some("tls_expired"));
        assert_eq!(failing.contradictions(&truth(Pulled::Done)).len(), 1);
        assert!(failing.contradictions(&truth(Pulled::NoEnd)).is_empty());
        let well = told("healthy", None);
        assert_eq!(well.contradictions(&truth(Pulled::Refused("no".to_owned()))).len(), 1);
        assert!(well.contradictions(&truth(Pulled::Done)).is_empty());
        let unknown = told("unknown", None);
        assert!(unknown.contradictions(&truth(Pulled::NoEnd)).is_empty());
    }
}
