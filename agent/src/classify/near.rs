//! Which tags somebody may have meant who asked for one that is not there.

use std::cmp::{Ordering, Reverse};

/// The most tags that are named.
const MOST: usize = 3;

/// The longest texts that are compared letter by letter; a tag has at most 128 bytes.
const LONGEST: usize = 128;

/// The tags that are most like `wanted`, the likest first, at most three: versions that begin alike and are near in their
/// first different number, with the same suffix before others (`1.27.1-alpine` for `1.27.9-alpine`), and words that are a
/// slip of a finger away.
pub fn near(wanted: &str, tags: &[String]) -> Vec<String> {
    let mut found: Vec<(Likeness, &String)> = tags
        .iter()
        .filter(|tag| *tag != wanted)
        .filter_map(|tag| Some((likeness(wanted, tag)?, tag)))
        .collect();
    // Of versions that are equally near, the newer.
    found.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| newer(y, x)));
    found.dedup_by(|(_, x), (_, y)| x == y);
    found.into_iter().take(MOST).map(|(_, tag)| tag.clone()).collect()
}

/// How like a tag is; the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    /// Versions that do not begin alike come after all others.
    is_far: bool,
    /// Another suffix.
    is_other_kind: bool,
    /// How many numbers of the version are the same, from the left.
    same: Reverse<usize>,
    /// How far the first different number is away.
    away: u64,
    /// How many letters are different.
    letters: usize,
}

/// A tag that is a version: its numbers, and what follows them.
struct Version<'a> {
    numbers: Vec<u64>,
    suffix: &'a str,
}

fn likeness(wanted: &str, tag: &str) -> Option<Likeness> {
    let letters = distance(&wanted.to_ascii_lowercase(), &tag.to_ascii_lowercase());
    let is_slip = letters <= (wanted.len() / 3).max(1);
    match (version(wanted), version(tag)) {
        (Some(a), Some(b)) => {
            let same = a.numbers.iter().zip(&b.numbers).take_while(|(x, y)| x == y).count();
            let number = |v: &Version<'_>| v.numbers.get(same).copied();
            let away = match (number(&a), number(&b)) {
                (Some(x), Some(y)) => x.abs_diff(y),
                // `1.27` for `1.27.9`: nearer than any other number.
                (Some(_), None) | (None, Some(_)) => 1,
                (None, None) => 0,
            };
            let is_other_kind = a.suffix != b.suffix;
            let is_far = same == 0;
            (!is_far || is_slip).then_some(Likeness {
                is_far,
                is_other_kind,
                same: Reverse(same),
                away,
                letters,
            })
        }
        _ => is_slip.then_some(Likeness {
            is_far: false,
            is_other_kind: false,
            same: Reverse(0),
            away: 0,
            letters,
        }),
    }
}

/// `v1.27.3-alpine` is 1, 27, 3 and `-alpine`.
fn version(tag: &str) -> Option<Version<'_>> {
    let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (numbers, suffix) = text.split_at(end);
    let numbers: Option<Vec<u64>> = numbers.split('.').map(|number| number.parse().ok()).collect();
    numbers.map(|numbers| Version { numbers, suffix })
}

fn newer(a: &str, b: &str) -> Ordering {
    match (version(a), version(b)) {
        (Some(a), Some(b)) => a.numbers.cmp(&b.numbers),
        // Words as in a dictionary, read the other way round here.
        _ => b.cmp(a),
    }
}

/// The letters that are to be put in, left out, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > LONGEST || b.len() > LONGEST {
        return LONGEST;
    }
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = last[j] + usize::from(x != y);
            let mut best = change.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        (before, last) = (last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, tags: &[&str], expect: &[&str]) {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        assert_eq!(near(wanted, &tags), expect, "{wanted}");
    }

    #[test]
    fn the_nearest_numbers_of_the_same_line_come_first() {
        check(
            "1.27.9",
            &["1.25.0", "1.27.0", "1.27.1", "1.27.2", "1.28.0", "latest"],
            &["1.27.2", "1.27.1", "1.27.0"],
        );
        check("1.99", &["1.27", "1.27.1", "1.26", "2.0"], &["1.27", "1.27.1", "1.26"]);
    }

    #[test]
    fn the_same_suffix_comes_before_a_nearer_number() {
        check(
            "1.27.9-alpine",
            &["1.27.9", "1.27.8-alpine", "1.27.0-alpine", "1.27.9-perl"],
            &["1.27.8-alpine", "1.27.0-alpine", "1.27.9-perl"],
        );
    }

    #[test]
    fn a_v_too_much_or_too_few_is_near() {
        check("v1.2.3", &["1.2.3", "1.2.4", "0.1.0"], &["1.2.3", "1.2.4"]);
        check("1.2.3", &["v1.2.3", "main"], &["v1.2.3"]);
    }

    #[test]
    fn a_slip_of_a_finger_is_near() {
        check("latset", &["latest", "stable", "1.0"], &["latest"]);
        check("Stable", &["stable", "unstable"], &["stable", "unstable"]);
        check("statble", &["stable", "latest"], &["stable"]);
    }

    #[test]
    fn what_is_not_alike_is_not_named() {
        check("nope", &["1", "2"], &[]);
        check("2024-01-01", &["sha-abcdef", "main"], &[]);
        check("3.0", &["1.0", "2.9"], &["1.0"]);
        check("x", &[], &[]);
    }

    #[test]
    fn long_tags_and_huge_numbers_do_no_harm() {
        let long = "9".repeat(128);
        check(&long, &["1", "latest"], &[]);
        check("1.0", &[&long], &[]);
    }

    #[test]
    fn letters_are_counted_as_people_slip() {
        assert_eq!(distance("latest", "latset"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
