//! From bytes to tokens: what is a word, what is a name that must never be read as one, where a clause ends.

use super::lexicon::{HTML, Lexicon, TLS_RECORD, UNKNOWN};
use super::scan::{CLASSES, Class, chunk_end, escape, placeholder};

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word; `value` is its number in the lexicon, [`UNKNOWN`] for one that no rule names.
    Word,
    /// A number of at most three digits; `value` is the number.
    Number,
    /// A URL of a blob (`/blobs/`).
    BlobUrl,
    /// A URL of a manifest (`/manifests/`).
    ManifestUrl,
    /// Any other URL.
    Url,
    /// Something with port 53 at its end: a resolver.
    Resolver,
    /// A path of the runtime's own registry configuration: `certs.d`, `hosts.toml`, `registries.conf`.
    Settings,
    /// An image reference, host, address, path, digest or tag. Its letters are never read as words.
    Name,
    /// The colon between an error and what caused it.
    Colon,
}

impl Kind {
    /// How many kinds there are.
    pub(super) const COUNT: usize = Kind::Colon as usize + 1;
}

/// One token of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: Kind,
    /// A clause ends behind it: a line, a quotation, a sentence, the message.
    pub(super) stop: bool,
    /// A word's number in the lexicon, or a number's value.
    pub(super) value: u16,
    /// Where it begins in the message.
    pub(super) start: u32,
    /// Where it ends.
    pub(super) end: u32,
}

/// Punctuation that tells attempts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// `[`
    Open,
    /// `]`
    Close,
    /// `,` or `;`
    Comma,
    /// A line break.
    Line,
    /// `*` or `-` at the beginning of a line.
    Bullet,
    /// A time at the beginning of a line, as logs have it.
    Stamp,
}

/// A message as tokens, and the marks with the number of the token that follows each.
#[derive(Debug, Default)]
pub(super) struct Lexed {
    /// The tokens in order.
    pub(super) tokens: Vec<Token>,
    /// The marks in order.
    pub(super) marks: Vec<(u32, Mark)>,
}

