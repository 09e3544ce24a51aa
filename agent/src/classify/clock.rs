//! The node's clock against the clocks and the certificates of the registries.

use std::time::{Duration, SystemTime};

use super::tls::rough;
use crate::model::{Cause, ClockOffset, Validity};

/// More than this is a wrong clock: tokens and fresh certificates begin to fail at about five minutes, and a `Date`
/// header may itself be seconds old.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// What one issuer made to begin, or to end, within this time is one failure of that issuer: a renewal that nobody saw to,
/// a fleet that was issued at once, or a proxy that makes certificates by a wrong clock of its own.
const ONE_ISSUE: Duration = Duration::from_secs(86_400);

/// What one registry tells of the time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Witness<'a> {
    /// Its clock minus this node's, in seconds, if it told its time.
    pub date: Option<f64>,
    /// From when to when its certificate is valid, in which this node's clock may or may not be.
    pub validity: Option<&'a Validity>,
}

/// How sure it is that the node's own clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skew {
    /// The clocks agree, or nothing speaks against this node's.
    None,
    /// One registry disagrees: its clock or ours.
    Suspected,
    /// Several registries agree with one another and not with this node.
    Certain,
    /// Registries that told no time have certificates that are out of their time by this node's clock alone.
    ByCertificates {
        /// How far the clock is off, if the certificates are well.
        offset: ClockOffset,
        /// How many certificates.
        count: usize,
    },
}

