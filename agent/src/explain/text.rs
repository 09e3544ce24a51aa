//! The explanation for a person: 80 columns; the verdict and what to do first, then the checklist.

use super::{Check, ContainerSays, Explanation, Subject};
use crate::model::{ContainerKind, Verdict, text};

/// The columns of a terminal that nobody has widened.
const WIDTH: usize = 80;
/// The columns of a checklist's names.
const NAME: usize = 15;

pub(super) fn text(told: &Explanation) -> String {
    let mut out = String::new();
    let place = told.node.as_ref().map_or_else(String::new, |node| format!(", on node {node}"));
    wrap(&mut out, "", 2, &format!("pod {}/{}, {}{place}", told.namespace, told.pod, told.phase));
    wrap(&mut out, &format!("{}: ", told.status.label()), 2, &told.summary);
    for container in &told.containers {
        if let Some(verdict) = &container.verdict {
            out.push('\n');
            explain(&mut out, container, verdict);
        }
    }
    out.push_str("\nthe pod\n");
    list(&mut out, &told.checks);
    for container in &told.containers {
        out.push('\n');
        wrap(&mut out, "", 2, &heading(container));
        list(&mut out, &container.checks);
    }
    out
}

fn explain(out: &mut String, container: &ContainerSays, verdict: &Verdict) {
    wrap(out, "", 2, &format!("{}: {} ({})", heading(container), verdict.cause, verdict.fault().who()));
    wrap(out, "  what: ", 8, &verdict.summary);
    wrap(out, "  do:   ", 8, &verdict.advice());
    if !container.also.is_empty() {
        let also: Vec<String> = container.also.iter().map(ToString::to_string).collect();
        wrap(out, "  or:   ", 8, &also.join(", "));
    }
    wrap(out, "  more: ", 8, &verdict.cause.page());
}

fn heading(container: &ContainerSays) -> String {
    match container.kind {
        ContainerKind::Main => format!("container {}", container.name),
        kind => format!("{} container {}", kind.label(), container.name),
    }
}

fn list(out: &mut String, checks: &[Check]) {
    for check in checks {
        let head = format!("  {}  {:NAME$}", check.mark.sign(), shown(check.what));
        wrap(out, &head, head.len(), &check.text);
    }
}

fn shown(what: Subject) -> &'static str {
    match what {
        Subject::Scheduled => "scheduled",
        Subject::PullSecret => "pull secret",
        Subject::ServiceAccount => "account",
        Subject::Events => "events",
        Subject::NodeAgent => "node agent",
        Subject::Image => "image",
        Subject::PullPolicy => "policy",
        Subject::State => "state",
        Subject::Error => "error",
        Subject::Credentials => "credentials",
        Subject::Registry => "registry",
    }
}

/// `head` and `words` in lines of [`WIDTH`] columns, of which all but the first begin with `indent` spaces. A word that
/// is longer than a line stands whole, so that it can be copied.
fn wrap(out: &mut String, head: &str, indent: usize, words: &str) {
    out.push_str(head);
    let mut column = head.chars().count();
    let mut is_first = true;
    // Once more, so that no caller's word reaches a terminal that would obey it.
    for word in text::clean(words, 2 * text::MAX_TEXT).split(' ') {
        let width = word.chars().count();
        if !is_first && column + 1 + width > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if !is_first {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
        is_first = false;
    }
    out.push('\n');
}
