//! Stage runtime.
