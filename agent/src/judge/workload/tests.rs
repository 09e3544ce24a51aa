//! The join as a table: what the kubelet said, what this node sees, and what that comes to.

use super::*;
use crate::model::{ContainerKind, ImageReference, WaitingReason};
use std::time::{Duration, SystemTime};

const IMAGE: &str = "r.test/team/app:1";

fn at(seconds: u64) -> Moment {
    let since_start = Duration::from_secs(seconds);
    Moment { wall: SystemTime::UNIX_EPOCH + since_start, since_start }
}

/// A container whose last real error, told at second 100, is of `cause`.
fn trouble(reason: WaitingReason, cause: Option<Cause>) -> Trouble {
    let error = |cause| LastError { finding: Finding::new(cause, "the error's words"), at: at(100) };
    Trouble {
        namespace: "shop".into(),
        pod: "web".into(),
        uid: "u".into(),
        container: "app".into(),
        kind: ContainerKind::Main,
        image: IMAGE.into(),
        reference: ImageReference::parse(IMAGE).ok(),
        reason,
        message: "Back-off pulling image".into(),
        last_error: cause.map(error),
        since: at(90),
    }
}

fn backing_off(cause: impl Into<Option<Cause>>) -> Trouble {
    trouble(WaitingReason::ImagePullBackOff, cause.into())
}

fn verdict(cause: Cause) -> Verdict {
    Verdict {
        cause,
        stage: Stage::Manifest,
        place: "there".into(),
        summary: "this node saw it".into(),
        hint: Some("do this".into()),
        is_warning: false,
        since: at(10).wall,
    }
}

/// A look at second 200.
fn look(cause: impl Into<Option<Cause>>) -> LookSays {
    let verdict = cause.into().map(verdict);
    let status = if verdict.is_some() { Status::Failing } else { Status::Healthy };
    LookSays { status, verdict, at: at(200), had_credentials: false }
}

fn by_look(cause: impl Into<Option<Cause>>, seen: LookSays) -> Verdict {
    judge(&backing_off(cause), None, Some(&seen))
}

fn by_registry(cause: impl Into<Option<Cause>>, status: Status, seen: impl Into<Option<Cause>>) -> Verdict {
    let verdict = seen.into().map(verdict);
    judge(
        &backing_off(cause),
        Some(&RegistrySays { status, verdict: verdict.as_ref(), at: Some(at(200)) }),
        None,
    )
}

#[test]
fn evidence_of_the_very_image_settles_what_the_text_leaves_open() {
    for (text, seen, expect) in [
        (Some(Cause::DeniedOrAbsent), Cause::ManifestNotFound, Cause::ManifestNotFound),
        (Some(Cause::DeniedOrAbsent), Cause::RepositoryNotFound, Cause::RepositoryNotFound),
        (Some(Cause::DeniedOrAbsent), Cause::CredentialsMissing, Cause::CredentialsMissing),
        (Some(Cause::DnsNotFound), Cause::RegistryUnknown, Cause::RegistryUnknown),
        (Some(Cause::ManifestNotFound), Cause::RepositoryNotFound, Cause::RepositoryNotFound),
        (Some(Cause::Unknown), Cause::ConnectRefused, Cause::ConnectRefused),
        (Some(Cause::ManifestNotFound), Cause::ConnectRefused, Cause::ConnectRefused),
        (None, Cause::ManifestNotFound, Cause::ManifestNotFound),
        (None, Cause::CredentialsMissing, Cause::CredentialsMissing),
        // The pod's credentials got further than this node without them.
        (Some(Cause::CredentialsRejected), Cause::CredentialsMissing, Cause::CredentialsRejected),
        (Some(Cause::CredentialsRejected), Cause::ManifestNotFound, Cause::CredentialsRejected),
        (Some(Cause::AccessDenied), Cause::DeniedOrAbsent, Cause::AccessDenied),
        (Some(Cause::ManifestNotFound), Cause::CredentialsMissing, Cause::ManifestNotFound),
        (Some(Cause::RateLimited), Cause::CredentialsMissing, Cause::RateLimited),
        (Some(Cause::ConnectTimeout), Cause::CredentialsMissing, Cause::ConnectTimeout),
    ] {
        assert_eq!(by_look(text, look(seen)).cause, expect, "{text:?} {seen}");
    }
}

#[test]
fn an_image_that_is_there_blames_the_pods_own_secret_for_a_refusal() {
    for text in [Cause::DeniedOrAbsent, Cause::CredentialsRejected] {
        let verdict = by_look(text, look(None));
        assert_eq!(verdict.cause, Cause::CredentialsRejected, "{text}");
        assert!(verdict.advice().starts_with("Renew the pod's own imagePullSecret"), "{}", verdict.advice());
    }
    for text in [Cause::DeniedOrAbsent, Cause::CredentialsMissing] {
        let verdict = by_look(text, LookSays { had_credentials: true, ..look(None) });
        assert_eq!(verdict.cause, Cause::CredentialsMissing, "{text}");
        assert!(verdict.advice().starts_with("Give the pod an imagePullSecret"), "{}", verdict.advice());
    }
}

