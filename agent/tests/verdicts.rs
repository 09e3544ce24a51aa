//! Evidence in, verdict out: the judge's rules and the ledger's memory, through the ledger's front door.

#[allow(dead_code, reason = "each of the tests uses its part of the book")]
mod book;

use std::time::Duration;

use book::{Book, at, endpoint, failed, name, passed, step, undecided, warned, worded};
use pullscope::ledger::{Ledger, Policy, Watched};
use pullscope::model::{
    Cause, Fact, Finding, Lane, Outcome, PullOutcome, RegistryHost, Role, Stage, Status, Step, Subject,
};

#[test]
fn nothing_seen_is_unknown() {
    assert_eq!(Book::agent(&["a.test"]).says("a.test", 0), "unknown");
}

#[test]
fn a_good_walk_is_healthy() {
    assert_eq!(Book::agent(&["a.test"]).well("a.test", 1).says("a.test", 2), "healthy");
}

#[test]
fn evidence_that_is_too_old_is_unknown_and_its_values_are_gone() {
    let book = Book::agent(&["a.test"]).well("a.test", 0);
    assert_eq!(book.says("a.test", 180), "healthy");
    assert_eq!(book.says("a.test", 181), "unknown");
    assert!(book.0.view(at(181)).registries[0].endpoints[0].wire.is_none());
}

#[test]
fn one_failed_round_warns_and_two_fail() {
    let down = || vec![failed(Stage::Dns, Cause::DnsFailure)];
    let once = Book::agent(&["a.test"]).well("a.test", 0).wire("a.test", 60, down());
    assert_eq!(once.says("a.test", 61), "degraded network/dns_failure@dns");
    let twice = once.wire("a.test", 120, down());
    assert_eq!(twice.says("a.test", 121), "failing network/dns_failure@dns");
    let one_good = twice.well("a.test", 180);
    assert_eq!(one_good.says("a.test", 181), "failing network/dns_failure@dns");
    assert_eq!(one_good.well("a.test", 240).says("a.test", 241), "healthy");
}

#[test]
fn check_needs_no_second_round() {
    let book = Book::check(&["a.test"]).wire("a.test", 0, vec![failed(Stage::Tcp, Cause::ConnectRefused)]);
    assert_eq!(book.says("a.test", 1), "failing network/connect_refused@tcp");
}

#[test]
fn the_trouble_is_dated_by_its_first_round() {
    let down = || vec![failed(Stage::Dns, Cause::DnsFailure)];
    let book = Book::agent(&["a.test"]).wire("a.test", 60, down()).wire("a.test", 120, down());
    let view = book.0.view(at(121));
    assert_eq!(view.registries[0].verdict.as_ref().unwrap().since, at(60).wall);
}

#[test]
fn a_warning_degrades() {
    let book = Book::agent(&["a.test"]).wire("a.test", 0, vec![warned(Stage::Tcp, Cause::ConnectTimeout)]);
    assert_eq!(book.says("a.test", 1), "degraded network/connect_timeout@tcp");
    let book = book.well("a.test", 60);
    assert_eq!(
        book.says("a.test", 61),
        "degraded network/connect_timeout@tcp",
        "one good round is no recovery"
    );
    assert_eq!(book.well("a.test", 120).says("a.test", 121), "healthy");
}

#[test]
fn a_walk_that_could_not_look_to_the_end_proves_nothing() {
    let half = vec![passed(Stage::Dns), undecided(Stage::Auth)];
    assert_eq!(Book::check(&["a.test"]).wire("a.test", 0, half).says("a.test", 1), "unknown");
}

#[test]
fn a_walk_that_could_not_look_leaves_what_was_known() {
    let book = Book::agent(&["a.test"]).well("a.test", 0).wire("a.test", 60, vec![undecided(Stage::Dns)]);
    assert_eq!(book.says("a.test", 61), "healthy");
    assert_eq!(book.says("a.test", 200), "unknown");
}

#[test]
fn an_undecided_pull_leaves_the_status_to_the_wire() {
    let book = Book::check(&["a.test"]).well("a.test", 0).pull("a.test", 1, undecided(Stage::Pull));
    assert_eq!(book.says("a.test", 2), "healthy");
}

