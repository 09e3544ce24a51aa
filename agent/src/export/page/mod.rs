//! The report as a page for a browser: readable without a script, without a second request, and at most
//! [`MAX_BYTES`] long. maud escapes every text that is put into it.

mod parts;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ring::digest::{SHA256, digest};

use super::report::rfc3339;
use super::text::tally;
use crate::ledger::{RegistryView, View};
use crate::model::Status;

/// The most that a page takes, in bytes: what does not fit is told in a line, and stands in the JSON.
pub const MAX_BYTES: usize = 50_000;

/// From here on registries are told in a line each; what is left is for those lines.
const FULL_BYTES: usize = 36_000;

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

/// The node's page. `is_still`: the reader asked that it does not refresh itself.
pub fn node(node: &str, view: &View<'_>, is_still: bool) -> String {
    let header = html! {
        header {
            p.dim { "pullscope " (env!("CARGO_PKG_VERSION")) }
            h1 { (parts::pill(view.status)) " " (node) }
            p.what { (headline(view)) }
            p.dim {
                @match view.runtime {
                    Some(r) => { (r.name) " " (r.version) ", " (r.snapshotter) },
                    None => { "runtime not seen" },
                }
                " · " time { (rfc3339(view.at.wall)) } " · " (refresh(is_still))
                " · " a href="/health?format=json" { "JSON" } " · " a href="/metrics" { "metrics" }
            }
        }
        section aria-labelledby="node" {
            h2 id="node" { "This node" }
            @if let Some(verdict) = &view.verdict { div.card.(view.status.label()) { (parts::verdict(verdict)) } }
            @match view.node {
                Some(evidence) => {
                    (parts::strip("stages of the node", evidence))
                    details { summary { "Evidence" } (parts::table("node", evidence)) }
                },
                None => { p.dim { "Not looked at yet, or too long ago." } },
            }
        }
    };
    let mut body = header.into_string();
    if let Some(workloads) = &view.workloads {
        body.push_str(&parts::pods(workloads).into_string());
    }
    body.push_str("<section aria-labelledby=\"registries\"><h2 id=\"registries\">Registries</h2>");
    registries(&mut body, view);
    body.push_str("</section>");
    let title = format!("{} · {node} · pullscope", view.status.label());
    document(&title, is_still, PreEscaped(body))
}

/// One registry's page, with all of its evidence.
pub fn registry(view: &RegistryView<'_>, is_still: bool) -> String {
    let name = view.registry.as_str();
    let body = html! {
        header {
            p.dim { "pullscope " (env!("CARGO_PKG_VERSION")) " · " a href="/" { "the node" } " · " (refresh(is_still)) }
            h1 { (parts::pill(view.status)) " " (name) }
        }
        (parts::card(view, None, true))
    };
    document(&format!("{} · {name} · pullscope", view.status.label()), is_still, body)
}

/// The first sentence of the page: what is wrong with the node, else how its registries are.
fn headline(view: &View<'_>) -> String {
    match &view.verdict {
        Some(verdict) => format!("{}: {}", verdict.cause, verdict.fault().who()),
        None => tally(&view.registries),
    }
}

/// The registries, the worst first; those that do not fit in a line each.
fn registries(body: &mut String, view: &View<'_>) {
    let mut order: Vec<_> = view.registries.iter().collect();
    order.sort_by_key(|registry| std::cmp::Reverse(registry.status));
    let mut left_out = 0;
    for registry in order {
        let full =
            parts::card(registry, view.verdict.as_ref(), registry.status != Status::Healthy).into_string();
        if body.len() + full.len() <= FULL_BYTES {
            body.push_str(&full);
            continue;
        }
        let line = parts::line(registry).into_string();
        if body.len() + line.len() + STYLE.len() + 2_000 <= MAX_BYTES {
            body.push_str(&line);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        let rest =
            html! { p { (left_out) " more stand in the " a href="/health?format=json" { "JSON" } "." } };
        body.push_str(&rest.into_string());
    }
}

fn refresh(is_still: bool) -> Markup {
    html! {
        @if is_still {
            a href="?" { "refresh by itself" }
        } @else {
            "every " (REFRESH_SECONDS) " s (" a href="?still" { "hold still" } ")"
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
            body { main { (body) } }
        }
    };
    page.into_string()
}
