//! Language dns.
