//! How long is waited before the API server is asked again, by chance where a fleet would else ask at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::api::ApiError;

/// How long is waited for what. [`Pace::default`] is for clusters, others are for tests.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Before the first list, at most: a fleet's agents may start together.
    pub first: Duration,
    /// After a first failure; doubled at each further one.
    pub least: Duration,
    /// After the last failure.
    pub most: Duration,
    /// Before the list that 410 Gone asks for, at most: all of a fleet's watches may be told so at once.
    pub gone: Duration,
    /// After a refusal that a person has to mend, and where there is no API server at all.
    pub refused: Duration,
    /// How long the server is asked to keep one watch.
    pub watch: Duration,
    /// For how long the pods that were last seen count, while the server cannot be reached.
    pub stale: Duration,
}

/// How long is waited after `error`, the last of so many `failures` in a row.
pub(super) fn pause(pace: &Pace, error: &ApiError, failures: u32) -> Duration {
    match error {
        ApiError::Refused { wait: Some(wait), .. } => spread(*wait).max(back_off(pace, failures)),
        error if error.is_forbidden() => spread(pace.refused),
        _ => back_off(pace, failures),
    }
}

/// How long is waited after so many failures in a row.
pub(super) fn back_off(pace: &Pace, failures: u32) -> Duration {
    let doubled = pace.least.saturating_mul(1 << failures.saturating_sub(1).min(16));
    spread(doubled.min(pace.most))
}

/// Between half of `time` and one and a half of it.
pub(super) fn spread(time: Duration) -> Duration {
    time / 2 + jitter(time)
}

/// Anything from nothing to `most`, by chance.
pub(super) fn jitter(most: Duration) -> Duration {
    // The hasher's keys are drawn by chance, and nobody need foresee less.
    most.mul_f64((RandomState::new().hash_one(0) >> 32) as f64 / f64::from(u32::MAX))
}

// === impl Pace ===

impl Default for Pace {
    /// Client-go's back-off and length of a watch, and more jitter than its.
    fn default() -> Pace {
        Pace {
            first: Duration::from_secs(5),
            least: Duration::from_secs(1),
            most: Duration::from_secs(120),
            gone: Duration::from_secs(10),
            refused: Duration::from_secs(300),
            watch: Duration::from_secs(400),
            stale: Duration::from_secs(900),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    #[test]
    fn a_pause_grows_and_is_spread() {
        let pace = Pace::default();
        for (failures, least, most) in [(1, 500, 1_500), (3, 2_000, 6_000), (40, 60_000, 180_000)] {
            for _ in 0..50 {
                let pause = back_off(&pace, failures).as_millis();
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
        let some: BTreeSet<_> = (0..20).map(|_| jitter(pace.gone)).collect();
        assert!(some.len() > 10, "{some:?}");
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it() {
        let refused = |status, wait| ApiError::Refused { status, words: String::new(), wait };
        let pace = Pace::default();
        assert!(pause(&pace, &refused(429, Some(Duration::from_secs(60))), 1) >= Duration::from_secs(30));
        assert!(pause(&pace, &refused(403, None), 1) >= Duration::from_secs(150));
        assert!(pause(&pace, &refused(500, None), 1) <= Duration::from_secs(2));
    }
}
