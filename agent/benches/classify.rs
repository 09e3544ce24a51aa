//! How many error texts are read in a second: `cargo bench -p pullscope --bench classify -- [FILE]`, FILE one JSON object
//! with a `message` a line; without it the project's own corpus.

use std::hint::black_box;
use std::time::Instant;

use pullscope::classify::text::{cause, read, redact};

fn main() {
    // `cargo bench` passes `--bench`; `cargo test --benches` does not, and wants but one round.
    let texts = if std::env::args().any(|argument| argument == "--bench") { 200_000 } else { 1 };
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let corpus = match file {
        Some(file) => std::fs::read_to_string(&file).expect("the file can be read"),
        None => {
            [include_str!("../tests/corpus/containerd.jsonl"), include_str!("../tests/corpus/others.jsonl")]
                .concat()
        }
    };
    let messages: Vec<String> = corpus
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"))
        .map(|row| row["message"].as_str().expect("a line has a message").to_owned())
        .collect();
    let bytes: usize = messages.iter().map(String::len).sum();
    println!("{} messages of {} bytes on average", messages.len(), bytes / messages.len());

    let begun = Instant::now();
    black_box(cause("the first call compiles the rules"));
    println!("first call: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);

    measure("cause", texts, &messages, |message| {
        black_box(cause(black_box(message)));
    });
    measure("read", texts, &messages, |message| {
        black_box(read(black_box(message)));
    });
    measure("redact", texts, &messages, |message| {
        black_box(redact(black_box(message)));
    });
}

fn measure(name: &str, texts: usize, messages: &[String], work: impl Fn(&str)) {
    let rounds = texts / messages.len().max(1) + 1;
    let begun = Instant::now();
    for _ in 0..rounds {
        messages.iter().for_each(|message| work(message));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let count = rounds * messages.len();
    println!("{name}: {:.0} messages a second and core", count as f64 / seconds);
}
