//! Secrets out of texts: what signs a URL, what logs in, what looks like a token.

use crate::model::text::cut;

/// What stands where a secret stood.
const GONE: &str = "***";

/// Names of values that are secrets, in lower case; a longer name that ends in one after `_` or `-` is one too.
const KEYS: [&str; 27] = [
    "authorization",
    "auth",
    "password",
    "passwd",
    "pwd",
    "pass",
    "secret",
    "token",
    "accesstoken",
    "refreshtoken",
    "identitytoken",
    "registrytoken",
    "idtoken",
    "bearertoken",
    "apikey",
    "api_key",
    "access_key",
    "private_key",
    "secretaccesskey",
    "secretkey",
    "signature",
    "sig",
    "credential",
    "credentials",
    "cookie",
    "creds",
    "jwt",
];

/// A run of letters longer than this is no prose.
const MAX_PROSE: usize = 256;

/// How tokens of well-known issuers begin.
const PREFIXES: [&str; 13] = [
    "eyJ",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "dckr_pat_",
    "dckr_oat_",
    "ya29.",
    "AKIA",
    "ASIA",
];

/// The message without queries of URLs, credentials and tokens, cut to 64 KiB: safe to show as far as secrets go.
/// It still holds whatever control characters the message had (see `model::text::clean`).
pub fn redact(message: &str) -> String {
    let out = String::with_capacity(message.len().min(super::MAX_INPUT));
    let mut redactor = Redactor { text: message, at: 0, copied: 0, no_login_before: 0, out };
    while redactor.at < message.len() && redactor.length() <= super::MAX_INPUT {
        redactor.step();
    }
    redactor.copy();
    cut(&redactor.out, super::MAX_INPUT)
}

struct Redactor<'a> {
    text: &'a str,
    /// How far the text was read.
    at: usize,
    /// How far it was copied or left out.
    copied: usize,
    /// Up to here no login begins.
    no_login_before: usize,
    out: String,
}

impl<'a> Redactor<'a> {
    fn step(&mut self) {
        let rest = &self.text[self.at..];
        if rest.starts_with("://") {
            return self.authority();
        }
        if rest.starts_with("-----BEGIN ") {
            return self.key_block();
        }
        let before = self.text[..self.at].chars().next_back();
        // `<?xml` has no path before it.
        let path = before
            .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~' | '%'));
        if path && rest.starts_with('?') && is_query(&rest[1..]) {
            return self.query();
        }
        let begins = !before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let length =
            rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
        let word = &rest[..length];
        if begins && !word.is_empty() {
            if !before.is_some_and(|c| matches!(c, ':' | '/' | '.' | '@')) && self.login(rest) {
                return;
            }
            return self.word(word);
        }
        let c = rest.chars().next().expect("there is a rest");
        self.keep(c.len_utf8());
    }

