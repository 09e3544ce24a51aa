//! Language http.