#[test]
fn a_trouble_that_is_over_is_told_with_its_cause_and_what_comes_next() {
    for text in [Cause::ConnectRefused, Cause::Unavailable, Cause::ManifestNotFound, Cause::TlsExpired] {
        let verdict = by_look(text, look(None));
        assert_eq!((verdict.cause, verdict.since), (text, at(90).wall));
        assert!(
            verdict.summary.ends_with("the kubelet's next try will probably succeed"),
            "{}",
            verdict.summary
        );
        assert_eq!(verdict.advice(), WAIT);
    }
    let verdict = by_look(None, look(None));
    assert!(verdict.cause == Cause::Unknown && verdict.summary.contains(RETRY), "{}", verdict.summary);
}

#[test]
fn a_head_that_is_answered_says_nothing_of_quotas_and_layers() {
    for text in [Cause::RateLimited, Cause::QuotaExceeded, Cause::TransferTimeout] {
        let verdict = by_look(text, look(None));
        assert!(verdict.cause == text && !verdict.summary.contains(RETRY), "{}", verdict.summary);
    }
}

#[test]
fn a_look_that_is_older_than_the_error_does_not_count() {
    let old = LookSays { at: at(99), ..look(Cause::ManifestNotFound) };
    assert_eq!(by_look(Cause::ConnectRefused, old).summary, "the error's words");
    let nothing = LookSays { status: Status::Unknown, verdict: None, ..look(None) };
    assert_eq!(by_look(Cause::DeniedOrAbsent, nothing).cause, Cause::DeniedOrAbsent);
}

#[test]
fn what_stops_the_whole_registry_stops_the_pod() {
    for seen in [
        Cause::ConnectRefused,
        Cause::RateLimited,
        Cause::Unavailable,
        Cause::RegistryUnknown,
        Cause::DiskFull,
    ] {
        for text in
            [None, Some(Cause::ManifestNotFound), Some(Cause::DnsFailure), Some(Cause::DeniedOrAbsent)]
        {
            assert_eq!(by_registry(text, Status::Failing, seen).cause, seen, "{text:?}");
        }
    }
    let verdict = by_registry(Cause::ManifestNotFound, Status::Failing, Cause::ConnectRefused);
    assert_eq!(verdict.summary, "this node saw it; the kubelet was last told: the error's words");
    assert_eq!((verdict.place.as_str(), verdict.advice().as_str()), ("there", "do this"));
}

#[test]
fn the_test_images_own_trouble_is_not_the_pods() {
    for seen in [Cause::CredentialsMissing, Cause::ManifestNotFound, Cause::ContentInvalid] {
        assert_eq!(
            by_registry(Cause::AccessDenied, Status::Failing, seen).cause,
            Cause::AccessDenied,
            "{seen}"
        );
    }
    let suspected = by_registry(Cause::AccessDenied, Status::Degraded, Cause::ConnectRefused);
    assert_eq!(suspected.cause, Cause::AccessDenied, "not confirmed");
}

#[test]
fn a_registry_that_is_well_again_has_outlived_its_errors() {
    assert!(by_registry(Cause::ConnectRefused, Status::Healthy, None).summary.contains(RETRY));
    assert!(!by_registry(Cause::ManifestNotFound, Status::Healthy, None).summary.contains(RETRY));
    let seen_before = RegistrySays { status: Status::Healthy, verdict: None, at: Some(at(50)) };
    assert!(!judge(&backing_off(Cause::ConnectRefused), Some(&seen_before), None).summary.contains(RETRY));
}

#[test]
fn what_only_the_node_can_see_no_registry_contradicts() {
    for text in [Cause::DiskFull, Cause::UnpackFailed, Cause::PlatformMismatch, Cause::KubeletThrottled] {
        assert_eq!(by_look(text, look(Cause::ConnectRefused)).cause, text);
        assert_eq!(by_registry(text, Status::Failing, Cause::ConnectRefused).cause, text);
    }
}

#[test]
fn the_kubelets_own_reasons_are_causes() {
    for (reason, expect) in [
        (WaitingReason::InvalidImageName, Cause::InvalidReference),
        (WaitingReason::ErrImageNeverPull, Cause::NeverPull),
        (WaitingReason::SignatureValidationFailed, Cause::RejectedByPolicy),
    ] {
        for text in [None, Some(Cause::Unknown), Some(Cause::ConnectRefused)] {
            let verdict = judge(&trouble(reason, text), None, Some(&look(Cause::ConnectRefused)));
            assert_eq!(verdict.cause, expect, "{text:?}");
        }
    }
}

#[test]
fn without_an_error_and_without_evidence_nobody_is_blamed() {
    let verdict = judge(&backing_off(None), None, None);
    assert_eq!((verdict.cause, verdict.place.as_str()), (Cause::Unknown, "r.test"));
    assert_eq!(verdict.summary, "the kubelet does not say why: Back-off pulling image");
}

#[test]
fn a_long_error_leaves_room_for_what_follows() {
    let mut long = backing_off(Cause::ConnectRefused);
    let finding = Finding::new(Cause::ConnectRefused, "x ".repeat(1000));
    long.last_error = Some(LastError { finding, at: at(100) });
    let verdict = judge(&long, None, Some(&look(None)));
    assert!(verdict.summary.len() <= text::MAX_TEXT && verdict.summary.ends_with("probably succeed"));
}
