//! The `clock` stage: this node's clock against the `Date` and the certificates of the registries.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{Checked, Pass, Seen, Stop};
use crate::classify::clock::{self, Skew, Witness};
use crate::model::{ClockOffset, Fact, Finding, Validity};

/// What a registry told of the time in its last answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Who said it.
    pub registry: String,
    /// Its clock minus this node's, in seconds; none where it told no time.
    pub offset: Option<f64>,
    /// From when to when its certificate is valid, where nothing else is against it.
    pub validity: Option<Validity>,
}

/// Compares this node's clock, which shows `now`, with the registries'. A clock that is wrong stops no pull as long as
/// certificates are in their time by it: it is a warning then, and why where something else fails of it.
pub fn compare(samples: &[Sample], now: SystemTime) -> Checked<()> {
    // Several registries may have the same mirror: that is one clock.
    let samples: BTreeMap<&str, &Sample> = samples.iter().map(|s| (s.registry.as_str(), s)).collect();
    let witnesses: Vec<_> =
        samples.values().map(|s| Witness { date: s.offset, validity: s.validity.as_ref() }).collect();
    let dates: Vec<_> = samples.iter().filter_map(|(who, sample)| Some((*who, sample.offset?))).collect();
    let skew = clock::skew(&witnesses, now);
    if let Skew::ByCertificates { offset, count } = skew {
        return Err(by_certificates(offset, count, &dates));
    }
    let Some(&(who, worst)) = dates.iter().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs())) else {
        return Err(Stop::Undecided("no registry has told its time yet".into(), Seen::default()));
    };
    // The header has whole seconds, and was true when the answer was written.
    let seen = Seen::detail(format!("within {:.0} s of {}", worst.abs().ceil(), registries(dates.len())));
    let side = if worst > 0.0 { "behind" } else { "ahead of" };
    let finding = |who: String| {
        Finding::new(clock::cause(), format!("this node's clock is {:.0} s {side} {who}", worst.abs()))
    };
    match skew {
        Skew::Suspected => {
            let told = format!("that of {who}; other registries do not say so");
            Ok(Pass::new((), Seen::default()).warn(Some(finding(told).at(who))))
        }
        Skew::Certain => {
            let off = dates.iter().map(|(_, offset)| *offset).filter(|offset| offset * worst > 0.0);
            let off: Vec<f64> = off.filter(|offset| offset.abs() > clock::TOLERANCE.as_secs_f64()).collect();
            let offset = ClockOffset {
                least: off.iter().copied().fold(worst, f64::min),
                most: off.iter().copied().fold(worst, f64::max),
            };
            let told = finding(format!("those of {} registries", dates.len()));
            Ok(Pass::new((), known(offset)).warn(Some(told)))
        }
        Skew::None | Skew::ByCertificates { .. } => Ok(Pass::new((), seen)),
    }
}

/// The stop where certificates are out of their time, and this node's clock alone makes them so.
fn by_certificates(offset: ClockOffset, count: usize, dates: &[(&str, f64)]) -> Stop {
    let mut told = clock::words(offset, &registries(count));
    for (who, date) in dates.iter().take(1) {
        told += &format!("; {who} tells a time {:.0} s from this node's", date.abs());
    }
    Stop::Failed(Finding::new(clock::cause(), told), known(offset))
}

/// What is known of the clock, for whoever judges certificates by it.
fn known(offset: ClockOffset) -> Seen {
    Seen { fact: Some(Fact::Clock(offset)), ..Seen::default() }
}

fn registries(count: usize) -> String {
    if count == 1 { "1 registry".to_owned() } else { format!("{count} registries") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    fn samples(offsets: &[f64]) -> Vec<Sample> {
        let sample = |(n, &offset): (usize, &f64)| Sample {
            registry: format!("{n}.test"),
            offset: Some(offset),
            validity: None,
        };
        offsets.iter().enumerate().map(sample).collect()
    }

    /// A certificate that begins tomorrow, of an issuer of its own.
    fn begins_tomorrow(registry: &str) -> Sample {
        let validity = Validity {
            from: now() + DAY,
            until: now() + DAY * 90,
            issuer: registry.to_owned(),
            serial: "01".to_owned(),
        };
        Sample { registry: registry.to_owned(), offset: None, validity: Some(validity) }
    }

    #[test]
    fn without_a_registrys_time_it_cannot_say() {
        assert!(matches!(compare(&[], now()), Err(Stop::Undecided(..))));
        assert!(matches!(compare(&[begins_tomorrow("a.test")], now()), Err(Stop::Undecided(..))));
    }

    #[test]
    fn a_clock_that_runs_behind_is_told_with_its_distance() {
        let pass = compare(&samples(&[7200.0, 7201.0]), now()).expect("images can be pulled");
        let text = pass.warning.expect("it warns").text;
        assert_eq!(text, "this node's clock is 7201 s behind those of 2 registries");
        assert_eq!(pass.seen.fact, Some(Fact::Clock(ClockOffset { least: 7200.0, most: 7201.0 })));
    }

    #[test]
    fn certificates_that_all_begin_later_are_the_clocks_fault() {
        let both = [begins_tomorrow("a.test"), begins_tomorrow("b.test")];
        let Err(Stop::Failed(finding, seen)) = compare(&both, now()) else {
            panic!("no image can be pulled")
        };
        assert_eq!(
            finding.text,
            "this node's clock is at least 1 day behind: by it the certificates of 2 registries are not valid yet"
        );
        assert!(matches!(seen.fact, Some(Fact::Clock(_))));
    }

    #[test]
    fn a_mirror_of_several_registries_is_one_clock() {
        let [mirror] = &samples(&[7200.0])[..] else { panic!("one") };
        let pass = compare(&[mirror.clone(), mirror.clone()], now()).expect("a warning passes");
        assert!(pass.warning.is_some());
    }

    #[test]
    fn one_registry_that_disagrees_is_a_warning() {
        let pass = compare(&samples(&[-900.0, 0.0]), now()).expect("a warning passes");
        assert!(pass.warning.expect("it warns").text.contains("900 s ahead of that of 0.test"));
    }

    #[test]
    fn clocks_that_agree_pass_without_a_word_of_warning() {
        let pass = compare(&samples(&[0.4, -1.0]), now()).expect("they agree");
        assert_eq!((pass.warning, pass.seen.detail.as_str()), (None, "within 1 s of 2 registries"));
        assert_eq!(
            compare(&samples(&[0.4]), now()).expect("it agrees").seen.detail,
            "within 1 s of 1 registry"
        );
    }
}
