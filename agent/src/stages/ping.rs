//! Stage ping.
