//! Tests of what is private: the index against the plain search, redaction, hints, the lexer's edges.

use super::judge::GRAMMAR;
use super::{MAX_INPUT, cause, read, redact};
use crate::model::Cause;

/// A small generator of numbers (xorshift64*), so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

const CORPORA: [&str; 5] = [
    include_str!("../../../tests/corpus/wordings.jsonl"),
    include_str!("../../../tests/corpus/containerd.jsonl"),
    include_str!("../../../tests/corpus/others.jsonl"),
    include_str!("../../../tests/corpus/adversarial.jsonl"),
    include_str!("../../../tests/corpus/field_guide.jsonl"),
];

fn messages() -> Vec<String> {
    let lines = CORPORA.iter().flat_map(|corpus| corpus.lines());
    lines
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn agree(message: &str) {
    assert!(GRAMMAR.agrees_with_plain_search(&GRAMMAR.lex(message)), "{message}");
}

#[test]
fn the_index_finds_what_a_plain_search_finds_in_the_corpus() {
    messages().iter().for_each(|message| agree(message));
}

#[test]
fn the_index_finds_what_a_plain_search_finds_in_words_thrown_together() {
    let messages = messages();
    let words: Vec<&str> = messages.iter().flat_map(|message| message.split(' ')).collect();
    let mut dice = Dice(7);
    for _ in 0..300 {
        let text: Vec<&str> = (0..dice.roll(40)).map(|_| words[dice.roll(words.len())]).collect();
        agree(&text.join(" "));
    }
}

#[test]
fn any_bytes_are_read_without_panic_and_redacted_too() {
    let messages = messages();
    let mut dice = Dice(11);
    for _ in 0..5_000 {
        let mut bytes = messages[dice.roll(messages.len())].clone().into_bytes();
        for _ in 0..=dice.roll(6) {
            let at = dice.roll(bytes.len() + 1);
            match dice.roll(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, dice.roll(256) as u8),
                2 => bytes.insert(at, b"\"\\[](){}<>:;,*\n\r\t='`?@-|"[dice.roll(24)]),
                _ if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
                _ => {}
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = read(&text);
        let _ = redact(&text);
    }
}

#[test]
fn what_the_fuzzer_found_is_read() {
    // Mirrors within mirrors, the inner ones ending where the outer ones do.
    let _ = read(
        "* a (Mirrors also failed: [x: (Mirrors also failed:)[y: z]]): b * c: (Mirrors also failed: [d]): e",
    );
    let _ = read("Error: (Mirrors also failed: [m* (Mirrors also failed:)[p]}]): r");
    let _ = read(FOUND_BY_FUZZER);
}

/// Cut down from 320 bytes.
const FOUND_BY_FUZZER: &str =
    "a:2.4: (Mirrors also failed: [m*: pin.exp:2.4: (Mirrors also failed:)[p \"D\",\"m\"de\":\"d\"}]}]): r c";

#[test]
fn the_last_of_many_lines_speaks() {
    let line = "2031-02-01T10:00:00Z failed to do request: Head \"https://r.example/v2/\": EOF\n";
    let text = format!("{}2031-02-01T10:10:00Z toomanyrequests: slow down", line.repeat(200));
    let reading = read(&text);
    assert_eq!(reading.cause, Cause::RateLimited);
    assert_eq!(reading.also, [Cause::ConnectionReset]);
}

#[test]
fn a_message_cut_anywhere_is_read_without_panic() {
    for message in messages() {
        for end in (0..message.len()).step_by(3).filter(|end| message.is_char_boundary(*end)) {
            let _ = read(&message[..end]);
        }
    }
}

#[test]
fn long_texts_of_one_kind_are_read_to_their_bound() {
    for piece in [
        "\"",
        "\\",
        "[",
        "a:",
        "rpc error: ",
        "dial tcp ",
        "://",
        "?a=",
        "<a",
        "“",
        "[::",
        "* ",
        "\n",
        "password=",
        "-",
        "Mirrors also failed: [",
    ] {
        let text = piece.repeat(3 * MAX_INPUT / piece.len());
        let _ = read(&text);
        assert!(redact(&text).len() <= MAX_INPUT, "{piece}");
    }
}

#[test]
fn a_long_text_is_cut_at_a_character_and_its_beginning_is_read() {
    let text = format!("pull QPS exceeded {}", "ä".repeat(MAX_INPUT));
    assert_eq!(cause(&text), Cause::KubeletThrottled);
    let text = format!("{} pull QPS exceeded", "ä".repeat(MAX_INPUT));
    assert_eq!(cause(&text), Cause::Unknown);
}

/// Redacts `text` and compares.
fn redacts(text: &str, expect: &str) {
    assert_eq!(redact(text), expect, "{text}");
}

#[test]
fn the_query_of_a_url_goes_and_the_sentence_stays() {
    redacts(
        "Get \"https://cdn.example/a?X-Amz-Signature=abc&e=1\": dial tcp 192.0.2.1:443: i/o timeout",
        "Get \"https://cdn.example/a?…\": dial tcp 192.0.2.1:443: i/o timeout",
    );
    redacts(
        "code https://cdn.example/a?sig=abc%2B: 403 Forbidden",
        "code https://cdn.example/a?…: 403 Forbidden",
    );
    redacts("GET https://r.example/token?scope=a%!A(MISSING)b: x", "GET https://r.example/token?…: x");
    redacts("value: \"<?xml version=\\\"1.0\\\"?><Error>\"", "value: \"<?xml version=\\\"1.0\\\"?><Error>\"");
    redacts("(see https://r.example/x?token=abc)", "(see https://r.example/x?…)");
    redacts(
        "request \"/v2/a?ns=docker.io\" failed, why? nobody knows",
        "request \"/v2/a?…\" failed, why? nobody knows",
    );
    redacts("https://r.example/a?b=1\\u0026Signature=xyz\\\": EOF", "https://r.example/a?…\\\": EOF");
    redacts("https://r.example/a?sig=abc\ndef%2Fghi: EOF", "https://r.example/a?…: EOF");
}

#[test]
fn logins_in_urls_and_references_go() {
    redacts("https://bob:hunter2@r.example/v2/: EOF", "https://***@r.example/v2/: EOF");
    redacts("Get https://token@r.example:5000/v2/", "Get https://***@r.example:5000/v2/");
    redacts("pull bob:p/w@r.example/app", "pull bob:p/w@r.example/app");
    redacts("pull bob:hunter2@r.example/app", "pull ***@r.example/app");
    redacts("image app:1@sha256:0f1e2d3c4b5a", "image app:1@sha256:0f1e2d3c4b5a");
}

#[test]
fn headers_and_values_named_like_secrets_go() {
    redacts(
        "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2ln failed",
        "Authorization: Bearer *** failed",
    );
    redacts("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***");
    redacts(
        r#"{"auths":{"r.example":{"auth":"dXNlcjpwYXNz"}}}"#,
        r#"{"auths":{"r.example":{"auth":"***"}}}"#,
    );
    redacts(r#"{\"password\":\"my pass word\",\"x\":1}"#, r#"{\"password\":\"***\",\"x\":1}"#);
    redacts("docker login --password hunter2 r.example", "docker login --password *** r.example");
    redacts("client_secret=abc&grant=x", "client_secret=***&grant=x");
    redacts("AKIAIOSFODNN7EXAMPLE is no good", "*** is no good");
    redacts("used ghp_0123456789abcdefABCDEF0123456789abcd.", "used ***.");
    redacts("key -----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY----- end", "key *** end");
}

#[test]
fn prose_about_tokens_stays() {
    for text in [
        "unable to retrieve auth token: invalid username/password: unauthorized: Invalid Username or Password",
        "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized",
        "no basic auth credentials",
        "Requesting bearer token: invalid status code from registry 503 (Service Unavailable)",
        "unauthorized: authentication required",
        "Www-Authenticate: Bearer realm=\"https://r.example/token\",service=\"r.example\"",
        "authorization failed: no basic auth credentials",
    ] {
        redacts(text, text);
    }
}

#[test]
fn no_part_of_a_reading_holds_a_login_or_a_query() {
    let message = "Failed to pull image \"bob:hunter2@r.example/app:1\": failed to do request: Head \"https://bob:hunter2@r.example/v2/app/manifests/1?sig=hunter2\": dial tcp: lookup r.example on 192.0.2.53:53: no such host";
    let reading = read(message);
    assert_eq!(reading.host.as_deref(), Some("r.example"));
    assert!(!format!("{reading:?}").contains("hunter2"), "{reading:?}");
}

/// Reads `text` and looks for `part` in the advice.
fn advises(text: &str, part: &str) {
    let reading = read(text);
    assert!(reading.advice().contains(part), "want {part}\ngot {}\nin {text}", reading.advice());
}

#[test]
fn advice_names_the_host_the_port_and_the_resolver_of_the_message() {
    advises("dial tcp: lookup r.example on 192.0.2.53:53: no such host", "`getent hosts r.example`");
    advises("dial tcp: lookup r.example on 192.0.2.53:53: server misbehaving", "`dig @192.0.2.53 r.example`");
    advises("Get \"https://r.example/v2/\": dial tcp 192.0.2.7:443: i/o timeout", "`nc -vz r.example 443`");
    advises(
        "Get \"https://r.example:5000/v2/\": dial tcp 192.0.2.7:5000: connect: connection refused",
        "nc -vz r.example 5000",
    );
    advises(
        "Get \"https://r.example/v2/\": dial tcp [2001:db8::7]:443: connect: network is unreachable",
        "ip route get 2001:db8::7",
    );
    advises("write /var/lib/x/y/z: no space left on device", "`df -h /var/lib/x; df -i /var/lib/x`");
    advises("manifest for r.example/app:9 not found: manifest unknown", "docker://r.example/app`");
}

#[test]
fn a_path_within_a_layer_is_not_looked_for_on_the_node() {
    let reading = read("failed to register layer: write /usr/lib/libx.so: no space left on device");
    assert_eq!(reading.host.as_deref(), Some("/usr/lib/libx.so"));
    assert_eq!(reading.hint, None);
}

#[test]
fn a_url_that_explains_is_not_the_host_that_failed() {
    let limit = "toomanyrequests: upgrade your plan: https://www.example.com/limits";
    assert_eq!(read(limit).host, None);
    let login = "Head \"https://r.example/v2/a\": unauthorized: authentication required, visit https://help.example/login";
    assert_eq!(read(login).host.as_deref(), Some("r.example"));
}

#[test]
fn what_merely_looks_like_a_host_is_none() {
    assert_eq!(read("Downloading 681.3MB/1.594GB unauthorized: authentication required").host, None);
    assert_eq!(read("pinging docker registry returned: received unexpected HTTP status: 503").host, None);
    let host = read("pinging docker registry r.example: received unexpected HTTP status: 503").host;
    assert_eq!(host.as_deref(), Some("r.example"));
}

#[test]
fn advice_holds_nothing_that_a_shell_would_act_upon() {
    let message = "Get \"https://$(reboot)/v2/\": dial tcp: lookup $(reboot) on `x`:53: no such host";
    let reading = read(message);
    assert_eq!(reading.host, None);
    assert_eq!(reading.advice(), Cause::DnsNotFound.advice());
}

#[test]
fn what_containerd_itself_lacks_is_not_its_resolvers_fault() {
    let check = |text: &str| assert_eq!(cause(text), Cause::RuntimeUnavailable, "{text}");
    check(
        "failed to do request: Get \"https://registry.test/v2/\": dial tcp: lookup registry.test on 10.0.0.1:53: dial udp \
         10.0.0.1:53: socket: too many open files",
    );
    check("dial tcp 10.0.0.1:443: socket: too many open files");
    check("fork/exec /usr/bin/unpigz: resource temporarily unavailable");
    check("open /var/lib/containerd/x: cannot allocate memory");
}

#[test]
fn a_blob_that_its_database_knows_and_the_folder_has_not_is_the_nodes() {
    let text = "blob sha256:7482eafc5e155bdf0aee87ab018a5c3c421b2342edcd4966aea013960c8739cc expected at \
                /var/lib/containerd/io.containerd.content.v1.content/blobs/sha256/\
                7482eafc5e155bdf0aee87ab018a5c3c421b2342edcd4966aea013960c8739cc: blob not found: not found";
    assert_eq!(cause(text), Cause::DiskError);
}
