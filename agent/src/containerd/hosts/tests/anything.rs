//! All folders at once, and files of any kind.

use super::*;

#[test]
fn lint_tells_what_is_wrong_in_any_folder() {
    let tree = Tree::default()
        .with("hosts.toml", "")
        .with("a.test/hosts.toml", "[")
        .with("b.test/hosts.toml", MIRROR)
        .with("c.test/host.toml", MIRROR)
        .with("d.test/ca.crt", "");
    let files = Files { read: &|path| tree.read(path), list: &|path| tree.list(path) };
    let faults = lint(&told(Generation::V2), &files).unwrap();
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/certs/hosts.toml", "/certs/a.test/hosts.toml", "/certs/c.test/host.toml"]);
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other() {
    let tree = Tree::default().with("a.test/hosts.toml", MIRROR).with("b.test/hosts.toml", "[");
    let denied = |path: &Path| match path.ends_with("a.test/hosts.toml") {
        true => Err(io::ErrorKind::PermissionDenied.into()),
        false => tree.read(path),
    };
    let files = Files { read: &denied, list: &|path| tree.list(path) };
    let faults = lint(&told(Generation::V2), &files).unwrap();
    assert_eq!(faults.len(), 1, "{faults:?}");
    let tree = Tree::default().with("a.test/hosts.toml", MIRROR);
    let files =
        Files { read: &|_| Err(io::ErrorKind::PermissionDenied.into()), list: &|path| tree.list(path) };
    assert_eq!(lint(&told(Generation::V2), &files).unwrap_err().path, Path::new("/certs/a.test/hosts.toml"));
}

#[test]
fn lint_looks_at_no_more_than_two_hundred_folders() {
    let mut tree = Tree::default();
    for n in 0..250 {
        tree = tree.with(&format!("r{n:03}.test/hosts.toml"), "[");
    }
    let files = Files { read: &|path| tree.read(path), list: &|path| tree.list(path) };
    assert_eq!(lint(&told(Generation::V1_7), &files).unwrap().len(), 200);
}

/// A file for which a way is found without a panic, whatever it holds.
fn survive(bytes: &[u8]) {
    for generation in ALL {
        // What is too much for this agent decides nothing.
        let Ok(way) = Tree::default().with("reg.test/hosts.toml", bytes).way("reg.test", &told(generation))
        else {
            continue;
        };
        assert!(way.endpoints.len() <= 65 && way.faults.len() <= 300);
        assert!(way.faults.iter().all(|fault| fault.text.len() <= MAX_FAULT));
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let seed = format!(
        "server = \"https://mb.test/x\"\ncapabilities = [\"pull\", \"resolve\"]\n{MIRROR}skip_verify = true\n\
         header = {{x = [\"1\"]}}\nclient = [[\"a\", \"b\"], \"c\"]\nca = 'x'\ndial_timeout = \"1.5s\"\n\
         [host.'[::1]:5000'.header]\ny = \"2\"\n[host]\n\"ä\".ca = \"\"\n"
    );
    // xorshift64: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..1000 {
        let mut bytes = seed.clone().into_bytes();
        for _ in 0..=next(6) {
            let at = next(bytes.len());
            match next(4) {
                0 => bytes[at] = next(256) as u8,
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"[]{}\"'.=\n#\\,"[next(12)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        survive(&bytes);
    }
    survive(&[b'['; 20_000]);
    survive("a={".repeat(20_000).as_bytes());
    survive("a.".repeat(20_000).as_bytes());
    survive(format!("{}a = 1\n", "a.".repeat(20_000)).as_bytes());
    survive(format!("[{}a]\n", "a.".repeat(20_000)).as_bytes());
    survive((0..2000).map(|n| format!("[host.h{n}.header]\n")).collect::<String>().as_bytes());
    survive((0..4000).map(|n| format!("k{n} = 1\n")).collect::<String>().as_bytes());
}
