//! Any bytes are read and redacted without panic, and what comes out holds only what it may.
//!
//! `./just fuzz` runs it. Without a sanitizer: there is no unsafe code here for one to watch.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pullscope::classify::text::{MAX_INPUT, read, redact};
use pullscope::model::Cause;

/// What takes evidence, so that no text may lead to it.
const EVIDENCE_ONLY: [Cause; 3] = [Cause::RegistryUnknown, Cause::InodesExhausted, Cause::ClockSkew];

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let reading = read(&text);
    assert!(!reading.also.contains(&reading.cause));
    assert!(!EVIDENCE_ONLY.contains(&reading.cause));
    if let Some(host) = &reading.host {
        assert!(host.len() <= 255);
        assert!(host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+:/\\@[]".contains(&b)), "{host}");
    }
    assert!(reading.advice().len() <= 1024);
    assert!(redact(&text).len() <= MAX_INPUT);
});
