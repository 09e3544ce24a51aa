//! Everybody's clock but this node's: the time by which certificates are issued and servers tell the time.
//!
//! The node's own clock is everybody's, and cannot be set for one scenario; a node that is a day behind is one for whom
//! all others are a day ahead.

use serde::Deserialize;
use time::Duration;

use crate::Fallible;

/// How far all others are ahead of this node, with a unit: `+1d`, `-10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ahead(Duration);

// === impl Ahead ===

impl Ahead {
    /// As a length of time.
    pub fn length(self) -> Duration {
        self.0
    }

    /// The program and its first words that make `program` live by that clock: libfaketime, which the dynamic linker
    /// finds by `$LIB` whatever the machine. What is linked statically, as docker-registry, does not heed it.
    pub fn wrapping(self, program: &str) -> [String; 5] {
        let library = "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1".to_owned();
        let ahead = format!("FAKETIME={:+}", self.0.whole_seconds());
        // Time-outs go by the machine's own, which may not have run for a day yet.
        let not_all = "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned();
        ["env".to_owned(), library, not_all, ahead, program.to_owned()]
    }
}

impl TryFrom<String> for Ahead {
    type Error = String;

    fn try_from(text: String) -> Result<Ahead, String> {
        parse(&text).map(Ahead).map_err(|_| format!("{text:?} is no time ahead such as +1d or -10m"))
    }
}

fn parse(text: &str) -> Fallible<Duration> {
    let unit = text.chars().last().ok_or("empty")?;
    let length = match unit {
        'd' => Duration::DAY,
        'h' => Duration::HOUR,
        'm' => Duration::MINUTE,
        _ => return Err("no unit".into()),
    };
    let count: i32 = text[..text.len() - 1].parse()?;
    Ok(length.checked_mul(count).ok_or("too far")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_ahead_has_a_unit() {
        let length = |text: &str| Ahead::try_from(text.to_owned()).map(Ahead::length);
        assert_eq!(length("+1d"), Ok(Duration::DAY));
        assert_eq!(length("-10m"), Ok(Duration::minutes(-10)));
        for bad in ["", "1", "d", "1ä", "1w"] {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_program_is_told_the_seconds() {
        let ahead = Ahead::try_from("-10m".to_owned()).expect("it is one");
        assert_eq!(ahead.wrapping("nginx")[3..], ["FAKETIME=-600".to_owned(), "nginx".to_owned()]);
    }
}
