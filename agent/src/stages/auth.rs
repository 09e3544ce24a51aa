//! Stage auth.
