//! Stage disk.