/// Judges what the registries tell to a node whose clock shows `now`.
pub fn skew(witnesses: &[Witness<'_>], now: SystemTime) -> Skew {
    let limit = TOLERANCE.as_secs_f64();
    let dates: Vec<f64> = witnesses.iter().filter_map(|witness| witness.date).collect();
    let ahead = dates.iter().filter(|o| **o > limit).count();
    let behind = dates.iter().filter(|o| **o < -limit).count();
    let off = ahead.max(behind);
    if off >= 2 && off * 2 > dates.len() {
        return Skew::Certain;
    }
    match by_certificates(witnesses, &dates, now) {
        Some(certain) => certain,
        None if off > 0 => Skew::Suspected,
        None => Skew::None,
    }
}

/// What the certificates say: all of them, those in their time as well, must fit one and the same true time, and whoever
/// tells the time must tell that one. To be out of date is the common fault of certificates, to begin too early a rare
/// one: it takes more of the former to speak against the clock.
fn by_certificates(witnesses: &[Witness<'_>], dates: &[f64], now: SystemTime) -> Option<Skew> {
    let all = || witnesses.iter().filter_map(|witness| Some(witness.validity?.offset(now)));
    let offset = ClockOffset {
        least: all().map(|o| o.least).max_by(f64::total_cmp)?,
        most: all().map(|o| o.most).min_by(f64::total_cmp)?,
    };
    let limit = TOLERANCE.as_secs_f64();
    let fits = |date: &f64| offset.meets(&ClockOffset { least: *date, most: *date }, TOLERANCE);
    if offset.least > offset.most || !dates.iter().all(fits) {
        return None;
    }
    let is_off = |date: &&f64| date.abs() > limit;
    let told = dates.iter().filter(is_off).count();
    // One that agrees with this node, be it at the edge of what fits.
    if told < dates.len() {
        return None;
    }
    let silent = || witnesses.iter().filter(|witness| witness.date.is_none()).filter_map(|w| w.validity);
    let early = independent(silent().filter(|v| v.offset(now).least > limit), |v| v.from);
    let late = independent(silent().filter(|v| v.offset(now).most < -limit), |v| v.until);
    let is_behind = offset.least > limit && early > 0 && early + told >= 2;
    let is_ahead = offset.most < -limit && (late > 2 || (late == 2 && told > 0));
    (is_behind || is_ahead).then_some(Skew::ByCertificates { offset, count: early.max(late) })
}

/// How many of them say the same independently of one another; `at` is the date that is passed, or not come yet.
fn independent<'a>(those: impl Iterator<Item = &'a Validity>, at: fn(&Validity) -> SystemTime) -> usize {
    let mut counted: Vec<&Validity> = Vec::new();
    for one in those {
        let is_one_issue = |other: &&Validity| {
            let (a, b) = (at(one), at(other));
            let apart = a.duration_since(b).or_else(|_| b.duration_since(a)).unwrap_or_default();
            one.issuer == other.issuer && (one.serial == other.serial || apart <= ONE_ISSUE)
        };
        if !counted.iter().any(is_one_issue) {
            counted.push(one);
        }
    }
    counted.len()
}

/// What the certificates of `whose` say of the clock, in words.
pub fn words(offset: ClockOffset, whose: &str) -> String {
    let (side, least, dates) = match offset.least > 0.0 {
        true => ("behind", offset.least, "are not valid yet"),
        false => ("ahead", -offset.most, "have expired"),
    };
    let least = rough(Duration::try_from_secs_f64(least).unwrap_or_default());
    format!("this node's clock is at least {least} {side}: by it the certificates of {whose} {dates}")
}

/// The cause of a wrong clock.
pub fn cause() -> Cause {
    Cause::ClockSkew
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    /// One of `issuer`, valid from and until so many seconds from now.
    fn certificate(issuer: &str, from: i64, until: i64) -> Validity {
        let at = |seconds: i64| match seconds < 0 {
            true => now() - Duration::from_secs(seconds.unsigned_abs()),
            false => now() + Duration::from_secs(seconds.unsigned_abs()),
        };
        Validity {
            from: at(from),
            until: at(until),
            issuer: issuer.into(),
            serial: format!("{from}:{until}"),
        }
    }

    /// Who tells the time, and who has a certificate and tells none.
    fn judged(dates: &[f64], certificates: &[Validity]) -> Skew {
        let told = dates.iter().map(|&date| Witness { date: Some(date), validity: None });
        let silent = certificates.iter().map(|v| Witness { date: None, validity: Some(v) });
        skew(&told.chain(silent).collect::<Vec<_>>(), now())
    }

    fn check(dates: &[f64], certificates: &[Validity], expect: Skew) {
        assert_eq!(judged(dates, certificates), expect, "{dates:?} {certificates:?}");
    }

    fn certain(least: i64, most: i64, count: usize) -> Skew {
        let offset = ClockOffset { least: least as f64, most: most as f64 };
        Skew::ByCertificates { offset, count }
    }

    /// Begins in an hour, or tomorrow.
    fn early(issuer: &str) -> Validity {
        certificate(issuer, DAY / 24, 90 * DAY)
    }

    /// Ended yesterday.
    fn late(issuer: &str) -> Validity {
        certificate(issuer, -90 * DAY, -DAY)
    }

    #[test]
    fn several_registries_against_this_node_are_certain() {
        check(&[3600.0, 3598.0], &[], Skew::Certain);
        check(&[-400.0, -401.0, 0.0], &[], Skew::Certain);
    }

    #[test]
    fn one_registry_alone_may_be_wrong_itself() {
        check(&[3600.0], &[], Skew::Suspected);
        check(&[3600.0, -3600.0], &[], Skew::Suspected);
        check(&[400.0, 400.0, 0.0, 0.0], &[], Skew::Suspected);
    }

    #[test]
    fn five_minutes_are_tolerated() {
        check(&[300.0, -300.0, 12.0], &[], Skew::None);
        check(&[], &[], Skew::None);
        check(&[], &[certificate("a", 290, DAY), certificate("b", 290, DAY)], Skew::None);
    }

    #[test]
    fn two_certificates_that_begin_later_than_now_are_certain() {
        check(&[], &[early("a"), early("b")], certain(DAY / 24, 90 * DAY, 2));
        check(&[], &[early("a")], Skew::None);
    }

    #[test]
    fn three_certificates_that_have_ended_are_certain_and_two_are_not() {
        check(&[], &[late("a"), late("b"), late("c")], certain(-90 * DAY, -DAY, 3));
        check(&[], &[late("a"), late("b")], Skew::None);
    }

    #[test]
    fn what_one_issuer_made_in_one_day_is_one_witness() {
        check(&[], &[early("a"), certificate("a", 2 * DAY / 24, 90 * DAY)], Skew::None);
        check(&[], &[late("a"), late("a"), late("a")], Skew::None);
        check(&[], &[early("a"), certificate("a", 3 * DAY, 90 * DAY)], certain(3 * DAY, 90 * DAY, 2));
    }

    #[test]
    fn a_registry_that_agrees_with_this_node_clears_its_clock() {
        check(&[2.0], &[early("a"), early("b")], Skew::None);
        check(&[-1.0], &[late("a"), late("b"), late("c")], Skew::None);
    }

    #[test]
    fn one_clock_and_certificates_that_bear_it_out_are_certain() {
        check(&[86_400.0], &[early("a")], certain(DAY / 24, 90 * DAY, 1));
        check(&[-2.0 * 86_400.0], &[late("a"), late("b")], certain(-90 * DAY, -DAY, 2));
        check(&[-2.0 * 86_400.0], &[late("a")], Skew::Suspected);
    }

    #[test]
    fn a_clock_that_the_certificates_contradict_adds_nothing() {
        check(&[400.0], &[early("a"), early("b")], Skew::Suspected);
        check(&[400.0 * 86_400.0], &[early("a"), early("b")], Skew::Suspected);
    }

    #[test]
    fn certificates_that_no_time_fits_are_wrong_themselves() {
        let ended = certificate("d", -90 * DAY, -DAY);
        check(&[], &[early("a"), early("b"), ended.clone()], Skew::None);
        // It was made after the others had ended.
        let young = certificate("d", -DAY / 2, 90 * DAY);
        check(&[], &[late("a"), late("b"), late("c"), young], Skew::None);
    }

    #[test]
    fn a_registry_that_tells_its_time_is_one_witness() {
        let early = early("a");
        let both = Witness { date: Some(86_400.0), validity: Some(&early) };
        assert_eq!(skew(&[both], now()), Skew::Suspected);
    }

    #[test]
    fn the_least_distance_is_told_in_words() {
        let told = words(ClockOffset { least: 3600.0, most: 90.0 * 86_400.0 }, "2 registries");
        assert_eq!(
            told,
            "this node's clock is at least 1 hour behind: by it the certificates of 2 registries are not valid yet"
        );
        let told = words(ClockOffset { least: -400.0 * 86_400.0, most: -86_400.0 }, "3 registries");
        assert!(told.contains("at least 1 day ahead"), "{told}");
    }
}
