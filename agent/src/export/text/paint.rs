//! Colours, for a terminal that shows them.

use crate::model::{Cause, Domain, Status};

/// Whether a terminal that shows colours reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Plain,
    /// ANSI colours.
    Colour,
}

impl Paint {
    /// `word` in the colour of who has to act: the pod's author yellow, the platform red, nobody yet dim.
    pub fn cause(self, cause: Cause, word: &str) -> String {
        let colour = match cause.domain() {
            Domain::Spec | Domain::Auth => "33",
            Domain::Network | Domain::Quota | Domain::Registry | Domain::Node => "1;31",
            Domain::Unknown => "2",
        };
        self.colour(colour, word)
    }

    pub(super) fn status(self, status: Status) -> String {
        self.word(status, status.label())
    }

    /// `word` in the colour of `status`.
    pub(super) fn word(self, status: Status, word: &str) -> String {
        let colour = match status {
            Status::Healthy => "32",
            Status::Degraded => "33",
            Status::Unknown => "2",
            Status::Failing => "1;31",
        };
        self.colour(colour, word)
    }

    fn colour(self, colour: &str, word: &str) -> String {
        match self {
            Paint::Plain => word.to_owned(),
            Paint::Colour => format!("\u{1b}[{colour}m{word}\u{1b}[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_escape() {
        assert_eq!(Paint::Plain.word(Status::Failing, "no"), "no");
        assert!(Paint::Colour.word(Status::Failing, "no").starts_with('\u{1b}'));
    }
}
