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

const CORPORA: [&str; 4] = [
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
fn a_message_cut_at_any_byte_is_read_without_panic() {
    for message in messages() {
        for end in (0..message.len()).filter(|end| message.is_char_boundary(*end)) {
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