#[test]
fn the_pull_stands_alone_where_the_wire_could_not_look() {
    let book = Book::check(&["a.test"]).wire("a.test", 0, vec![undecided(Stage::Dns)]);
    assert_eq!(book.pull("a.test", 1, passed(Stage::Pull)).says("a.test", 2), "healthy");
}

#[test]
fn a_pull_that_fails_where_the_wire_works_is_containerds_own_way() {
    let book = Book::check(&["a.test"]).well("a.test", 0).pull(
        "a.test",
        1,
        failed(Stage::Pull, Cause::TlsUntrusted),
    );
    assert_eq!(book.says("a.test", 2), "failing network/tls_untrusted@pull");
    let view = book.0.view(at(2));
    let advice = view.registries[0].verdict.as_ref().unwrap().advice();
    assert!(advice.contains("hosts.toml") && advice.contains("proxy"), "{advice}");
}

#[test]
fn a_pull_that_works_where_the_wire_fails_degrades() {
    let book = Book::check(&["a.test"])
        .wire("a.test", 0, vec![failed(Stage::Tcp, Cause::ConnectTimeout)])
        .pull("a.test", 1, passed(Stage::Pull));
    assert_eq!(book.says("a.test", 2), "degraded network/connect_timeout@tcp");
}

#[test]
fn a_pull_from_before_the_trouble_does_not_excuse_it() {
    let down = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    let book = Book::agent(&["a.test"]).pull("a.test", 10, passed(Stage::Pull));
    let book = book.wire("a.test", 60, down()).wire("a.test", 120, down());
    assert_eq!(book.says("a.test", 121), "failing network/connect_timeout@tcp");
}

#[test]
fn a_pull_that_failed_with_the_wire_is_outlived_by_its_recovery() {
    let down = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    let book = Book::agent(&["a.test"])
        .wire("a.test", 60, down())
        .pull("a.test", 70, failed(Stage::Pull, Cause::ConnectTimeout))
        .well("a.test", 120)
        .well("a.test", 180);
    assert_eq!(book.says("a.test", 181), "healthy");
}

#[test]
fn the_wire_names_the_cause_when_both_lanes_fail() {
    let book = Book::check(&["a.test"]).wire("a.test", 0, vec![failed(Stage::Tls, Cause::TlsExpired)]).pull(
        "a.test",
        1,
        failed(Stage::Pull, Cause::TlsExpired),
    );
    assert_eq!(book.says("a.test", 2), "failing network/tls_expired@tls");
}

#[test]
fn a_full_disk_is_told_by_the_node_and_not_by_its_registries() {
    let book = Book::check(&["a.test"])
        .node(0, vec![failed(Stage::Disk, Cause::DiskFull)])
        .well("a.test", 0)
        .pull("a.test", 1, failed(Stage::Pull, Cause::DiskFull));
    assert_eq!(book.says("a.test", 2), "healthy");
    assert_eq!(book.node_says(2), "failing node/disk_full@disk");
}

#[test]
fn what_all_registries_share_is_the_nodes() {
    let down = || vec![failed(Stage::Dns, Cause::DnsFailure)];
    let book = Book::check(&["a.test", "b.test"]).wire("a.test", 0, down()).wire("b.test", 0, down());
    assert_eq!(book.node_says(1), "failing network/dns_failure@dns");
    let view = book.0.view(at(1));
    assert!(view.verdict.unwrap().summary.starts_with("all 2 registries fail at dns"));
}

#[test]
fn one_registry_shares_nothing_and_a_good_one_denies_it() {
    let down = || vec![failed(Stage::Dns, Cause::DnsFailure)];
    assert_eq!(Book::check(&["a.test"]).wire("a.test", 0, down()).node_says(1), "failing");
    let book = Book::check(&["a.test", "b.test"]).wire("a.test", 0, down()).well("b.test", 0);
    assert_eq!(book.node_says(1), "failing");
}

#[test]
fn different_stages_are_not_shared() {
    let book = Book::check(&["a.test", "b.test"])
        .wire("a.test", 0, vec![failed(Stage::Dns, Cause::DnsFailure)])
        .wire("b.test", 0, vec![failed(Stage::Tcp, Cause::ConnectRefused)]);
    assert_eq!(book.node_says(1), "failing");
}

