//! The numbers of a file system against the limits.

use crate::model::Cause;

/// When free space, in percent of bytes or of inodes, warns and fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Below this a warning.
    pub warn_free_percent: f64,
    /// Below this a failure.
    pub fail_free_percent: f64,
}

/// A file system as statvfs(3) tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// Bytes in all.
    pub size: u64,
    /// Bytes that an unprivileged writer may still take.
    pub free: u64,
    /// Inodes in all; 0 where their number is not fixed (btrfs).
    pub inodes: u64,
    /// Inodes that an unprivileged writer may still take.
    pub inodes_free: u64,
    /// Mounted, or remounted, read-only.
    pub read_only: bool,
}

/// How bad it is. The order is "worse than".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Soon.
    Warn,
    /// Now.
    Fail,
}

impl FileSystem {
    /// Free bytes in percent of the size, as the kubelet's eviction counts them; `None` where there is no size.
    pub fn free_percent(&self) -> Option<f64> {
        percent(self.free, self.size)
    }

    /// Free inodes in percent; `None` where their number is not fixed.
    pub fn inodes_free_percent(&self) -> Option<f64> {
        percent(self.inodes_free, self.inodes)
    }
}

/// What is wrong with a file system, if anything; the worst, and of two that are equally bad, bytes before inodes.
pub fn cause(seen: &FileSystem, limits: Limits) -> Option<(Level, Cause)> {
    if seen.read_only {
        return Some((Level::Fail, Cause::DiskError));
    }
    let bytes = level(seen.free_percent(), limits).map(|level| (level, Cause::DiskFull));
    let inodes = level(seen.inodes_free_percent(), limits).map(|level| (level, Cause::InodesExhausted));
    match (bytes, inodes) {
        (Some(bytes), Some(inodes)) => Some(if inodes.0 > bytes.0 { inodes } else { bytes }),
        (bytes, inodes) => bytes.or(inodes),
    }
}

/// What a file system that does not answer, or answers with an error, means.
pub fn unreadable() -> Cause {
    Cause::DiskError
}

fn level(free_percent: Option<f64>, limits: Limits) -> Option<Level> {
    let free = free_percent?;
    if free < limits.fail_free_percent {
        Some(Level::Fail)
    } else if free < limits.warn_free_percent {
        Some(Level::Warn)
    } else {
        None
    }
}

#[allow(clippy::cast_precision_loss)] // Percentages: 2^53 bytes are exact enough.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { warn_free_percent: 15.0, fail_free_percent: 5.0 };

    fn check(free: u64, inodes_free: u64, expect: Option<(Level, Cause)>) {
        let seen = FileSystem { size: 1000, free, inodes: 1000, inodes_free, read_only: false };
        assert_eq!(cause(&seen, LIMITS), expect, "{free} bytes, {inodes_free} inodes of 1000");
    }

    #[test]
    fn a_roomy_file_system_is_well() {
        check(150, 150, None);
        check(1000, 1000, None);
    }

    #[test]
    fn the_limits_are_the_first_good_values() {
        check(149, 500, Some((Level::Warn, Cause::DiskFull)));
        check(50, 500, Some((Level::Warn, Cause::DiskFull)));
        check(49, 500, Some((Level::Fail, Cause::DiskFull)));
        check(0, 500, Some((Level::Fail, Cause::DiskFull)));
    }

    #[test]
    fn inodes_run_out_while_bytes_are_plenty() {
        check(900, 149, Some((Level::Warn, Cause::InodesExhausted)));
        check(900, 49, Some((Level::Fail, Cause::InodesExhausted)));
    }

    #[test]
    fn the_worse_of_the_two_is_told() {
        check(100, 10, Some((Level::Fail, Cause::InodesExhausted)));
        check(10, 100, Some((Level::Fail, Cause::DiskFull)));
        check(10, 10, Some((Level::Fail, Cause::DiskFull)));
    }

    #[test]
    fn no_fixed_number_of_inodes_is_not_zero_free_inodes() {
        let btrfs = FileSystem { size: 1000, free: 900, ..FileSystem::default() };
        assert_eq!(cause(&btrfs, LIMITS), None);
    }

    #[test]
    fn a_file_system_without_a_size_is_not_full() {
        assert_eq!(cause(&FileSystem::default(), LIMITS), None);
    }

    #[test]
    fn read_only_comes_before_full() {
        let seen = FileSystem { size: 1000, read_only: true, ..FileSystem::default() };
        assert_eq!(cause(&seen, LIMITS), Some((Level::Fail, Cause::DiskError)));
    }
}