    fn keep(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn drop(&mut self, bytes: usize) {
        if bytes > 0 {
            self.copy();
            self.out.push_str(GONE);
            self.at += bytes;
            self.copied = self.at;
        }
    }

    /// Copies what was kept since the last time.
    fn copy(&mut self) {
        self.out.push_str(&self.text[self.copied..self.at]);
        self.copied = self.at;
    }

    fn length(&self) -> usize {
        self.out.len() + self.at - self.copied
    }

    /// `://user:password@host`: the host stays.
    fn authority(&mut self) {
        self.keep(3);
        let authority = run(&self.text[self.at..], |c| !ends_run(c) && !matches!(c, '/' | '?' | '#' | ','));
        if let Some(at) = authority.rfind('@') {
            self.drop(at);
            self.keep(authority.len() - at);
        } else {
            self.keep(authority.len());
        }
    }

    /// `user:password@host` without a scheme. A digest (`image:tag@sha256:…`) is none.
    fn login(&mut self, rest: &'a str) -> bool {
        if self.at < self.no_login_before {
            return false;
        }
        let head = run(rest, |c| !ends_run(c) && !matches!(c, '@' | '/' | ',' | '='));
        let behind = &rest[head.len()..];
        let login = head.contains(':') && behind.starts_with('@') && !behind.starts_with("@sha");
        if login {
            self.drop(head.len());
        } else {
            // What holds for this run holds for every later part of it.
            self.no_login_before = self.at + head.len();
        }
        login
    }

    /// A query signs, names an account or is of no interest: it goes, with the rest of it that was folded.
    fn query(&mut self) {
        let rest = &self.text[self.at + 1..];
        let mut length = query_length(rest);
        let folded = &rest[length..];
        let fold = folded.len() - folded.trim_start_matches(['\r', '\n']).len();
        if fold > 0 && !rest[..length].ends_with(':') {
            let next = query_length(&folded[fold..]);
            let part = &folded[fold..fold + next];
            if part.contains(['&', '=', '%'])
                || part.len() >= 16 && part.bytes().all(|b| b.is_ascii_alphanumeric())
            {
                length += fold + next;
            }
        }
        // The colon behind a URL is the sentence's, not the query's.
        let kept = rest[..length].trim_end_matches([':', ',', '.', ';', ')', ']', '}']).len();
        self.keep(1);
        self.copy();
        self.out.push('…');
        self.at += kept;
        self.copied = self.at;
    }

    /// A private key in PEM: all of it goes.
    fn key_block(&mut self) {
        let rest = &self.text[self.at..];
        let end = rest.find("-----END ").map_or(rest.len(), |end| end + "-----END ".len());
        let tail = rest[end..].find("-----").map_or(0, |tail| if tail < 64 { tail + 5 } else { 0 });
        self.drop(end + tail);
    }

    fn word(&mut self, word: &'a str) {
        let rest = &self.text[self.at..];
        if PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) {
            let token =
                run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | '='));
            if token.len() >= 16 {
                return self.drop(token.trim_end_matches('.').len());
            }
        }
        self.keep(word.len());
        if word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic") {
            self.scheme();
        } else if is_key(word) {
            self.value(word.starts_with('-'));
        }
    }

    /// Behind `Bearer` or `Basic`: the token, if it is one and not a word.
    fn scheme(&mut self) {
        let rest = &self.text[self.at..];
        let space = rest.bytes().take_while(|b| matches!(b, b' ' | b'\t')).take(9).count();
        if !(1..=8).contains(&space) {
            return;
        }
        let token = run(&rest[space..], |c| !ends_run(c) && !matches!(c, ',' | ';'));
        if looks_secret(token) && !token.starts_with("realm=") {
            self.keep(space);
            self.drop(token.trim_end_matches([':', '.']).len());
        }
    }

    /// Behind a secret's name: `=value`, `": "value"`, `--password value`. In prose (`token: invalid …`) nothing.
    fn value(&mut self, option: bool) {
        let rest = &self.text[self.at..];
        let closing = quote_length(rest);
        let spaces = |text: &str| text.len() - text.trim_start_matches(' ').len();
        let mut ahead = closing + spaces(&rest[closing..]).min(4);
        let separator = rest[ahead..].chars().next();
        let flag = option && separator.is_some() && ahead > 0;
        if matches!(separator, Some('=' | ':')) {
            ahead += 1 + spaces(&rest[ahead + 1..]).min(4);
        } else if !flag {
            return;
        }
        let opening = quote_length(&rest[ahead..]);
        let value = &rest[ahead + opening..];
        if opening > 0 {
            // Up to the quote that closes, whatever stands between.
            let end = value.find(['"', '\'', '`']).unwrap_or(value.len());
            let end = value[..end].trim_end_matches('\\').len();
            let prose = separator == Some(':') && closing == 0 && !looks_secret(&value[..end]);
            if !prose {
                self.keep(ahead + opening);
                self.drop(end);
            }
            return;
        }
        let value = run(value, |c| !ends_run(c) && !matches!(c, '&' | ',' | ';' | ')' | '}' | ']'));
        let scheme = value.eq_ignore_ascii_case("basic") || value.eq_ignore_ascii_case("bearer");
        if !scheme && (flag || separator == Some('=') || looks_secret(value)) {
            self.keep(ahead);
            self.drop(value.trim_end_matches(':').len());
        }
    }
}

fn run(text: &str, within: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !within(c)).unwrap_or(text.len());
    &text[..end]
}

fn ends_run(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '\\' | '<' | '>' | '“' | '”')
}

/// Where a query ends. JSON writes `&` as `\u0026`: that does not end it.
fn query_length(rest: &str) -> usize {
    let mut end = 0;
    loop {
        end += run(&rest[end..], |c| !ends_run(c)).len();
        if rest[end..].starts_with("\\u00") {
            end += 2;
        } else {
            return end;
        }
    }
}

/// Whether what follows a `?` is `key=value`, or a lone long value.
fn is_query(rest: &str) -> bool {
    let key =
        run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '%' | '~' | '+' | '/'));
    !key.is_empty()
}

/// Backslashes and the quote behind them, or nothing.
fn quote_length(text: &str) -> usize {
    let slashes = text.len() - text.trim_start_matches('\\').len();
    if slashes <= 8 && text[slashes..].starts_with(['"', '\'', '`']) { slashes + 1 } else { 0 }
}

fn is_key(word: &str) -> bool {
    // The last letter rules out nearly every word of a message.
    let last = word.bytes().next_back().map(|b| b.to_ascii_lowercase());
    KEYS.iter().filter(|key| key.bytes().next_back() == last).any(|key| {
        word.len() >= key.len()
            && word.is_char_boundary(word.len() - key.len())
            && word[word.len() - key.len()..].eq_ignore_ascii_case(key)
            && (word.len() == key.len() || matches!(word.as_bytes()[word.len() - key.len() - 1], b'_' | b'-'))
    })
}

/// Whether a run of letters is more likely a secret than a word: long enough, and with a digit, an `=` or a capital
/// in its middle.
fn looks_secret(run: &str) -> bool {
    if run.len() > MAX_PROSE && !run.starts_with("http") {
        return true;
    }
    let run = run.trim_end_matches([':', '.', ',']);
    run.len() >= 8
        && !run.contains("://")
        && (run.bytes().any(|b| b.is_ascii_digit() || b == b'=')
            || run.bytes().skip(1).any(|b| b.is_ascii_uppercase())
                && run.bytes().any(|b| b.is_ascii_lowercase()))
}