#[test]
fn a_name_that_does_not_exist_is_a_typo_where_others_resolve() {
    let gone = || vec![failed(Stage::Dns, Cause::DnsNotFound)];
    let alone = Book::check(&["quai.test"]).wire("quai.test", 0, gone());
    assert_eq!(alone.says("quai.test", 1), "failing network/dns_not_found@dns");
    let among = Book::check(&["quai.test", "b.test"]).wire("quai.test", 0, gone()).well("b.test", 0);
    assert_eq!(among.says("quai.test", 1), "failing spec/registry_unknown@dns");
}

#[test]
fn a_token_services_name_is_no_typo_of_the_pods() {
    let book = Book::check(&["a.test", "b.test"])
        .wire("a.test", 0, vec![passed(Stage::Dns), failed(Stage::Auth, Cause::DnsNotFound)])
        .well("b.test", 0);
    assert_eq!(book.says("a.test", 1), "failing network/dns_not_found@auth");
}

#[test]
fn an_address_does_not_prove_the_resolver() {
    let gone = vec![failed(Stage::Dns, Cause::DnsNotFound)];
    let book =
        Book::check(&["quai.test", "127.0.0.1:5000"]).wire("quai.test", 0, gone).well("127.0.0.1:5000", 0);
    assert_eq!(book.says("quai.test", 1), "failing network/dns_not_found@dns");
}

#[test]
fn an_expired_certificate_on_a_node_with_a_wrong_clock_is_the_clock() {
    let book = Book::check(&["a.test", "b.test"])
        .node(0, vec![passed(Stage::Disk), failed(Stage::Clock, Cause::ClockSkew)])
        .wire("a.test", 0, vec![failed(Stage::Tls, Cause::TlsExpired)])
        .well("b.test", 0);
    assert_eq!(book.says("a.test", 1), "failing node/clock_skew@tls");
    assert_eq!(book.node_says(1), "failing node/clock_skew@clock");
}

#[test]
fn the_node_is_as_well_as_its_worst_registry() {
    let book = Book::check(&["a.test", "b.test"]).node(0, vec![passed(Stage::Disk)]).well("a.test", 0);
    assert_eq!(book.node_says(1), "unknown");
    let book = book.wire("b.test", 0, vec![warned(Stage::Tls, Cause::TlsExpired)]);
    assert_eq!(book.node_says(1), "degraded");
}

#[test]
fn a_node_lane_that_could_not_look_blames_nobody() {
    let book = Book::check(&["a.test"]).node(0, vec![undecided(Stage::Disk), undecided(Stage::Runtime)]);
    assert_eq!(book.well("a.test", 0).node_says(1), "healthy");
}

/// A registry with a mirror before it.
fn mirrored() -> Book {
    mirrored_by(RegistryHost::new("https://mirror.test", Role::Mirror))
}

fn mirrored_by(mirror: RegistryHost) -> Book {
    let hosts = vec![mirror, RegistryHost::new("https://a.test", Role::Registry)];
    Book(Ledger::new(Policy::ONCE, vec![Watched { registry: name("a.test"), hosts }]))
}

#[test]
fn a_dead_mirror_before_a_registry_that_serves_degrades() {
    let book = mirrored()
        .record(
            endpoint("a.test", "mirror.test", Role::Mirror),
            Lane::Wire,
            0,
            vec![failed(Stage::Tcp, Cause::ConnectRefused)],
        )
        .well("a.test", 0);
    assert_eq!(book.says("a.test", 1), "degraded network/connect_refused@tcp");
    let view = book.0.view(at(1));
    let statuses: Vec<_> = view.registries[0].endpoints.iter().map(|e| e.status).collect();
    assert_eq!(statuses, [Status::Failing, Status::Healthy]);
}

/// A mirror that fails so before a registry that serves.
fn before_a_good_one(mirror: RegistryHost, step: Step) -> Book {
    mirrored_by(mirror)
        .record(endpoint("a.test", "mirror.test", Role::Mirror), Lane::Wire, 0, vec![step])
        .well("a.test", 0)
}

fn summary(book: &Book) -> String {
    let view = book.0.view(at(1));
    view.registries[0].verdict.as_ref().map(|verdict| verdict.summary.clone()).unwrap_or_default()
}

fn mirror() -> RegistryHost {
    RegistryHost::new("https://mirror.test", Role::Mirror)
}

