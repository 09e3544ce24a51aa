//! Stage dns.
