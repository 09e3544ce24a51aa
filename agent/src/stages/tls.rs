//! Stage tls.
