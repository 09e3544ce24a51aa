//! `pullscope classify`: what an error text means.

use std::io::{self, BufRead, Read};
use std::process::ExitCode;

use pullscope::classify::text::{self as reader, Reading};
use pullscope::model::text;
use serde::Serialize;

use super::{Output, USAGE, paint, print, unprinted, usage};

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The texts. None: one a line from stdin.
    message: Vec<String>,
    /// On stdin, NUL ends a message: for texts that hold newlines.
    #[arg(long, conflicts_with = "message")]
    null: bool,
    /// A table for people, or one JSON object a message.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The most of a message that is read; what is longer is cut, and its rest passed over.
const MAX_MESSAGE: u64 = 64 * 1024;

/// What is said of one message: the contract's shape.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    message: &'a str,
    domain: &'static str,
    cause: &'static str,
    also: Vec<&'static str>,
    fault: &'static str,
    host: Option<&'a str>,
    advice: &'a str,
}

/// Reads every message and says what it means.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match say_all(arguments) {
        Ok(code) => code,
        Err(error) => unprinted(&error, ExitCode::SUCCESS, USAGE),
    }
}

/// # Errors
/// When the answers cannot be printed; what comes after is not read then, as it may have no end.
fn say_all(arguments: &Arguments) -> io::Result<ExitCode> {
    if arguments.output == Output::Text {
        print(&format!("{:30}  {:6}  WHERE\n", "CAUSE", "FAULT"))?;
    }
    if !arguments.message.is_empty() {
        arguments.message.iter().try_for_each(|message| print(&answer(message, arguments.output)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let end = if arguments.null { 0 } else { b'\n' };
    let mut input = io::stdin().lock();
    loop {
        match next(&mut input, end) {
            Ok(None) => return Ok(ExitCode::SUCCESS),
            // An empty line is no message; an empty message between two NULs is one.
            Ok(Some(message)) if message.trim().is_empty() && !arguments.null => {}
            Ok(Some(message)) => print(&answer(&message, arguments.output))?,
            Err(error) => return Ok(usage(&format!("stdin: {error}"))),
        }
    }
}

/// The next message, cut at [`MAX_MESSAGE`]; `None` at the end.
fn next(input: &mut impl BufRead, end: u8) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if input.by_ref().take(MAX_MESSAGE).read_until(end, &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&end) {
        bytes.pop();
    } else {
        input.skip_until(end)?;
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn answer(message: &str, output: Output) -> String {
    let Reading { cause, also, host, hint } = reader::read(message);
    let advice = hint.as_deref().unwrap_or_else(|| cause.advice());
    let shown = reader::redact(message);
    match output {
        Output::Json => {
            let answer = Answer {
                message: &shown,
                domain: cause.domain().label(),
                cause: cause.label(),
                also: also.iter().map(|c| c.label()).collect(),
                fault: cause.fault().label(),
                host: host.as_deref(),
                advice,
            };
            serde_json::to_string(&answer).expect("it has string keys only") + "\n"
        }
        Output::Text => {
            let label = paint().cause(cause, &format!("{:30}", cause.to_string()));
            let host = host.map_or_else(|| "-".to_owned(), |host| text::clean(&host, 200));
            let mut row = format!("{label}  {:6}  {host}\n", cause.fault().label());
            if !also.is_empty() {
                let others: Vec<&str> = also.iter().map(|c| c.label()).collect();
                row.push_str(&format!("  or:   {}\n", others.join(", ")));
            }
            let text = text::clean(&shown, text::MAX_TEXT);
            row + &format!("  text: {text}\n  do:   {advice}\n  more: {}\n", cause.page())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], end: u8) -> Vec<usize> {
        let mut input = io::BufReader::with_capacity(16, bytes);
        std::iter::from_fn(|| next(&mut input, end).unwrap()).map(|m| m.len()).collect()
    }

    #[test]
    fn messages_end_at_a_newline_or_at_a_nul() {
        assert_eq!(all(b"ab\ncd", b'\n'), [2, 2]);
        assert_eq!(all(b"a\nb\0c", 0), [3, 1]);
        assert!(all(b"", 0).is_empty());
    }

    #[test]
    fn a_message_without_an_end_is_cut_and_the_next_one_is_whole() {
        let mut bytes = vec![b'x'; 200_000];
        bytes.extend(b"\nnext\n");
        assert_eq!(all(&bytes, b'\n'), [64 * 1024, 4]);
    }
}
