//! The `clock` stage: this node's clock against the `Date` of the registries.

use super::{Checked, Pass, Seen, Stop};
use crate::classify::clock::{self, Skew};
use crate::model::Finding;

/// A registry's clock, as its last answer told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Who said it.
    pub registry: String,
    /// Its clock minus this node's, in seconds.
    pub offset: f64,
}

/// Compares this node's clock with the registries'.
pub fn compare(samples: &[Sample]) -> Checked<()> {
    let offsets: Vec<f64> = samples.iter().map(|s| s.offset).collect();
    let Some(worst) = samples.iter().max_by(|a, b| a.offset.abs().total_cmp(&b.offset.abs())) else {
        return Err(Stop::Undecided("no registry has told its time yet".into(), Seen::default()));
    };
    // The header has whole seconds, and was true when the answer was written.
    let count =
        if samples.len() == 1 { "1 registry".to_owned() } else { format!("{} registries", samples.len()) };
    let seen = Seen::detail(format!("within {:.0} s of {count}", worst.offset.abs().ceil()));
    let side = if worst.offset > 0.0 { "behind" } else { "ahead of" };
    let finding = |who: String| {
        Finding::new(clock::cause(), format!("this node's clock is {:.0} s {side} {who}", worst.offset.abs()))
    };
    match clock::skew(&offsets) {
        Skew::None => Ok(Pass::new((), seen)),
        Skew::Suspected => {
            let who = format!("that of {}; other registries do not say so", worst.registry);
            Ok(Pass::new((), Seen::default()).warn(Some(finding(who).at(&worst.registry))))
        }
        Skew::Certain => {
            let who = format!("those of {} registries", samples.len());
            Err(Stop::Failed(finding(who), Seen::default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(offsets: &[f64]) -> Vec<Sample> {
        offsets.iter().map(|&offset| Sample { registry: "a.test".into(), offset }).collect()
    }

    #[test]
    fn without_a_registrys_time_it_cannot_say() {
        assert!(matches!(compare(&[]), Err(Stop::Undecided(..))));
    }

    #[test]
    fn a_clock_that_runs_behind_is_told_with_its_distance() {
        let Err(Stop::Failed(finding, _)) = compare(&samples(&[7200.0, 7201.0])) else {
            panic!("it is wrong")
        };
        assert_eq!(finding.text, "this node's clock is 7201 s behind those of 2 registries");
    }

    #[test]
    fn one_registry_that_disagrees_is_a_warning() {
        let pass = compare(&samples(&[-900.0, 0.0])).expect("a warning passes");
        assert!(pass.warning.expect("it warns").text.contains("900 s ahead of that of a.test"));
    }

    #[test]
    fn clocks_that_agree_pass_without_a_word_of_warning() {
        let pass = compare(&samples(&[0.4, -1.0])).expect("they agree");
        assert_eq!((pass.warning, pass.seen.detail.as_str()), (None, "within 1 s of 2 registries"));
        assert_eq!(compare(&samples(&[0.4])).expect("it agrees").seen.detail, "within 1 s of 1 registry");
    }
}
