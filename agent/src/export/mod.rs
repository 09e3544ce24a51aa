//! The knowing wing.
