//! Where a run of bytes ends that belong together: a word, a path, a URL, an address.

/// How a byte is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Of a word or name.
    Body,
    /// Between words.
    Space,
    /// Ends a line.
    Line,
    /// Quotes.
    Quote,
    /// Quotes, or stands within a word.
    Apostrophe,
    /// Escapes, or stands within a path.
    Backslash,
    /// Between words, though no space.
    Separator,
    /// Between parts.
    Bracket,
}

/// How each byte is read.
pub(super) const CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Body; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'\n' | b'\r' => Class::Line,
            0..=b' ' | 0x7f => Class::Space,
            b'"' | b'`' => Class::Quote,
            b'\'' => Class::Apostrophe,
            b'\\' => Class::Backslash,
            b'(' | b')' | b'{' | b'}' | b'<' | b'>' | b'=' | b'|' | b'*' => Class::Separator,
            b'[' | b']' | b',' | b';' => Class::Bracket,
            _ => Class::Body,
        };
        byte += 1;
    }
    table
}

/// Bytes that never end a chunk nor mean anything to its end.
const PLAIN: [bool; 256] = plain();

const fn plain() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(CLASSES[byte], Class::Body) && byte as u8 != b'/';
        byte += 1;
    }
    table
}

/// How many backslashes stand at `at` (at most 64 are looked at), and what follows them.
pub(super) fn escape(bytes: &[u8], at: usize) -> (usize, Option<u8>) {
    let slashes = bytes[at..].iter().take(64).take_while(|b| **b == b'\\').count();
    (slashes, bytes.get(at + slashes).copied())
}

/// Where the run that begins at `start` ends, and whether it has `:/` as a URL has. A URL runs on to the next space or quote.
pub(super) fn chunk_end(bytes: &[u8], start: usize) -> (usize, bool) {
    let mut url = false;
    // `\\?\C:\x` and `C:\x`: here a backslash escapes nothing.
    let windows = matches!(bytes[start..], [b'\\', ..] | [b'A'..=b'Z' | b'a'..=b'z', b':', b'\\', ..]);
    let mut end = start;
    while let Some(&byte) = bytes.get(end) {
        if PLAIN[byte as usize] {
            end += 1;
            continue;
        }
        match CLASSES[byte as usize] {
            Class::Body => {
                if byte == b'/' && end > start && bytes[end - 1] == b':' {
                    url = true;
                }
                if byte == 0xe2 && matches!(bytes[end + 1..], [0x80, 0x9c | 0x9d, ..]) {
                    break;
                }
            }
            Class::Space | Class::Line | Class::Quote => break,
            Class::Backslash if windows => {}
            Class::Backslash => match escape(bytes, end) {
                (_, Some(b'u')) if url => {}
                (_, Some(b'"' | b'n' | b'r' | b't' | b'u') | None) => break,
                _ => {}
            },
            Class::Apostrophe => {
                let letter = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphabetic);
                if !(end > start && letter(bytes.get(end - 1)) && letter(bytes.get(end + 1))) {
                    break;
                }
            }
            // `1.2.3.4:5->6.7.8.9:443` is one thing.
            Class::Separator if byte == b'>' && end > start && bytes[end - 1] == b'-' => {}
            Class::Bracket if matches!(byte, b'[' | b']') && within_address(bytes, start, end) => {}
            Class::Separator if byte == b'<' && placeholder(bytes, end) > 0 => {
                end += placeholder(bytes, end) - 1
            }
            Class::Separator | Class::Bracket if !url => break,
            Class::Separator | Class::Bracket => {}
        }
        end += 1;
    }
    (end, url)
}

/// The length of a placeholder that a reporter put in the place of a part of a name (`<id>.dkr.ecr`, `app:<tag>`);
/// 0 where there is none, as in a web page.
pub(super) fn placeholder(bytes: &[u8], at: usize) -> usize {
    let inside = bytes[at + 1..].iter().take(32);
    let length = inside.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b' ')).count();
    let joins = |b: Option<&u8>| matches!(b, Some(b'.' | b':' | b'/' | b'@' | b'-'));
    let closed = length > 0 && bytes.get(at + 1 + length) == Some(&b'>');
    let within_name = joins(bytes.get(at + length + 2))
        && bytes.get(at + length + 3).is_some_and(|b| !b.is_ascii_whitespace())
        || at > 0 && joins(bytes.get(at - 1));
    if closed && within_name { length + 2 } else { 0 }
}

/// Whether the bracket at `at` belongs to an IPv6 address with a port (`[::1]:443`, `[::1]:5->[::2]:443`).
fn within_address(bytes: &[u8], start: usize, at: usize) -> bool {
    if bytes[at] == b'[' {
        return at == start || bytes[at - 1] == b'>';
    }
    let from = at.saturating_sub(48).max(start);
    bytes[from..at].contains(&b'[')
}
