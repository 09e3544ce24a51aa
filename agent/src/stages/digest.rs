//! Content digests: whether a text is one, and whether bytes are what it names.

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};

/// go-digest's three algorithms, with the number of hexadecimal digits of each.
const ALGORITHMS: [(&str, usize, &Algorithm); 3] =
    [("sha256", 64, &SHA256), ("sha384", 96, &SHA384), ("sha512", 128, &SHA512)];

/// Whether this is a digest as containerd takes it.
pub(super) fn is_digest(text: &str) -> bool {
    parts(text).is_some()
}

/// Whether `bytes` are the content that `text` names; a text that is no digest names none.
pub(super) fn is_of(text: &str, bytes: &[u8]) -> bool {
    parts(text).is_some_and(|(algorithm, hex)| {
        let made = digest(algorithm, bytes);
        made.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>() == hex
    })
}

/// `sha256:0123456789ab…`: enough to find it by.
pub(super) fn short(text: &str) -> String {
    match text.split_once(':') {
        Some((algorithm, hex)) if hex.len() > 12 && hex.is_ascii() => format!("{algorithm}:{}…", &hex[..12]),
        _ => text.to_owned(),
    }
}

fn parts(text: &str) -> Option<(&'static Algorithm, &str)> {
    let (name, hex) = text.split_once(':')?;
    let (_, digits, algorithm) = ALGORITHMS.iter().find(|(known, ..)| *known == name)?;
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (hex.len() == *digits && is_hex).then_some((*algorithm, hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn bytes_are_known_by_their_digest() {
        assert!(is_of(EMPTY, b""));
        assert!(!is_of(EMPTY, b"x"));
        assert!(!is_of("sha256:e3", b""));
    }

    #[test]
    fn a_digest_is_lower_case_and_of_its_length() {
        assert!(is_digest(EMPTY) && is_digest(&format!("sha512:{}", "0".repeat(128))));
        for text in
            ["", "sha256", "sha256:", "md5:00", &EMPTY.to_uppercase(), &format!("{EMPTY}0"), "sha256:../../x"]
        {
            assert!(!is_digest(text), "{text}");
        }
    }

    #[test]
    fn a_digest_is_shortened_for_people() {
        assert_eq!(short(EMPTY), "sha256:e3b0c44298fc…");
        assert_eq!(short("odd"), "odd");
    }
}
