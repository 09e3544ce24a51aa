//! Stage quota.
