//! Whether the scheduler still turns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::SPREAD;

/// When the scheduler last turned; what `/livez` asks.
#[derive(Debug)]
pub struct Pulse {
    born: Instant,
    last: AtomicU64,
    patience: Duration,
}

// === impl Pulse ===

impl Pulse {
    /// A pulse that is missed after three intervals without any lane's turn.
    pub fn new(interval: Duration) -> Pulse {
        Pulse { born: Instant::now(), last: AtomicU64::new(0), patience: interval * 3 + SPREAD }
    }

    pub(super) fn beat(&self) {
        // 2^64 milliseconds are 584 million years.
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// Whether some lane had its turn lately.
    pub fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last) <= self.patience
    }
}
