//! Addresses of one scenario's own, so that scenarios run side by side with the real port numbers.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;

/// A /24 of 127.0.0.0/8, held by an abstract Unix socket of its name: no other scenario of this network namespace gets
/// it, and the kernel gives it back when this process ends, however it ends.
#[derive(Debug)]
pub struct Block {
    prefix: [u8; 3],
    next: AtomicU8,
    _held: UnixListener,
}

impl Block {
    /// Takes a block that nobody holds.
    pub fn take() -> Fallible<Block> {
        // Onwards from block to block: what has just been in use may still have connections that end.
        static TAKEN: AtomicU32 = AtomicU32::new(0);
        let start = process::id();
        for _ in 0..16_000 {
            let step = TAKEN.fetch_add(1, Ordering::Relaxed);
            // 127.64.0 to 127.127.255: far from what people use by hand. 4093 is a prime near the block count.
            let n = start.wrapping_mul(31).wrapping_add(step.wrapping_mul(4093)) % (64 * 256);
            let (a, b) = (64 + u8::try_from(n / 256)?, u8::try_from(n % 256)?);
            let name = SocketAddr::from_abstract_name(format!("pullscope-tests-127.{a}.{b}"))?;
            if let Ok(held) = UnixListener::bind_addr(&name) {
                return Ok(Block { prefix: [127, a, b], next: AtomicU8::new(1), _held: held });
            }
        }
        Err("every block of loopback addresses is taken".into())
    }

    /// The next address of the block; nothing listens on it yet.
    pub fn next(&self) -> Ipv4Addr {
        let last = self.next.fetch_add(1, Ordering::Relaxed);
        // Never the last: the counter would begin anew.
        assert_ne!(last, u8::MAX, "no scenario needs 255 addresses");
        let [a, b, c] = self.prefix;
        Ipv4Addr::new(a, b, c, last)
    }

    /// An IPv6 address of the block's own, put on the loopback interface.
    pub fn next_v6(&self) -> Fallible<V6> {
        let [_, a, b, c] = self.next().octets();
        let address = Ipv6Addr::new(0xfd00, 0x7075, 0x6c6c, 0, 0, a.into(), b.into(), c.into());
        V6::add(address)
    }
}

/// An IPv6 address on the loopback interface; taken off again on drop.
#[derive(Debug)]
pub struct V6(pub Ipv6Addr);

impl V6 {
    fn add(address: Ipv6Addr) -> Fallible<V6> {
        V6::ip("replace", address)?;
        let own = V6(address);
        // On a busy machine it may take a moment until the kernel lets anyone have it.
        let deadline = Instant::now() + Duration::from_secs(5);
        while let Err(error) = UdpSocket::bind((address, 0)) {
            if Instant::now() > deadline {
                return Err(format!("{address} is on lo, and not to be had: {error}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(own)
    }

    fn ip(verb: &str, address: Ipv6Addr) -> Fallible<()> {
        let out = Command::new("ip")
            .args(["-6", "addr", verb, &format!("{address}/128"), "dev", "lo"])
            .output()
            .map_err(|e| format!("ip: {e}"))?;
        if !out.status.success() {
            return Err(format!("ip addr {verb}: {}", String::from_utf8_lossy(&out.stderr).trim()).into());
        }
        Ok(())
    }
}

impl Drop for V6 {
    fn drop(&mut self) {
        if let Err(error) = V6::ip("del", self.0) {
            eprintln!("left on lo: {} ({error})", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_never_share_an_address() {
        let (one, two) = (Block::take().unwrap(), Block::take().unwrap());
        assert_ne!(one.prefix, two.prefix);
        assert_ne!(one.next(), one.next());
    }
}
