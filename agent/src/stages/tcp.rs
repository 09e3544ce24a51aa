//! Stage tcp.