#[test]
fn a_black_holed_mirror_costs_minutes_and_says_so() {
    let timeout = || failed(Stage::Tcp, Cause::ConnectTimeout);
    let book = before_a_good_one(mirror(), timeout());
    assert_eq!(book.says("a.test", 1), "degraded network/connect_timeout@tcp");
    assert!(summary(&book).ends_with("each pull takes about 2 min longer"), "{}", summary(&book));
    let quick = RegistryHost { dial_timeout: Some(Duration::from_secs(5)), ..mirror() };
    let book = before_a_good_one(quick, timeout());
    assert!(summary(&book).ends_with("each pull takes about 20 s longer"), "{}", summary(&book));
}

#[test]
fn a_mirror_that_answers_with_a_page_keeps_the_registry_from_being_asked() {
    for (stage, cause, says) in [
        (Stage::Manifest, Cause::NotARegistry, "failing registry/not_a_registry@manifest"),
        (Stage::Blob, Cause::ContentInvalid, "failing registry/content_invalid@blob"),
    ] {
        let taken = step(stage, Outcome::Failed(Finding::new(cause, "a page").at("there").taken()));
        let book = before_a_good_one(mirror(), taken);
        assert_eq!(book.says("a.test", 1), says);
        let summary = summary(&book);
        assert!(summary.ends_with("containerd does not go on to another host then"), "{summary}");
    }
}

#[test]
fn a_mirror_that_has_not_what_is_asked_for_leaves_it_to_the_registry() {
    for (stage, cause, says) in [
        (Stage::Manifest, Cause::NotARegistry, "degraded registry/not_a_registry@manifest"),
        (Stage::Blob, Cause::ContentInvalid, "degraded registry/content_invalid@blob"),
    ] {
        assert_eq!(before_a_good_one(mirror(), failed(stage, cause)).says("a.test", 1), says);
    }
}

#[test]
fn a_mirror_that_only_pulls_leaves_the_tags_to_the_registry() {
    let only_pulls = || RegistryHost { resolves: false, ..mirror() };
    let well = vec![passed(Stage::Dns), passed(Stage::Manifest)];
    let book = mirrored_by(only_pulls())
        .record(endpoint("a.test", "mirror.test", Role::Mirror), Lane::Wire, 0, well)
        .wire("a.test", 0, vec![failed(Stage::Dns, Cause::DnsFailure)]);
    assert_eq!(book.says("a.test", 1), "failing network/dns_failure@dns");
}

#[test]
fn a_configuration_that_containerd_refuses_fails_the_registry_whatever_its_endpoints_say() {
    let broken = vec![failed(Stage::Runtime, Cause::RuntimeConfig)];
    let book = Book::check(&["a.test"]).well("a.test", 0).record(
        Subject::Registry(name("a.test")),
        Lane::Node,
        0,
        broken,
    );
    assert_eq!(book.says("a.test", 1), "failing node/runtime_config@runtime");
}

/// A registry that cannot be reached, where what containerd is told of it ended so.
fn unreached(told: Vec<Step>) -> Book {
    Book::check(&["a.test"]).wire("a.test", 0, vec![failed(Stage::Tcp, Cause::ConnectTimeout)]).record(
        Subject::Registry(name("a.test")),
        Lane::Node,
        0,
        told,
    )
}

#[test]
fn a_file_that_containerd_passes_over_is_told_where_the_way_without_it_is_closed() {
    let book = unreached(vec![warned(Stage::Runtime, Cause::RuntimeConfig)]);
    assert_eq!(book.says("a.test", 1), "failing network/connect_timeout@tcp");
    assert!(summary(&book).contains("; besides, "), "{}", summary(&book));
}

#[test]
fn it_is_told_why_what_containerd_is_told_could_not_be_read() {
    let book = unreached(vec![undecided(Stage::Runtime)]);
    assert_eq!(book.says("a.test", 1), "degraded network/connect_timeout@tcp");
    assert!(summary(&book).contains("could not be read: no permission"), "{}", summary(&book));
    // It could be read before.
    let told = |step| (Subject::Registry(name("a.test")), step);
    let (subject, read) = told(passed(Stage::Runtime));
    let book = Book::check(&["a.test"]).record(subject, Lane::Node, 0, vec![read]);
    let book = book.wire("a.test", 1, vec![failed(Stage::Tcp, Cause::ConnectTimeout)]);
    let (subject, unread) = told(undecided(Stage::Runtime));
    let book = book.record(subject, Lane::Node, 2, vec![unread]);
    assert_eq!(book.says("a.test", 3), "degraded network/connect_timeout@tcp");
}

