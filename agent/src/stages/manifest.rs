//! Stage manifest.