/// Reads a message into tokens. Linear: every byte is looked at a bounded number of times.
pub(super) fn lex(text: &str, lexicon: &Lexicon) -> Lexed {
    let mut lexer = Lexer {
        bytes: text.as_bytes(),
        at: 0,
        quoted: false,
        fresh: true,
        lexicon,
        out: Lexed { tokens: Vec::with_capacity(text.len() / 6 + 4), marks: Vec::with_capacity(8) },
    };
    lexer.run();
    lexer.out
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The byte before was a quote: the chunk that begins here may be a quoted name.
    quoted: bool,
    /// Nothing but space since the line began.
    fresh: bool,
    lexicon: &'a Lexicon,
    out: Lexed,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            match CLASSES[byte as usize] {
                Class::Body if self.typographic_quote() => {}
                Class::Body => self.chunk(),
                Class::Space if byte == 0x1b => self.terminal_escape(),
                Class::Space => self.skip(1),
                Class::Line => self.line(1),
                Class::Quote => self.quote(1),
                Class::Apostrophe => self.skip(1),
                Class::Backslash => self.backslash(),
                Class::Separator => self.separator(byte),
                Class::Bracket => self.bracket(byte),
            }
        }
        self.stop();
    }

    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        self.quoted = false;
    }

    fn stop(&mut self) {
        if let Some(last) = self.out.tokens.last_mut() {
            last.stop = true;
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.out.marks.push((self.out.tokens.len() as u32, mark));
    }

    fn line(&mut self, bytes: usize) {
        self.stop();
        if !self.fresh {
            self.mark(Mark::Line);
        }
        self.skip(bytes);
        self.fresh = true;
    }

    fn quote(&mut self, bytes: usize) {
        self.stop();
        self.at += bytes;
        self.quoted = true;
    }

    /// “ and ” stand for quotes, … for a stop, a no-break space for a space.
    fn typographic_quote(&mut self) -> bool {
        match &self.bytes[self.at..] {
            [0xe2, 0x80, 0x9c | 0x9d, ..] => self.quote(3),
            [0xe2, 0x80, 0xa6, ..] => self.skip(3),
            [0xc2, 0xa0, ..] => self.skip(2),
            _ => return false,
        }
        true
    }

    /// Skips `ESC [ … letter`, the colours of a terminal.
    fn terminal_escape(&mut self) {
        self.skip(1);
        if self.bytes.get(self.at) != Some(&b'[') {
            return;
        }
        let rest = &self.bytes[self.at + 1..];
        let length = rest.iter().take(16).take_while(|b| b.is_ascii_digit() || **b == b';').count();
        self.skip(2 + length);
    }

    /// An escape of JSON or of a Go string, at any depth of nesting; else the beginning of a Windows path.
    fn backslash(&mut self) {
        let (slashes, next) = escape(self.bytes, self.at);
        match next {
            Some(b'"') => self.quote(slashes + 1),
            Some(b'n' | b'r') => self.line(slashes + 1),
            Some(b't') => self.skip(slashes + 1),
            Some(b'u') => {
                let angle = matches!(
                    self.bytes.get(self.at + slashes..),
                    Some([_, b'0', b'0', b'3', b'c' | b'C', ..])
                );
                self.at = self.bytes.len().min(self.at + slashes + 5);
                self.quoted = false;
                if angle {
                    self.markup();
                }
            }
            _ if slashes > 1 => self.chunk(),
            _ => self.skip(slashes),
        }
    }

    fn separator(&mut self, byte: u8) {
        if byte == b'<' && placeholder(self.bytes, self.at) > 0 {
            return self.chunk();
        }
        match byte {
            b'*' if self.fresh => self.mark(Mark::Bullet),
            b'(' | b')' | b'}' => self.stop(),
            _ => {}
        }
        self.skip(1);
        if byte == b'<' {
            self.markup();
        }
    }

    /// Behind `<`: notes a web page.
    fn markup(&mut self) {
        let rest = &self.bytes[self.at..];
        let starts = |tag: &[u8]| rest.len() >= tag.len() && rest[..tag.len()].eq_ignore_ascii_case(tag);
        if starts(b"html") || starts(b"!doctype") || starts(b"head>") || starts(b"title>") {
            self.push(Kind::Word, HTML, self.at, self.at);
        }
    }

    fn bracket(&mut self, byte: u8) {
        if byte == b'[' {
            // `[::1]:443` is an address.
            let inside = self.bytes[self.at + 1..].iter().take(48);
            let length = inside.take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')).count();
            if length >= 2 && self.bytes[self.at + 1..][..length].contains(&b':') {
                return self.chunk();
            }
        }
        if byte != b',' {
            self.stop();
        }
        self.mark(match byte {
            b'[' => Mark::Open,
            b']' => Mark::Close,
            _ => Mark::Comma,
        });
        self.skip(1);
    }

    /// One run of bytes that belong together.
    fn chunk(&mut self) {
        let start = self.at;
        let (mut end, url) = chunk_end(self.bytes, start);
        let (slashes, next) = escape(self.bytes, end);
        let closed = self.quoted && matches!(next, Some(b'"' | b'`'))
            || self.quoted && slashes == 0 && self.bytes[end..].starts_with(&[0xe2, 0x80, 0x9d]);
        self.at = end;
        self.quoted = false;
        let bullet = self.fresh && end == start + 1 && self.bytes[start] == b'-';
        if self.fresh && is_stamp(&self.bytes[start..end]) {
            self.mark(Mark::Stamp);
        }
        self.fresh = false;
        if bullet {
            self.fresh = true;
            return self.mark(Mark::Bullet);
        }
        if is_tls_record(&self.bytes[start..end]) {
            return self.push(Kind::Word, TLS_RECORD, start, end);
        }
        if closed
            && let Some(key) =
                self.lexicon.word(&self.bytes[start..end]).filter(|word| self.lexicon.is_key(*word))
        {
            return self.push(Kind::Word, key, start, end);
        }
        if closed && !self.behind_key() {
            let kind =
                if is_url(&self.bytes[start..end]) { url_kind(&self.bytes[start..end]) } else { Kind::Name };
            return self.push(kind, 0, start, end);
        }
        let mut colon = false;
        let mut stop = false;
        while end > start {
            match self.bytes[end - 1] {
                b':' => colon = true,
                b'.' | b'!' | b'?' => stop = true,
                b'\'' | b')' | b'}' | b'>' | b',' | b';' | b'*' => {}
                b']' if !self.bytes[start..end].contains(&b'[') => {}
                _ => break,
            }
            end -= 1;
        }
        if end > start {
            self.classify(start, end, url);
        }
        if colon {
            self.push(Kind::Colon, 0, end, end);
        } else if stop {
            self.stop();
        }
    }

    /// Whether the token before is a key whose value is a message (`"code":`, `err=`, `ErrImagePull:`).
    fn behind_key(&self) -> bool {
        let mut before = self.out.tokens.iter().rev().skip_while(|t| t.kind == Kind::Colon);
        before.next().is_some_and(|t| t.kind == Kind::Word && self.lexicon.is_key(t.value))
    }

    fn classify(&mut self, start: usize, end: usize, url: bool) {
        let chunk = &self.bytes[start..end];
        if url && is_url(chunk) {
            return self.push(url_kind(chunk), 0, start, end);
        }
        if let Some(word) = self.lexicon.word(chunk) {
            let kind = if self.behind_introduction() { Kind::Name } else { Kind::Word };
            return self.push(kind, word, start, end);
        }
        if chunk.len() <= 3 && chunk.iter().all(u8::is_ascii_digit) {
            let value = chunk.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
            let kind = if self.behind_introduction() { Kind::Name } else { Kind::Number };
            return self.push(kind, value, start, end);
        }
        // `hcsshim::ProcessBaseLayer`
        if let Some(colon) = chunk.windows(2).position(|two| two == b"::")
            && let Some(word) = self.lexicon.word(&chunk[..colon])
        {
            return self.push(Kind::Word, word, start, start + colon);
        }
        if let Some(colon) = chunk.iter().position(|b| *b == b':')
            && let Some(left) = self.lexicon.word(&chunk[..colon]).filter(|word| self.lexicon.is_key(*word))
            && let Some(right) = self.lexicon.word(&chunk[colon + 1..])
        {
            // `error:unauthorized`; any other word before a colon may be a repository before its tag.
            self.push(Kind::Word, left, start, start + colon);
            self.push(Kind::Colon, 0, start + colon, start + colon);
            return self.push(Kind::Word, right, start + colon + 1, end);
        }
        if chunk.ends_with(b":53") {
            return self.push(Kind::Resolver, 0, start, end);
        }
        let plain = chunk
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'\'' | b'$' | b'&' | b'#' | 0x80..));
        let kind = match plain {
            true => Kind::Word,
            false if is_settings(chunk) => Kind::Settings,
            false => Kind::Name,
        };
        self.push(kind, UNKNOWN, start, end);
    }

    /// Whether what follows here is a name whatever it spells: `lookup X`, `pulling image X`, `denied for X`.
    fn behind_introduction(&self) -> bool {
        let word =
            |token: &Token| if token.kind == Kind::Word && !token.stop { token.value } else { UNKNOWN };
        match self.out.tokens.as_slice() {
            [.., before, last] => self.lexicon.introduces(word(before), word(last)),
            [last] => self.lexicon.introduces(UNKNOWN, word(last)),
            [] => false,
        }
    }

    fn push(&mut self, kind: Kind, value: u16, start: usize, end: usize) {
        self.out.tokens.push(Token { kind, stop: false, value, start: start as u32, end: end as u32 });
    }
}

