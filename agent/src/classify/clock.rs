//! The node's clock against the clocks of the registries.

use std::time::Duration;

use crate::model::Cause;

/// More than this is a wrong clock: tokens and fresh certificates begin to fail at about five minutes, and a `Date`
/// header may itself be seconds old.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// How sure it is that the node's own clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skew {
    /// The clocks agree.
    None,
    /// One registry disagrees: its clock or ours.
    Suspected,
    /// Several registries agree with one another and not with this node.
    Certain,
}

/// Judges offsets in seconds, each a registry's clock minus this node's.
pub fn skew(offsets: &[f64]) -> Skew {
    let limit = TOLERANCE.as_secs_f64();
    let ahead = offsets.iter().filter(|o| **o > limit).count();
    let behind = offsets.iter().filter(|o| **o < -limit).count();
    let off = ahead.max(behind);
    if off >= 2 && off * 2 > offsets.len() {
        Skew::Certain
    } else if off > 0 {
        Skew::Suspected
    } else {
        Skew::None
    }
}

/// The cause of a wrong clock.
pub fn cause() -> Cause {
    Cause::ClockSkew
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_registries_against_this_node_are_certain() {
        assert_eq!(skew(&[3600.0, 3598.0]), Skew::Certain);
        assert_eq!(skew(&[-400.0, -401.0, 0.0]), Skew::Certain);
    }

    #[test]
    fn one_registry_alone_may_be_wrong_itself() {
        assert_eq!(skew(&[3600.0]), Skew::Suspected);
        assert_eq!(skew(&[3600.0, -3600.0]), Skew::Suspected);
        assert_eq!(skew(&[400.0, 400.0, 0.0, 0.0]), Skew::Suspected);
    }

    #[test]
    fn five_minutes_are_tolerated() {
        assert_eq!(skew(&[300.0, -300.0, 12.0]), Skew::None);
        assert_eq!(skew(&[]), Skew::None);
    }
}
