//! The files of a lookup, read with a bound.

use std::io::{self, Read};
use std::path::Path;

use super::super::files::open_regular;

/// Reads at most `max` bytes of a regular file, cut at the end of a line; nothing where there is no file.
pub(super) fn read(path: &Path, max: u64) -> io::Result<Option<Vec<u8>>> {
    let read = || -> io::Result<_> {
        let mut bytes = Vec::new();
        open_regular(path)?.take(max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max {
            let line = bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
            bytes.truncate(line);
        }
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The domain of this host's own name: what libc and Go search where resolv.conf names no domain.
pub(super) fn host_domain() -> Option<String> {
    let name = read_kernel("/proc/sys/kernel/hostname")?;
    name.split_once('.').map(|(_, domain)| domain.to_owned()).filter(|domain| !domain.is_empty())
}

/// The index of a network interface, for a link-local name server (`fe80::1%eth0`).
pub(super) fn interface_index(name: &str) -> Option<u32> {
    let is_name = !name.contains('/') && !name.starts_with('.');
    read_kernel(&format!("/sys/class/net/{}/ifindex", is_name.then_some(name)?))?.parse().ok()
}

/// The one line of a file of the kernel's.
fn read_kernel(path: &str) -> Option<String> {
    let bytes = read(Path::new(path), 4096).ok().flatten()?;
    Some(String::from_utf8(bytes).ok()?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_to_its_bound_and_cut_at_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(read(&path, 14).unwrap().unwrap(), b"one\ntwo\nthree\n");
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"one\ntwo");
        assert_eq!(read(&dir.path().join("absent"), 10).unwrap(), None);
    }

    #[test]
    fn the_kernel_tells_the_index_of_the_loopback_interface() {
        assert_eq!(interface_index("lo"), Some(1));
        assert_eq!(interface_index("no-such-interface"), None);
        assert_eq!(interface_index("../lo"), None);
    }
}
