//! docs/faults.md and the README's lines from it, as a run has them; all but the seconds is the same in every run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::table::{self, Row, Totals};
use super::verdict;
use crate::Fallible;
use crate::world::release::{Release, Version};

/// The groups of scenarios: the first words of their names, and the heading.
const GROUPS: &[(&str, &[&str])] = &[
    ("Names", &["dns"]),
    ("The path", &["path", "tcp"]),
    ("TLS", &["tls"]),
    ("Proxies", &["proxy"]),
    ("What the registry answers", &["http", "ping", "manifest"]),
    ("Quota", &["quota"]),
    ("Credentials", &["auth", "plugin"]),
    ("The image", &["spec", "platform", "target"]),
    ("Layers and the hosts that they come from", &["blob", "content", "pull"]),
    ("Mirrors and hosts.toml", &["mirror", "hosts"]),
    ("The node", &["node", "disk", "clock"]),
    ("Nothing broken, or not this", &[]),
];

/// What stands around the README's lines.
const MARKERS: (&str, &str) = ("<!-- faults: written by `./just test-lab --write` -->", "<!-- /faults -->");

const OPENING: &str = "\
Written by `./just test-lab --write`; every `./just test-lab` holds it against a new run, seconds aside. Each row is a world of \
real servers ([tests/scenarios](../tests/scenarios/README.md)) with one fault in it. The world is brought up anew for each \
containerd, with a containerd of its own, and three are asked:

* **pullscope**: `pullscope check`, by its defaults, a test pull included. ✓ means that status, domain and cause are the expected ones; \
  else it stands there what was said. The seconds are from its start to its report; `!` marks a fault on the wire whose verdict took longer than \
  one stage's time-out and two seconds.
* **containerd** itself: a pull of the same image through its CRI, with the credentials that a kubelet would show. `works` or `fails` is \
  the truth that the verdict is held against: a registry that pulls must not be called failing, nor one that fails be called healthy. \
  Where the two must differ a note says why.
* **blackbox**: prometheus-blackbox-exporter, with the same name servers, roots and proxy (where it takes its URL), by a GET of `/v2/` for which 200 and 401 are \
  good. It answers up or down. What lies behind `/v2/` it does not see (tokens, manifests, layers, quotas, mirrors, the disk), nor who has to act.
";

/// The document.
pub fn write(rows: &[Row], releases: &[Release]) -> String {
    let mut out = format!("# Faults, and what is said of them\n\n{OPENING}\n");
    let releases: Vec<_> = releases.iter().map(|release| release.version).collect();
    totals(&mut out, rows, &releases);
    let mut left: Vec<_> = rows.iter().collect();
    for (heading, prefixes) in GROUPS {
        let of_group = |row: &&Row| {
            let prefix = row.name.split('_').next().unwrap_or_default();
            prefixes.is_empty() || prefixes.contains(&prefix)
        };
        let (group, others) = left.into_iter().partition::<Vec<_>, _>(of_group);
        left = others;
        if !group.is_empty() {
            section(&mut out, heading, &group, &releases);
        }
    }
    out
}

/// The table of totals: also the README's.
pub fn totals(out: &mut String, rows: &[Row], versions: &[Version]) {
    let all: Vec<_> = versions.iter().map(|&version| Totals::of(rows, version)).collect();
    let heads: Vec<_> = versions.iter().map(|version| format!("containerd {version}")).collect();
    line(out, "", &heads);
    line(out, "---", &vec!["---".to_owned(); heads.len()]);
    let mut row = |what: &str, cell: &dyn Fn(&Totals) -> String| {
        line(out, what, &all.iter().map(cell).collect::<Vec<_>>());
    };
    row("scenarios", &|t| t.scenarios.to_string());
    row("domain right", &|t| share(t.domain, t.scenarios));
    row("cause right", &|t| share(t.cause, t.scenarios));
    row("wrongly called failing", &|t| t.wrongly_failing.to_string());
    row("wrongly called healthy or degraded", &|t| t.wrongly_healthy.to_string());
    row("contradicted by containerd's own pull", &|t| t.contradicted.to_string());
    row("to the report: median, 95th percentile", &|t| format!("{:.1} s, {:.1} s", t.median, t.p95));
    row(LATE, &|t| format!("{} of {}", t.late, t.wire));
    out.push('\n');
}

/// The row that depends on how busy the machine is.
const LATE: &str = "wire faults told later than one time-out and 2 s";

fn share(count: usize, all: usize) -> String {
    let hundredths = if all == 0 { 0.0 } else { 100.0 * count as f64 / all as f64 };
    // Never 100 % unless it is all of them.
    let rounded = if count < all { hundredths.min(99.9) } else { hundredths };
    format!("{count} ({rounded:.1} %)")
}

fn line(out: &mut String, first: &str, cells: &[String]) {
    writeln!(out, "| {first} | {} |", cells.join(" | ")).expect("a String takes all");
}

