//! The project's own corpus of error texts, each with the answer that is expected.

use pullscope::classify::text::{read, redact};
use pullscope::model::Cause;
use serde_json::Value;

/// Reads a file of the corpus and says everything that is wrong with the answers.
fn check(name: &str, corpus: &str) {
    let mut wrong = String::new();
    let mut lines = 0;
    for line in corpus.lines() {
        lines += 1;
        let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {line}: {e}"));
        let message = row["message"].as_str().expect(line);
        let expect = Cause::from_label(row["cause"].as_str().expect(line)).expect(line);
        let reading = read(message);
        let mut complain = |what: String| wrong += &format!("\n{what}\n  in {message}\n");
        if reading.cause != expect {
            complain(format!("want {expect}, got {} also {:?}", reading.cause, reading.also));
            continue;
        }
        for also in row["also"].as_array().into_iter().flatten() {
            let also = Cause::from_label(also.as_str().expect(line)).expect(line);
            if !reading.also.contains(&also) {
                complain(format!("want also {also}, got {:?}", reading.also));
            }
        }
        if let Some(host) = row["host"].as_str()
            && reading.host.as_deref() != Some(host)
        {
            complain(format!("want host {host}, got {:?}", reading.host));
        }
    }
    assert!(lines > 0, "{name} is empty");
    assert!(wrong.is_empty(), "{name}:{wrong}");
}

#[test]
fn the_field_guides_lines_are_read_word_for_word() {
    check("field_guide", include_str!("corpus/field_guide.jsonl"));
}

#[test]
fn containerd_is_read_in_the_wordings_of_all_its_versions() {
    check("containerd", include_str!("corpus/containerd.jsonl"));
}

#[test]
fn what_real_containerds_said_in_the_scenarios_is_read() {
    let corpus = include_str!("corpus/real.jsonl");
    for version in ["containerd 1.6.", "containerd 1.7.", "containerd 2.1."] {
        assert!(corpus.contains(version), "no row of {version}");
    }
    check("real", corpus);
}

#[test]
fn the_other_runtimes_and_the_registries_bodies_are_read() {
    check("others", include_str!("corpus/others.jsonl"));
}

#[test]
fn wordings_of_many_tools_and_registries_are_read() {
    check("wordings", include_str!("corpus/wordings.jsonl"));
}

#[test]
fn names_that_spell_errors_are_not_read_as_errors() {
    check("adversarial", include_str!("corpus/adversarial.jsonl"));
}

#[test]
fn redaction_does_not_change_what_a_text_means() {
    for corpus in [
        include_str!("corpus/containerd.jsonl"),
        include_str!("corpus/others.jsonl"),
        include_str!("corpus/real.jsonl"),
    ] {
        for line in corpus.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let message = row["message"].as_str().unwrap();
            assert_eq!(read(&redact(message)).cause, read(message).cause, "{message}\n{}", redact(message));
        }
    }
}
