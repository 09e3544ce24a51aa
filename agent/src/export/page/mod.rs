//! The report as a page for a browser: readable without a script, without a second request, and at most
//! [`MAX_BYTES`] long. maud escapes every text that is put into it.

mod parts;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use super::report::rfc3339;
use super::text::{tally, worst_first};
use crate::ledger::{RegistryView, View};
use crate::model::{Status, Verdict};

/// The most that a page takes, in bytes: what does not fit is told in a line, and stands in the JSON.
pub const MAX_BYTES: usize = 50_000;

/// What stands around the body and the style: the head, the line that counts what is left out.
const FRAME_BYTES: usize = 1_000;

/// The seconds after which a browser asks again.
const REFRESH_SECONDS: u32 = 30;

const STYLE: &str = include_str!("style.css");

/// The `Content-Security-Policy` of a page: nothing is fetched and nothing runs; only this style applies (CSP Level 3, 2.3.1).
pub static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// How much of a registry a card shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    /// Its name, status, cause and stages.
    Strip,
    /// The verdict in words as well.
    Words,
    /// All that was seen as well, folded.
    Evidence,
}

/// The node's page. `is_still`: the reader asked that it does not refresh itself.
pub fn node(node: &str, view: &View<'_>, is_still: bool) -> String {
    let header = html! {
        header.card.(view.status.label()) {
            h1 { (parts::pill(view.status)) " " (node) }
            p.lead { (headline(view)) }
            @if own_verdict(view).is_some() { p { (tally(&view.registries)) } }
            (causes(view))
            p.dim {
                @match view.runtime {
                    Some(r) => { (r.name) " " (r.version) ", " (r.snapshotter) },
                    None => { "runtime not seen" },
                }
                " · " time { (rfc3339(view.at.wall)) } " · " (refresh(is_still))
                " · " a href="health?format=json" { "JSON" } " · " a href="metrics" { "metrics" }
                " · pullscope " (env!("CARGO_PKG_VERSION"))
            }
        }
    };
    let this = html! {
        section aria-labelledby="node" {
            h2 id="node" { "This node" }
            article.card.(own_status(view).label()) {
                div.lanes {
                    @match view.node {
                        Some(evidence) => { (parts::strip("stages of the node", [evidence])) },
                        None => { p.dim { "Not looked at yet, or too long ago." } },
                    }
                }
                @if let Some(verdict) = &view.verdict { div { (parts::verdict(verdict)) } }
                @if let Some(evidence) = view.node {
                    details { summary { "Evidence" span.sr { " of this node" } } (parts::seen(evidence)) }
                }
            }
        }
    };
    let mut body = header.into_string() + "<main>" + &this.into_string();
    if let Some(workloads) = &view.workloads {
        body.push_str(&parts::pods(workloads).into_string());
    }
    body.push_str("<section aria-labelledby=\"registries\"><h2 id=\"registries\">Registries</h2>");
    registries(&mut body, view);
    body.push_str("</section></main>");
    let title = format!("{} · {node} · pullscope", view.status.label());
    document(&title, is_still, PreEscaped(body))
}

/// One registry's page, with all of its evidence.
pub fn registry(view: &RegistryView<'_>, is_still: bool) -> String {
    let name = view.registry.as_str();
    let body = html! {
        header.card.(view.status.label()) {
            h1 { (parts::pill(view.status)) " " (name) }
            p.dim {
                a href="../" { "the node" } " · " (refresh(is_still))
                " · " a href={ (name) "?format=json" } { "JSON" } " · pullscope " (env!("CARGO_PKG_VERSION"))
            }
        }
        main { (parts::card(view, None, Detail::Words, None)) (parts::evidence(view)) }
    };
    document(&format!("{} · {name} · pullscope", view.status.label()), is_still, body)
}

/// How the node itself is, whatever its registries are.
fn own_status(view: &View<'_>) -> Status {
    match (&view.verdict, view.node) {
        (None, Some(evidence)) if !evidence.is_undecided() => Status::Healthy,
        (None, _) => Status::Unknown,
        (Some(verdict), _) if verdict.is_warning => Status::Degraded,
        (Some(_), _) => view.status,
    }
}

/// The node's own verdict, unless it is a mere warning beside registries that fail.
fn own_verdict<'a>(view: &'a View<'_>) -> Option<&'a Verdict> {
    view.verdict.as_ref().filter(|verdict| !verdict.is_warning || view.status == Status::Degraded)
}

/// The first sentence of the page: what is wrong with the node and who acts, else how its registries are.
fn headline(view: &View<'_>) -> String {
    match own_verdict(view) {
        Some(verdict) => format!("{}: {}", verdict.cause, verdict.fault().who()),
        None => tally(&view.registries),
    }
}

/// What is wrong with how many registries, and who acts; the most frequent first.
fn causes(view: &View<'_>) -> Markup {
    let mut counts = BTreeMap::new();
    for verdict in view.registries.iter().filter_map(|registry| registry.verdict.as_ref()) {
        *counts.entry(verdict.cause).or_insert(0_usize) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    html! {
        @if !counts.is_empty() {
            ul.causes {
                @for (cause, count) in counts {
                    li { (count) " × " code { (cause) } " " (cause.fault().who()) }
                }
            }
        }
    }
}

/// The registries, the worst first: each in a line, then as many as there is room for with their stages, then with
/// words, then with evidence.
fn registries(body: &mut String, view: &View<'_>) {
    let order = worst_first(&view.registries);
    let mut room = MAX_BYTES.saturating_sub(body.len() + STYLE.len() + FRAME_BYTES);
    let mut cards: Vec<String> = Vec::new();
    for registry in &order {
        let line = parts::line(registry).into_string();
        let Some(left) = room.checked_sub(line.len()) else { break };
        room = left;
        cards.push(line);
    }
    for detail in [Detail::Strip, Detail::Words, Detail::Evidence] {
        for (registry, card) in order.iter().zip(&mut cards) {
            let name = Some(parts::link(registry));
            let more = parts::card(registry, view.verdict.as_ref(), detail, name).into_string();
            // The worst has the first right: a lesser one does not slip past it.
            let Some(left) = (room + card.len()).checked_sub(more.len()) else { break };
            room = left;
            *card = more;
        }
    }
    body.extend(cards.iter().map(String::as_str));
    let left_out = order.len() - cards.len();
    if left_out > 0 {
        let rest =
            html! { p { (left_out) " more stand in the " a href="health?format=json" { "JSON" } "." } };
        body.push_str(&rest.into_string());
    }
}

fn refresh(is_still: bool) -> Markup {
    html! {
        @if is_still {
            a href="?" { "refresh by itself" }
        } @else {
            "refreshed every " (REFRESH_SECONDS) " s (" a href="?still" { "hold still" } ")"
        }
    }
}

fn document(title: &str, is_still: bool, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                @if !is_still { meta http-equiv="refresh" content=(REFRESH_SECONDS); }
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}