fn section(out: &mut String, heading: &str, rows: &[&Row], versions: &[Version]) {
    writeln!(out, "## {heading}\n").expect("a String takes all");
    let mut heads = vec!["expected".to_owned()];
    heads.extend(versions.iter().map(|version| version.to_string()));
    heads.extend(["containerd".to_owned(), "blackbox".to_owned()]);
    line(out, "fault", &heads);
    line(out, "---", &vec!["---".to_owned(); heads.len()]);
    for row in rows {
        let mut cells = vec![row.expected.clone()];
        cells.extend(versions.iter().map(|version| said(row, *version)));
        cells.push(pulls(row, versions));
        cells.push(row.blackbox());
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let about = row.about.replace('|', "\\|");
        line(out, &format!("[{about}](../tests/scenarios/{}.toml)", row.name), &cells);
    }
    out.push('\n');
    for row in rows {
        if let Some(why) = &row.oracle {
            writeln!(out, "`{}`, containerd's own pull: {}\n", row.name, why.trim())
                .expect("a String takes all");
        }
    }
}

fn said(row: &Row, version: Version) -> String {
    let Some(seen) = row.seen.get(&version) else { return "-".to_owned() };
    let late = if table::is_late(seen) { "!" } else { "" };
    let here = verdict::in_words(&seen.expected);
    // What only this line of containerd expects is told.
    let own = if here == row.expected { String::new() } else { format!(" {here}") };
    let said = seen.score.differs.as_ref().map_or_else(|| format!("✓{own}"), |words| format!("**{words}**"));
    format!("{said} {:.1} s{late}", seen.seconds)
}

/// `fails`, or which line does what.
fn pulls(row: &Row, versions: &[Version]) -> String {
    let each: Vec<_> = versions
        .iter()
        .filter_map(|version| row.seen.get(version).map(|seen| (*version, Row::pull(seen))))
        .collect();
    match each.first() {
        None => "-".to_owned(),
        Some((_, first)) if each.iter().all(|(_, words)| words == first) => first.clone(),
        _ => each.iter().map(|(version, words)| format!("{version} {words}")).collect::<Vec<_>>().join(", "),
    }
}

/// The README with these totals between the markers.
pub fn quoted(readme: &str, rows: &[Row], versions: &[Version]) -> Fallible<String> {
    let missing = || format!("README.md has no {} … {}", MARKERS.0, MARKERS.1);
    let (head, rest) = readme.split_once(MARKERS.0).ok_or_else(missing)?;
    let (_, tail) = rest.split_once(MARKERS.1).ok_or_else(missing)?;
    let mut table = String::new();
    totals(&mut table, rows, versions);
    Ok(format!("{head}{}\n{table}{}{tail}", MARKERS.0, MARKERS.1))
}

/// What differs between a file and what the run says, seconds aside; nothing: it is the same.
pub fn differences(file: &Path, now: &str) -> Vec<String> {
    let before = fs::read_to_string(file).unwrap_or_default();
    let (before, now) = (without_seconds(&before), without_seconds(now));
    let missing = |from: &[String], other: &[String], sign: &str| {
        let only = from.iter().filter(|line| !other.contains(line));
        only.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let mut found = missing(&before, &now, "-");
    found.extend(missing(&now, &before, "+"));
    if found.is_empty() && before != now {
        found.push("the order of the lines".to_owned());
    }
    found
}

/// The lines without numbers of seconds (`0.3 s`, `2.5 s!`), and without the row that counts late ones.
fn without_seconds(text: &str) -> Vec<String> {
    let kept = text.lines().filter(|line| !line.contains(LATE));
    kept.map(|line| {
        let mut words: Vec<&str> = Vec::new();
        for word in line.split(' ') {
            let is_number = |w: &&str| w.contains('.') && w.parse::<f64>().is_ok();
            if matches!(word, "s" | "s!" | "s,") && words.last().is_some_and(is_number) {
                words.pop();
                words.push("…");
            } else {
                words.push(word);
            }
        }
        words.join(" ")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_do_not_count_and_words_do() {
        let of = |text: &str| without_seconds(text);
        assert_eq!(of("| ✓ 0.3 s | ✓ 12.5 s! |"), of("| ✓ 0.4 s! | ✓ 2.5 s |"));
        assert_ne!(of("| ✓ 0.3 s |"), of("| **healthy** 0.3 s |"));
        assert_ne!(of("after 30 s it goes on"), of("after 20 s it goes on"));
    }

    #[test]
    fn the_readme_is_changed_between_the_markers_only() {
        let readme = format!("before\n{}\nsomething else\n{}\nafter\n", MARKERS.0, MARKERS.1);
        let now = quoted(&readme, &[], &Version::ALL).unwrap();
        assert!(
            now.starts_with("before\n") && now.ends_with("\nafter\n") && !now.contains("something else"),
            "{now}"
        );
        assert!(now.contains("| containerd 1.6 | containerd 1.7 | containerd 2.1 |"), "{now}");
        assert!(quoted("nothing", &[], &Version::ALL).is_err());
    }

    #[test]
    fn nearly_all_is_not_all() {
        assert_eq!(share(1999, 2000), "1999 (99.9 %)");
        assert_eq!(share(2000, 2000), "2000 (100.0 %)");
    }
}
