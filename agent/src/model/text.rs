//! Text from outside, made safe to show: bounded, on one line, nothing that a terminal would obey.

/// The most bytes of a finding's text.
pub const MAX_TEXT: usize = 512;

/// Cuts `text` to at most `max` bytes at a character boundary; what was cut ends in `…`.
pub fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Makes `text` safe for a terminal, a log line or a page's plain text: white space of any kind becomes one
/// space, other control and bidirectional-override characters become `\u{..}`, and the whole is cut to `max` bytes.
pub fn clean(text: &str, max: usize) -> String {
    cut(&cleaned(text, max), max)
}

/// As [`clean`], for errors: what is too long loses its middle (`…`). A chain of errors begins with what was wanted and
/// ends with what is wrong.
pub fn clean_ends(text: &str, max: usize) -> String {
    let whole = cleaned(text, max);
    if whole.len() <= max {
        return whole;
    }
    // As much of the end as could be wanted; what is far longer is not gone through.
    let mut begin = text.len().saturating_sub(max);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    let end = cleaned(&text[begin..], usize::MAX);
    let mut from = end.len().saturating_sub(max / 2);
    while !end.is_char_boundary(from) {
        from += 1;
    }
    let end = end[from..].trim_start();
    format!("{}{end}", cut(&whole, max.saturating_sub(end.len())))
}

/// The text made safe, up to a character beyond `max` bytes.
fn cleaned(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max) + 8);
    let mut spaced = true;
    for c in text.chars() {
        if out.len() > max {
            break;
        }
        if c.is_whitespace() {
            if !spaced {
                out.push(' ');
            }
            spaced = true;
            continue;
        }
        spaced = false;
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if out.ends_with(' ') {
        out.pop();
    }
    out
}

/// The columns of a terminal that nobody knows better of.
pub const COLUMNS: usize = 80;

/// Appends `head` and `words` to `out`, in lines of at most `width` columns that are broken between words only: a URL or a
/// path stays whole, however long. The lines after the first begin with `indent` spaces.
pub fn wrap(out: &mut String, head: &str, words: &str, indent: usize, width: usize) {
    out.push_str(head);
    let (mut at, mut is_begun) = (columns(head), !head.is_empty() && !head.ends_with(' '));
    for word in words.split_whitespace() {
        let gap = usize::from(is_begun);
        if at + gap + columns(word) > width && (is_begun || at > indent) {
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            at = indent;
        } else if is_begun {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += columns(word);
        is_begun = true;
    }
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

/// How many columns `text` takes, without what only colours it (ECMA-48, 8.3.117: `ESC [ … m`).
fn columns(text: &str) -> usize {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().chars().count();
    let coloured = pieces.map(|piece| piece.split_once('m').map_or(piece, |(_, rest)| rest).chars().count());
    first + coloured.sum::<usize>()
}

/// Characters that reorder or hide what stands beside them (Unicode TR 9 overrides and isolates, zero width, tags).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("äöüäöü", 8), "äö…");
        assert!(cut("ää", 3).len() <= 3);
    }

    #[test]
    fn an_escape_sequence_does_not_reach_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mred\n\tb ", 64), "a\\u{1b}[31mred b");
        assert_eq!(clean("x\u{202e}y", 64), "x\\u{202e}y");
    }

    fn wrapped(head: &str, words: &str, indent: usize, width: usize) -> String {
        let mut out = String::new();
        wrap(&mut out, head, words, indent, width);
        out
    }

    #[test]
    fn lines_are_broken_between_words_and_hang() {
        assert_eq!(wrapped("do: ", "one two three", 4, 12), "do: one two\n    three\n");
        assert_eq!(wrapped("", "one two", 2, 80), "one two\n");
        assert_eq!(wrapped("head", "", 2, 80), "head\n");
        assert_eq!(wrapped("name", "words", 2, 8), "name\n  words\n");
    }

    #[test]
    fn a_word_that_is_longer_than_a_line_stays_whole() {
        assert_eq!(
            wrapped("do: ", "see https://registry.test/v2/ now", 4, 12),
            "do: see\n    https://registry.test/v2/\n    now\n"
        );
        assert_eq!(wrapped("  ", "https://registry.test/v2/", 2, 12), "  https://registry.test/v2/\n");
    }

    #[test]
    fn colour_takes_no_room() {
        assert_eq!(wrapped("", "\u{1b}[1;31mone\u{1b}[0m two", 2, 7), "\u{1b}[1;31mone\u{1b}[0m two\n");
    }

    #[test]
    fn the_bound_holds_for_text_that_grows_by_escaping() {
        assert!(clean(&"\u{1b}".repeat(10_000), 100).len() <= 100);
    }

    #[test]
    fn of_a_long_error_both_ends_are_kept() {
        assert_eq!(clean_ends("short", 5), "short");
        let long = format!("failed to pull: {}: connection refused", "x".repeat(10_000));
        let told = clean_ends(&long, 64);
        assert!(told.starts_with("failed to pull: xxx") && told.ends_with(": connection refused"), "{told}");
        assert_eq!((told.len(), told.matches('…').count()), (64, 1));
    }

    #[test]
    fn both_ends_are_within_the_bound_whatever_they_are_made_of() {
        for unit in ["\u{1b}", "ä", " ", "€\n", "a"] {
            for max in [8, 9, 10, 63, 100] {
                let told = clean_ends(&unit.repeat(1000), max);
                assert!(told.len() <= max, "{unit:?} {max}: {told}");
            }
        }
    }
}