/// `2031-02-01T…`, `2031/02/01` or klog's `E0201`.
fn is_stamp(chunk: &[u8]) -> bool {
    let digits = |chunk: &[u8]| chunk.iter().take(4).filter(|b| b.is_ascii_digit()).count() == 4;
    match chunk {
        [_, _, _, _, b'-' | b'/', ..] => digits(chunk),
        [b'E' | b'W' | b'I' | b'F', rest @ ..] => rest.len() == 4 && digits(rest),
        _ => false,
    }
}

/// Whether these are the first bytes of a TLS alert or handshake (RFC 8446, 5.1), as Go quotes them: `\x15\x03`.
fn is_tls_record(chunk: &[u8]) -> bool {
    let escaped = |bytes: &[u8]| bytes.iter().take(8).take_while(|b| **b == b'\\').count();
    // The lexer may have skipped the first backslash.
    let rest = &chunk[escaped(chunk)..];
    matches!(rest, [b'x', b'1', b'5' | b'6', b'\\', ..])
        && rest[3 + escaped(&rest[3..])..].starts_with(b"x03")
}

fn is_url(chunk: &[u8]) -> bool {
    let scheme = chunk.iter().take(14).take_while(|b| b.is_ascii_alphabetic() || **b == b'+').count();
    (3..=12).contains(&scheme)
        && chunk[scheme..].starts_with(b":/")
        && matches!(chunk[0], b'h' | b'H' | b'd' | b'o' | b's')
}

/// Whether this is a path that the runtime reads registries' settings from.
fn is_settings(chunk: &[u8]) -> bool {
    let has = |part: &[u8]| chunk.windows(part.len()).any(|window| window == part);
    chunk.starts_with(b"/") && (has(b"/certs.d/") || has(b"/registries.") || chunk.ends_with(b"/hosts.toml"))
}

/// What a URL names. `docker://` and `oci://` are image references.
fn url_kind(url: &[u8]) -> Kind {
    if !url.starts_with(b"http") && !url.starts_with(b"HTTP") {
        return Kind::Name;
    }
    let path = url.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or(url);
    let has = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
    if has(b"/blobs/") || has(b"/layer") {
        Kind::BlobUrl
    } else if has(b"/manifests/") {
        Kind::ManifestUrl
    } else {
        Kind::Url
    }
}