#[test]
fn a_mirror_that_could_not_be_judged_does_not_hide_what_fails_behind_it() {
    let mirrored = || {
        let failing = vec![failed(Stage::Auth, Cause::CredentialsMissing)];
        mirrored().wire("a.test", 0, failing)
    };
    assert_eq!(mirrored().says("a.test", 1), "unknown", "it was not looked at yet");
    let mirror = endpoint("a.test", "mirror.test", Role::Mirror);
    let book = mirrored().record(mirror, Lane::Wire, 0, vec![undecided(Stage::Auth)]);
    assert_eq!(book.says("a.test", 1), "degraded auth/credentials_missing@auth");
    let expect = "whether https://mirror.test would serve is not known: no permission";
    assert!(summary(&book).contains(expect), "{}", summary(&book));
    assert_eq!(book.pull("a.test", 1, passed(Stage::Pull)).says("a.test", 2), "healthy");
}

#[test]
fn hosts_that_come_and_go_keep_what_was_seen_of_those_that_stay() {
    let told = |hosts: Vec<RegistryHost>| {
        let fact = Some(Fact::Hosts(hosts));
        vec![Step { fact, ..passed(Stage::Runtime) }]
    };
    let registry = || RegistryHost::new("https://a.test", Role::Registry);
    let subject = || Subject::Registry(name("a.test"));
    let book = Book::check(&["a.test"]).well("a.test", 0);
    let book = book.record(subject(), Lane::Node, 1, told(vec![mirror(), registry()]));
    assert!(book.0.is_ready(), "a mirror that comes later makes nobody unready");
    let book = book.record(subject(), Lane::Node, 2, told(vec![registry()]));
    assert_eq!((book.0.is_ready(), book.says("a.test", 3)), (true, "healthy".to_owned()));
}

#[test]
fn a_dead_mirror_and_a_dead_registry_fail() {
    let book = mirrored()
        .record(
            endpoint("a.test", "mirror.test", Role::Mirror),
            Lane::Wire,
            0,
            vec![failed(Stage::Tcp, Cause::ConnectRefused)],
        )
        .wire("a.test", 0, vec![failed(Stage::Dns, Cause::DnsFailure)]);
    assert_eq!(book.says("a.test", 1), "failing network/dns_failure@dns");
}

#[test]
fn it_is_ready_once_every_registry_had_a_round() {
    let book = Book::agent(&["a.test", "b.test"]).well("a.test", 0);
    assert!(!book.0.is_ready());
    assert!(book.wire("b.test", 0, vec![undecided(Stage::Dns)]).0.is_ready());
}

#[test]
fn rounds_failures_and_pulls_are_counted() {
    let book = Book::agent(&["a.test"])
        .wire("a.test", 0, vec![failed(Stage::Dns, Cause::DnsFailure)])
        .well("a.test", 60)
        .pull("a.test", 70, failed(Stage::Pull, Cause::Unknown))
        .pull("a.test", 80, passed(Stage::Pull));
    let tallies = book.0.view(at(90)).tallies.clone();
    assert_eq!(tallies.rounds[&("a.test".to_owned(), Lane::Wire)], 2);
    assert_eq!(tallies.failures[&("a.test".to_owned(), Stage::Dns, Cause::DnsFailure)], 1);
    assert_eq!(tallies.unclassified, 1);
    assert_eq!(tallies.pulls[&("a.test".to_owned(), "cri", PullOutcome::Pulled)], 1);
    let seconds = &tallies.pull_seconds[&("a.test".to_owned(), "cri")];
    assert_eq!((seconds.count, seconds.buckets), (1, [0, 0, 1, 1, 1, 1, 1]));
}

#[test]
fn a_published_ledger_does_not_change() {
    let book = Book::check(&["a.test"]).well("a.test", 0);
    let published = book.0.clone();
    let book = book.wire("a.test", 1, vec![failed(Stage::Dns, Cause::DnsFailure)]);
    assert_eq!(worded(published.view(at(2)).registries[0].status, None), "healthy");
    assert_eq!(book.says("a.test", 2), "failing network/dns_failure@dns");
}

