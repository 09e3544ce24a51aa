//! `docs/causes.md` is made from the tables of causes and rules; here it is made again and compared.
//! `PULLSCOPE_BLESS=1` writes it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use pullscope::classify::text::wordings;
use pullscope::model::{Cause, Domain};

const HEAD: &str = "\
# Causes

Why an image pull fails, and who has to act. The list is closed: metrics, JSON and alerts use these labels and no
others. Each label is an anchor of this page.

This page is made from the tables in `agent/src/model/cause.rs` and `agent/src/classify/text/rules/`; do not edit it.
After a change there: `PULLSCOPE_BLESS=1 cargo test -p pullscope --test classify_docs`.

The wordings are those by which `pullscope classify` knows a cause in the texts of containerd, CRI-O, Docker, podman and
the kubelet, in lower case: `{a|b}` offers a choice, `…` stands for a few words, `<name>` for an image, host, path or
digest, `<url>` for a URL (`<blob>` and `<manifest>` for one of those), `<resolver>` for an address with port 53,
`<settings>` for a path of registry settings, `<any>`
for any one word, `5xx` for a number, `:` for the colon between an error and what caused it, `$` for the end of a clause.
The order of the rules decides where one text has several wordings; it is told in `rules/mod.rs`.
";

fn who(domain: Domain) -> (&'static str, &'static str) {
    match domain {
        Domain::Network => {
            ("the path from node to registry", "whoever runs the network and the node's resolver")
        }
        Domain::Quota => ("a limit on pulls", "whoever runs the platform, or pays for the registry account"),
        Domain::Auth => {
            ("credentials and permissions", "the pod's author, or whoever runs the registry account")
        }
        Domain::Spec => ("the pod's image line", "the pod's author"),
        Domain::Registry => ("the registry's own fault", "the registry's operator"),
        Domain::Node => ("the node's disk, runtime or clock", "whoever runs the node"),
        Domain::Unknown => ("no cause was recognised", "nobody yet"),
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for domain in Domain::ALL {
        let (what, acts) = who(domain);
        let fault = domain.fault().label();
        let _ = write!(
            page,
            "\n## {}\n\n{}: {what}. Who acts: {acts} (`fault` is `{fault}`).\n",
            domain.label(),
            title(domain.label())
        );
        for cause in Cause::ALL.iter().filter(|cause| cause.domain() == domain) {
            let _ = write!(
                page,
                "\n<a id=\"{0}\"></a>\n\n### {0}\n\n{1}\n\nWhat to do: {2}\n\n",
                cause.label(),
                cause.meaning(),
                cause.advice()
            );
            let wordings = wordings(*cause);
            if wordings.is_empty() {
                page += "No wording says this: it takes evidence.\n";
                continue;
            }
            page += "Wordings:\n\n";
            for wording in wordings {
                let _ = writeln!(page, "- `{wording}`");
            }
        }
    }
    page
}

fn title(label: &str) -> String {
    let mut letters = label.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[test]
fn the_page_of_causes_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/causes.md");
    let made = page();
    if std::env::var_os("PULLSCOPE_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &made).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "docs/causes.md is not what the tables say: run with PULLSCOPE_BLESS=1");
}

#[test]
fn every_cause_has_its_anchor_and_only_evidence_causes_have_no_wording() {
    let page = page();
    let evidence = [Cause::RegistryUnknown, Cause::InodesExhausted, Cause::ClockSkew, Cause::Unknown];
    for &cause in Cause::ALL {
        assert!(page.contains(&format!("<a id=\"{}\"></a>", cause.label())), "{cause}");
        assert_eq!(wordings(cause).is_empty(), evidence.contains(&cause), "{cause}");
    }
}
