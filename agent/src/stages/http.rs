//! Stage http.
