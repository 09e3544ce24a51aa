//! What a page is made of: a registry's card, the strip of its stages, the evidence of each.

use maud::{Markup, html};

use super::Detail;
use crate::export::report::rfc3339;
use crate::export::text::{bytes, is_told};
use crate::ledger::{EndpointView, RegistryView, WorkloadsView};
use crate::model::{Evidence, Outcome, PullOutcome, PullReport, Quota, Role, Status, Step, Verdict};

/// The most pods that a page tells: what they take leaves room for the registries.
const MAX_PODS: usize = 10;

/// A status in its colour.
pub(super) fn pill(status: Status) -> Markup {
    html! { span class={ "pill " (status.label()) } { (status.label()) } }
}

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
                p { (all - MAX_PODS) " more stand in the " a href="health?format=json" { "JSON" } "." }
            }
        }
    }
}

/// What is shown of one registry. `told` is what the node's verdict said already; `name`: how it is headed.
pub(super) fn card(
    view: &RegistryView<'_>,
    told: Option<&Verdict>,
    detail: Detail,
    name: Option<Markup>,
) -> Markup {
    html! {
        article class={ "card " (view.status.label()) } {
            div.lanes {
                @if let Some(name) = name { h3 { (name) " " (pill(view.status)) } }
                @for endpoint in &view.endpoints { (lane(view, endpoint)) }
                @if let (Some(pull), true) = (view.pull, view.endpoints.is_empty()) { (strip("pull", [pull])) }
            }
            div {
                @match &view.verdict {
                    Some(v) if is_told(v, told) => { p { code { (v.cause) } " at " (v.stage.label()) ": see the node" } },
                    Some(v) if detail == Detail::Strip => { p { (cause(v)) } },
                    Some(v) => { (verdict(v)) },
                    None => {},
                }
                @if view.quota.is_some() || view.pull_report().is_some() {
                    p.dim {
                        @if let Some(report) = view.pull_report() { (pulled(report)) " " }
                        @if let Some(quota) = view.quota { (left(quota)) }
                    }
                }
            }
            @if detail == Detail::Evidence { (folded(view)) }
        }
    }
}

/// A registry in a line.
pub(super) fn line(view: &RegistryView<'_>) -> Markup {
    html! {
        p { (link(view)) " " (pill(view.status)) @if let Some(v) = &view.verdict { " " code { (v.cause) } } }
    }
}

/// A registry's name, which leads to its own page.
pub(super) fn link(view: &RegistryView<'_>) -> Markup {
    html! { a href={ "health/" (view.registry.as_str()) } { (view.registry.as_str()) } }
}

/// What is wrong, who acts, what was seen, what to do: in the words of the table of causes.
pub(super) fn verdict(verdict: &Verdict) -> Markup {
    html! {
        p {
            (cause(verdict)) " "
            span.dim {
                "at " (verdict.stage.label())
                @if !verdict.place.is_empty() { " of " (verdict.place) }
                ", since " time { (rfc3339(verdict.since)) }
            }
        }
        @if let Some(meaning) = verdict.meaning() { p.what { (meaning) } }
        p.seen { (verdict.summary) }
        p.do { (verdict.advice()) }
    }
}

/// The stages of lanes as a row of steps.
pub(super) fn strip<'a>(label: &str, lanes: impl IntoIterator<Item = &'a Evidence>) -> Markup {
    html! {
        ol.strip aria-label=(label) {
            @for step in lanes.into_iter().flat_map(|lane| &lane.steps) {
                li class=(step.outcome.label()) { (step.stage.label()) i { ": " (step.outcome.label()) } }
            }
        }
    }
}

/// What each stage of a lane saw.
pub(super) fn seen(evidence: &Evidence) -> Markup {
    html! {
        dl {
            @for step in evidence.steps.iter().filter(|step| !matches!(step.outcome, Outcome::Skipped(_))) {
                dt {
                    (step.stage.label()) " " b class=(step.outcome.label()) { (step.outcome.label()) } " "
                    (format!("{:.1} ms", step.took.as_secs_f64() * 1000.0))
                }
                dd { (words(step)) }
            }
        }
    }
}

/// Cause and who acts.
fn cause(verdict: &Verdict) -> Markup {
    html! { code { (verdict.cause) } " " strong { (verdict.fault().who()) } }
}

/// All that was seen of a registry.
pub(super) fn evidence(view: &RegistryView<'_>) -> Markup {
    let lane = |name: &str, evidence: &Evidence| html! { h3 { (name) } (seen(evidence)) };
    html! {
        section.card aria-labelledby="evidence" {
            h2 id="evidence" { "Evidence" }
            (lanes(view, lane))
        }
    }
}

/// The same, folded until it is wanted.
fn folded(view: &RegistryView<'_>) -> Markup {
    let lane = |name: &str, evidence: &Evidence| html! { h4 { (name) } (seen(evidence)) };
    html! {
        details {
            summary { "Evidence" span.sr { " of " (view.registry.as_str()) } }
            (lanes(view, lane))
        }
    }
}

/// Each lane of a registry, as `lane` tells it.
fn lanes(view: &RegistryView<'_>, lane: impl Fn(&str, &Evidence) -> Markup) -> Markup {
    html! {
        @if let Some(way) = view.way { (lane("where containerd asks", way)) }
        @for endpoint in &view.endpoints {
            @if let Some(wire) = endpoint.wire { (lane(endpoint.url, wire)) }
        }
        @if let Some(pull) = view.pull { (lane("through containerd", pull)) }
    }
}

fn words(step: &Step) -> &str {
    match &step.outcome {
        Outcome::Warned(finding) | Outcome::Failed(finding) => &finding.text,
        Outcome::Undecided(why) => why,
        Outcome::Passed | Outcome::Skipped(_) => &step.detail,
    }
}

/// An endpoint's stages; the pull, which goes through all of them, stands at the end of the registry's own.
fn lane(view: &RegistryView<'_>, endpoint: &EndpointView<'_>) -> Markup {
    let pull = view.pull.filter(|_| endpoint.role == Role::Registry);
    // A registry that is asked at its own name needs no further one.
    let is_plain = view.endpoints.len() == 1 && endpoint.url == format!("https://{}", view.registry);
    html! {
        @if !is_plain { p.dim { (endpoint.url) " (" (endpoint.role.label()) ")" } }
        @if endpoint.wire.is_none() { p.dim { "Not looked at yet, or too long ago." } }
        @if endpoint.wire.is_some() || pull.is_some() {
            (strip(endpoint.url, endpoint.wire.into_iter().chain(pull)))
        }
    }
}

fn left(quota: &Quota) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    format!("Quota: {} of {} pulls left.", number(quota.remaining), number(quota.limit))
}

fn pulled(report: &PullReport) -> String {
    let (via, outcome, took) = (report.via, report.outcome.label(), report.took.as_secs_f64());
    let bytes = match report.outcome {
        PullOutcome::Pulled => format!("{} ", bytes(report.bytes)),
        PullOutcome::Present | PullOutcome::Failed | PullOutcome::Undecided => String::new(),
    };
    format!("Test pull of {} ({via}): {outcome}, {bytes}in {took:.2} s.", report.image)
}
