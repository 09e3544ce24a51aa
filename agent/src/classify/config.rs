//! What is wrong with containerd's own registry configuration.

use crate::model::Cause;

/// What it means that containerd refuses, or passes over, what it is told of registries.
pub const fn broken() -> Cause {
    Cause::RuntimeConfig
}
