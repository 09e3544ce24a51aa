//! The order of the stages.

pub mod recorder;
