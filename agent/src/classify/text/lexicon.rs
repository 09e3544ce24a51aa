//! The words that rules name, numbered, so that a message's words are compared as numbers.

use std::collections::HashMap;

/// The number of every word that no rule names.
pub(super) const UNKNOWN: u16 = 0;
/// The number that stands for the beginning of a web page.
pub(super) const HTML: u16 = 1;

/// The number that stands for the first bytes of a TLS record.
pub(super) const TLS_RECORD: u16 = 2;

/// The longest word of the table; longer ones are not looked up.
const MAX_WORD: usize = 40;

/// Words whose quoted value is a message, not a name: keys of JSON and logfmt, and the kubelet's reasons.
const KEYS: [&str; 12] = [
    "code",
    "message",
    "msg",
    "error",
    "err",
    "reason",
    "cause",
    "desc",
    "detail",
    "value",
    "errimagepull",
    "imagepullbackoff",
];

/// Words behind which a name follows, with the word before them where that matters.
const INTRODUCTIONS: [(&str, &str); 10] = [
    ("", "lookup"),
    ("", "manifests"),
    ("pull", "image"),
    ("pulling", "image"),
    ("reading", "manifest"),
    ("denied", "for"),
    ("manifest", "for"),
    ("from", "host"),
    ("to", "repository"),
    ("in", "repository"),
];

/// The table of words. It only grows while rules are compiled.
#[derive(Debug)]
pub(super) struct Lexicon {
    numbers: HashMap<String, u16>,
    /// Open addressing, a power of two, at most half full.
    slots: Vec<Slot>,
    /// The words by their number.
    words: Vec<Box<[u8]>>,
    keys: Vec<u16>,
    introductions: Vec<(u16, u16)>,
    /// The highest number of a word that introduces or is introduced: those come first.
    last_introduction: u16,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    number: u16,
    /// The word's; 0 for an empty slot.
    length: u8,
}

const EMPTY: Slot = Slot { hash: 0, number: UNKNOWN, length: 0 };

impl Lexicon {
    /// A table with the words that the lexer itself needs.
    pub(super) fn new() -> Lexicon {
        let mut lexicon = Lexicon {
            numbers: HashMap::from([
                ("<unknown>".to_owned(), UNKNOWN),
                ("<html>".to_owned(), HTML),
                ("<tls>".to_owned(), TLS_RECORD),
            ]),
            slots: Vec::new(),
            words: Vec::new(),
            keys: Vec::new(),
            introductions: Vec::new(),
            last_introduction: 0,
        };
        lexicon.keys = KEYS.iter().map(|word| lexicon.number(word)).collect();
        lexicon.introductions = INTRODUCTIONS
            .iter()
            .map(|(before, word)| {
                let before = if before.is_empty() { UNKNOWN } else { lexicon.number(before) };
                (before, lexicon.number(word))
            })
            .collect();
        lexicon.last_introduction = lexicon.numbers.len() as u16;
        lexicon
    }

    /// The number of a rule's word, new if need be.
    ///
    /// # Panics
    /// If the word is longer than the table holds or not in lower case: a mistake in the rules, which a test meets.
    pub(super) fn number(&mut self, word: &str) -> u16 {
        assert!(word.len() <= MAX_WORD, "{word}: too long for the lexicon");
        assert!(!word.bytes().any(|b| b.is_ascii_uppercase()), "{word}: words of rules are in lower case");
        let next = u16::try_from(self.numbers.len()).expect("rules have fewer than 65536 words");
        *self.numbers.entry(word.to_owned()).or_insert(next)
    }

    /// Builds the table that [`Lexicon::word`] reads.
    pub(super) fn seal(&mut self) {
        let size = (self.numbers.len() * 2).next_power_of_two();
        self.slots = vec![EMPTY; size];
        self.words = vec![Box::default(); self.numbers.len()];
        for (word, &number) in &self.numbers {
            let slot = Slot { hash: hash(word.as_bytes()), number, length: word.len() as u8 };
            let mut at = slot.hash as usize & (size - 1);
            while self.slots[at].length != 0 {
                at = (at + 1) & (size - 1);
            }
            self.slots[at] = slot;
            self.words[usize::from(number)] = word.as_bytes().into();
        }
    }

    /// The number of a message's word, whatever its case, if a rule names it.
    pub(super) fn word(&self, word: &[u8]) -> Option<u16> {
        if word.is_empty() || word.len() > MAX_WORD {
            return None;
        }
        let hash = hash(word);
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            let slot = &self.slots[at];
            if slot.length == 0 {
                return None;
            }
            let found = slot.hash == hash && usize::from(slot.length) == word.len();
            if found && self.words[usize::from(slot.number)].eq_ignore_ascii_case(word) {
                return Some(slot.number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Whether a quoted word behind this one is a message.
    pub(super) fn is_key(&self, word: u16) -> bool {
        self.keys.contains(&word)
    }

    /// Whether a name follows these two words.
    pub(super) fn introduces(&self, before: u16, word: u16) -> bool {
        (1..self.last_introduction).contains(&word)
            && self.introductions.iter().any(|(b, w)| *w == word && (*b == UNKNOWN || *b == before))
    }
}

/// Mixes the first and the last letters, whatever their case. Words of more than 16 letters may share it with others;
/// the letters themselves are compared anyway.
fn hash(word: &[u8]) -> u32 {
    let four = |at: usize| u32::from_le_bytes([word[at], word[at + 1], word[at + 2], word[at + 3]]);
    let eight = |at: usize| u64::from(four(at)) << 32 | u64::from(four(at + 4));
    let length = word.len();
    let (head, tail) = match length {
        8.. => (eight(0), eight(length - 8)),
        4..8 => (u64::from(four(0)), u64::from(four(length - 4))),
        _ => word.iter().fold((0, 0), |(head, _), byte| (head << 8 | u64::from(*byte), 0)),
    };
    // Sets the bit that tells capitals from small letters.
    let case = 0x2020_2020_2020_2020;
    let mixed =
        (head | case).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (tail | case).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let mixed = mixed ^ (length as u64) << 17;
    (mixed ^ mixed >> 32) as u32
}
