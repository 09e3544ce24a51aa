//! What a page is made of: a registry's card, the strip of its stages, the table of its evidence.

use maud::{Markup, html};

use crate::export::report::rfc3339;
use crate::ledger::{EndpointView, RegistryView, WorkloadsView};
use crate::model::{Evidence, Outcome, PullReport, Quota, Status, Step, Verdict};

/// A status in its colour.
pub(super) fn pill(status: Status) -> Markup {
    html! { span class={ "pill " (status.label()) } { (status.label()) } }
}

/// The most pods that a page tells: what they take leaves room for the registries.
const MAX_PODS: usize = 10;

/// The containers that wait for their images; none where none does.
pub(super) fn pods(view: &WorkloadsView<'_>) -> Markup {
    let all = view.failing.len() + view.left_out;
    html! {
        section aria-labelledby="pods" {
            h2 id="pods" { "Pods that wait for an image" }
            @if all == 0 { p.dim { "None." } }
            @for failing in view.failing.iter().take(MAX_PODS) {
                article.card.failing {
                    h3 { (failing.trouble.namespace) "/" (failing.trouble.pod) " " (failing.trouble.container) }
                    p.dim { (failing.trouble.image) " · " (failing.trouble.reason.label()) }
                    (verdict(&failing.verdict))
                }
            }
            @if all > MAX_PODS {
                p { (all - MAX_PODS) " more stand in the " a href="/health?format=json" { "JSON" } "." }
            }
        }
    }
}

/// Everything that is shown of one registry. `told` is what the node's verdict said already; `evidence`: whether its
/// stages are told in words as well.
pub(super) fn card(view: &RegistryView<'_>, told: Option<&Verdict>, evidence: bool) -> Markup {
    let same = |v: &Verdict| told.is_some_and(|told| (told.cause, told.stage) == (v.cause, v.stage));
    html! {
        article class={ "card " (view.status.label()) } {
            h3 { (link(view)) " " (pill(view.status)) }
            @match &view.verdict {
                Some(told) if same(told) => { p { code { (told.cause) } " at " (told.stage.label()) ": see the node" } },
                Some(found) => { (verdict(found)) },
                None => {},
            }
            @for endpoint in &view.endpoints { (endpoint_strip(endpoint)) }
            @if let Some(pull) = view.pull { (strip("through containerd", pull)) }
            @if let Some(quota) = view.quota { (left(quota)) }
            @if evidence {
                details {
                    summary { "Evidence" span.sr { " of " (view.registry.as_str()) } }
                    @if let Some(way) = view.way { (table("where containerd asks", way)) }
                    @for endpoint in &view.endpoints {
                        @if let Some(wire) = endpoint.wire { (table(endpoint.url, wire)) }
                    }
                    @if let Some(pull) = view.pull { (table("through containerd", pull)) }
                    @if let Some(report) = view.pull_report() { (pulled(report)) }
                }
            }
        }
    }
}

/// A registry in a line.
pub(super) fn line(view: &RegistryView<'_>) -> Markup {
    html! {
        p { (link(view)) " " (pill(view.status)) @if let Some(v) = &view.verdict { " " code { (v.cause) } } }
    }
}

/// What is wrong, who acts, what to do.
pub(super) fn verdict(verdict: &Verdict) -> Markup {
    html! {
        p {
            code { (verdict.cause) } " at " (verdict.stage.label()) " (" (verdict.fault().who()) "), since "
            time { (rfc3339(verdict.since)) }
        }
        p.what { (verdict.summary) }
        p.do { (verdict.advice()) }
    }
}

/// The stages of a lane as a row of steps.
pub(super) fn strip(label: &str, evidence: &Evidence) -> Markup {
    html! {
        ol.strip aria-label=(label) {
            @for step in &evidence.steps {
                li class=(step.outcome.label()) { (step.stage.label()) span.sr { ": " (step.outcome.label()) } }
            }
        }
    }
}

/// What each stage of a lane saw.
pub(super) fn table(caption: &str, evidence: &Evidence) -> Markup {
    html! {
        table {
            caption { (caption) }
            thead { tr { th scope="col" { "stage" } th scope="col" { "outcome" } th scope="col" { "ms" } th scope="col" { "seen" } } }
            @for step in evidence.steps.iter().filter(|step| !matches!(step.outcome, Outcome::Skipped(_))) {
                tr {
                    td { (step.stage.label()) }
                    td class=(step.outcome.label()) { (step.outcome.label()) }
                    td.n { (format!("{:.1}", step.took.as_secs_f64() * 1000.0)) }
                    td { (seen(step)) }
                }
            }
        }
    }
}

fn seen(step: &Step) -> &str {
    match &step.outcome {
        Outcome::Warned(finding) | Outcome::Failed(finding) => &finding.text,
        Outcome::Undecided(why) => why,
        Outcome::Passed | Outcome::Skipped(_) => &step.detail,
    }
}

fn link(view: &RegistryView<'_>) -> Markup {
    html! { a href={ "/health/" (view.registry.as_str()) } { (view.registry.as_str()) } }
}

fn endpoint_strip(endpoint: &EndpointView<'_>) -> Markup {
    html! {
        p.dim { (endpoint.url) " (" (endpoint.role.label()) ")" }
        @match endpoint.wire {
            Some(wire) => { (strip(endpoint.url, wire)) },
            None => { p.dim { "Not looked at yet, or too long ago." } },
        }
    }
}

fn left(quota: &Quota) -> Markup {
    let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    html! { p.dim { "quota: " (number(quota.remaining)) " of " (number(quota.limit)) " pulls left" } }
}

fn pulled(report: &PullReport) -> Markup {
    html! {
        p.dim {
            "test pull of " (report.image) " (" (report.via) "): " (report.outcome.label()) ", " (report.bytes) " bytes in "
            (format!("{:.2} s", report.took.as_secs_f64()))
        }
    }
}
