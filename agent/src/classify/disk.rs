//! Language disk.