#[test]
fn a_wire_that_breaks_too_does_not_soften_a_confirmed_failure() {
    let untrusted = || failed(Stage::Pull, Cause::TlsUntrusted);
    let book = Book::agent(&["a.test"]).well("a.test", 0).pull("a.test", 10, untrusted());
    let book = book.well("a.test", 360).pull("a.test", 370, untrusted());
    assert_eq!(book.says("a.test", 371), "failing network/tls_untrusted@pull");
    let book = book.wire("a.test", 420, vec![failed(Stage::Dns, Cause::DnsFailure)]);
    assert_eq!(book.says("a.test", 421), "failing network/tls_untrusted@pull");
    let book = book.wire("a.test", 480, vec![failed(Stage::Dns, Cause::DnsFailure)]);
    assert_eq!(book.says("a.test", 481), "failing network/dns_failure@dns");
}

#[test]
fn pulls_that_go_on_failing_after_the_wire_recovered_are_not_excused_by_it() {
    let untrusted = || failed(Stage::Pull, Cause::TlsUntrusted);
    let mut book =
        Book::agent(&["a.test"]).wire("a.test", 0, vec![failed(Stage::Tcp, Cause::ConnectTimeout)]);
    book = book.pull("a.test", 60, untrusted());
    for minute in 1..=10 {
        book = book.well("a.test", minute * 60 + 5);
    }
    assert_eq!(book.says("a.test", 606), "healthy", "the pull failed with the wire");
    let book = book.pull("a.test", 607, untrusted());
    assert_eq!(book.says("a.test", 608), "failing network/tls_untrusted@pull");
}

#[test]
fn pulls_that_failed_through_a_long_outage_are_over_with_it() {
    let down = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    let mut book = Book::agent(&["a.test"]);
    for minute in 0..=10 {
        book = book.wire("a.test", minute * 60, down());
        if minute % 5 == 0 {
            book = book.pull("a.test", minute * 60 + 1, failed(Stage::Pull, Cause::ConnectTimeout));
        }
    }
    let book = book.well("a.test", 660).well("a.test", 720);
    assert_eq!(book.says("a.test", 721), "healthy");
}

#[test]
fn a_wrong_clock_does_not_hide_what_breaks_the_pull() {
    let book = Book::check(&["a.test"])
        .node(0, vec![passed(Stage::Disk), failed(Stage::Clock, Cause::ClockSkew)])
        .well("a.test", 0)
        .pull("a.test", 1, failed(Stage::Pull, Cause::RuntimeConfig));
    assert_eq!(book.says("a.test", 2), "failing node/runtime_config@pull");
}

#[test]
fn what_only_containerd_meets_at_all_registries_is_the_nodes() {
    let refused = || failed(Stage::Pull, Cause::ProxyFailed);
    let book = Book::check(&["a.test", "b.test"]).well("a.test", 0).well("b.test", 0);
    let book = book.pull("a.test", 1, refused()).pull("b.test", 1, refused());
    assert_eq!(book.node_says(2), "failing network/proxy_failed@pull");
}

#[test]
fn what_only_the_agent_meets_at_all_registries_is_told_with_the_pulls_that_work() {
    let down = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    let book = Book::check(&["a.test", "b.test"]).wire("a.test", 0, down()).wire("b.test", 0, down());
    let book = book.pull("a.test", 1, passed(Stage::Pull)).pull("b.test", 1, passed(Stage::Pull));
    assert_eq!(book.node_says(2), "degraded network/connect_timeout@tcp");
    let summary = book.0.view(at(2)).verdict.unwrap().summary;
    assert!(summary.ends_with("yet containerd's own pull works"), "{summary}");
}

#[test]
fn a_pull_that_warns_degrades_where_the_wire_could_not_look() {
    let book = Book::check(&["a.test"]).wire("a.test", 0, vec![undecided(Stage::Dns)]);
    let book = book.pull("a.test", 1, warned(Stage::Pull, Cause::UnsupportedManifest));
    assert_eq!(book.says("a.test", 2), "degraded spec/unsupported_manifest@pull");
}

#[test]
fn certificates_that_are_all_out_of_their_time_point_to_the_clock() {
    let expired = || vec![failed(Stage::Tls, Cause::TlsExpired)];
    let book = Book::check(&["a.test", "b.test"]).wire("a.test", 0, expired()).wire("b.test", 0, expired());
    assert_eq!(book.node_says(1), "failing network/tls_expired@tls");
    assert!(book.0.view(at(1)).verdict.unwrap().advice().contains("clock"));
}
