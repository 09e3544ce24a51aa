//! A list of the API server, item by item as its bytes come: five hundred pods are megabytes, and one is enough to hold.

/// The most bytes of one item: etcd keeps objects of 1.5 MiB, which JSON makes longer.
const MAX_ITEM: usize = 4 << 20;
/// The most items of one list: no kubelet runs as many pods.
const MAX_ITEMS: usize = 10_000;
/// The longest key of the list's own that is looked at.
const MAX_KEY: usize = 16;

/// Where the bytes have come to.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    has_begun: bool,
    /// The last text at the list's own level.
    text: Vec<u8>,
    /// The key whose value is being read.
    key: Vec<u8>,
    /// The bytes of a value that is wanted, and the depth at which it began.
    held: Vec<u8>,
    held_at: Option<usize>,
    items: usize,
}

/// A part of a list, as JSON.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// One of `items`.
    Item(&'a [u8]),
    /// `metadata`.
    Metadata(&'a [u8]),
}

impl Splitter {
    /// Reads on. `take` is told each part that is whole now.
    ///
    /// # Errors
    /// What is wrong with the list, or what `take` says.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        take: &mut impl FnMut(Piece<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        for &byte in bytes {
            self.step(byte, take)?;
        }
        Ok(())
    }

    /// Whether the list is whole.
    pub(super) fn is_whole(&self) -> bool {
        self.has_begun && self.depth == 0
    }

    fn step(
        &mut self,
        byte: u8,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.hold(byte)?;
        if self.in_string {
            self.string(byte);
            return Ok(());
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.text.clear();
            }
            b':' if self.depth == 1 => self.key.clone_from(&self.text),
            b',' if self.depth == 1 => self.key.clear(),
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => return self.close(take),
            _ => {}
        }
        Ok(())
    }

    fn hold(&mut self, byte: u8) -> Result<(), String> {
        if self.held_at.is_none() {
            return Ok(());
        }
        if self.held.len() >= MAX_ITEM {
            return Err(format!("an item of the list is larger than {MAX_ITEM} bytes"));
        }
        self.held.push(byte);
        Ok(())
    }

    fn string(&mut self, byte: u8) {
        match (self.escaped, byte) {
            (true, _) => self.escaped = false,
            (false, b'\\') => self.escaped = true,
            (false, b'"') => self.in_string = false,
            _ if self.depth == 1 && self.text.len() < MAX_KEY => self.text.push(byte),
            _ => {}
        }
    }

    fn open(&mut self, byte: u8) {
        let is_wanted = byte == b'{'
            && match self.depth {
                1 => self.key == b"metadata",
                2 => self.key == b"items",
                _ => false,
            };
        if is_wanted {
            self.held_at = Some(self.depth);
            self.held.clear();
            self.held.push(byte);
        }
        self.has_begun = true;
        self.depth += 1;
    }

    fn close(&mut self, take: &mut impl FnMut(Piece<'_>) -> Result<(), String>) -> Result<(), String> {
        self.depth = self.depth.checked_sub(1).ok_or("the list is no JSON")?;
        if self.held_at != Some(self.depth) {
            return Ok(());
        }
        self.held_at = None;
        if self.depth == 1 {
            return take(Piece::Metadata(&self.held));
        }
        self.items += 1;
        if self.items > MAX_ITEMS {
            return Err(format!("the list has more than {MAX_ITEMS} items"));
        }
        take(Piece::Item(&self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":""},
        "items":[{"a":"}]\"{","b":[{"c":1}]},{"items":[{}],"metadata":{"name":"x"}}, {} ]}"#;

    fn split(chunks: &[&[u8]]) -> Result<Vec<String>, String> {
        let (mut splitter, mut seen) = (Splitter::default(), Vec::new());
        let mut take = |piece: Piece<'_>| {
            let (name, bytes) = match piece {
                Piece::Item(bytes) => ("item", bytes),
                Piece::Metadata(bytes) => ("metadata", bytes),
            };
            seen.push(format!("{name} {}", String::from_utf8_lossy(bytes)));
            Ok(())
        };
        for chunk in chunks {
            splitter.feed(chunk, &mut take)?;
        }
        if splitter.is_whole() { Ok(seen) } else { Err("it ends early".to_owned()) }
    }

    #[test]
    fn a_list_comes_item_by_item_however_it_is_cut() {
        let whole = split(&[LIST.as_bytes()]).unwrap();
        assert_eq!(
            whole,
            [
                r#"metadata {"resourceVersion":"7","continue":""}"#,
                r#"item {"a":"}]\"{","b":[{"c":1}]}"#,
                r#"item {"items":[{}],"metadata":{"name":"x"}}"#,
                "item {}",
            ]
        );
        let single: Vec<&[u8]> = LIST.as_bytes().chunks(1).collect();
        assert_eq!(split(&single).unwrap(), whole);
    }

    #[test]
    fn a_list_that_is_cut_off_or_none_is_told() {
        assert_eq!(split(&[&LIST.as_bytes()[..LIST.len() - 1]]).unwrap_err(), "it ends early");
        assert_eq!(split(&[b""]).unwrap_err(), "it ends early");
        assert_eq!(split(&[b"<html>}"]).unwrap_err(), "the list is no JSON");
        assert_eq!(split(&[br#"{"items":null,"metadata":null}"#]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_item_without_end_is_not_held() {
        let text = format!("{{\"items\":[{{\"a\":\"{}", "x".repeat(MAX_ITEM + 1));
        assert!(split(&[text.as_bytes()]).unwrap_err().contains("larger than"));
        let many = format!("{{\"items\":[{}]}}", vec!["{}"; MAX_ITEMS + 1].join(","));
        assert!(split(&[many.as_bytes()]).unwrap_err().contains("more than"));
    }
}
