//! Stage pull.
