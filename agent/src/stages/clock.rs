//! Stage clock.
