//! What must be told apart by evidence, clause by clause: what each situation's evidence comes to, and in which words.

#[allow(dead_code, reason = "each of the tests uses its part of the book")]
mod book;

use book::{Book, at, endpoint, failed, name, passed, step, undecided, warned};
use pullscope::ledger::{Ledger, Policy, Watched};
use pullscope::model::{
    Cause, Fact, Finding, Lane, Outcome, Reading, RegistryHost, Role, Stage, Step, Subject,
};

/// A step that fails with these words at this place.
fn fails(stage: Stage, cause: Cause, text: &str, place: &str) -> Step {
    step(stage, Outcome::Failed(Finding::new(cause, text).at(place)))
}

fn three() -> Book {
    Book::check(&["a.test", "b.test", "c.test"])
}

/// `book`, whose `a.test` says this, in words with all of `words`.
#[track_caller]
fn check(book: &Book, says: &str, words: &[&str]) {
    assert_eq!(book.says("a.test", 900), says);
    let sentence = book.sentence("a.test", 900);
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in: {sentence}");
    }
}

/// One registry whose way is open and whose test pull fails so.
fn only_the_pull(cause: Cause) -> Book {
    Book::check(&["a.test"]).well("a.test", 1).pull("a.test", 2, failed(Stage::Pull, cause))
}

// === Rule 5: the wire passes, the pull fails ===

#[test]
fn a_network_failure_of_the_pull_alone_is_told_as_containerds_own() {
    for cause in [
        Cause::ConnectTimeout,
        Cause::ConnectRefused,
        Cause::TlsUntrusted,
        Cause::ProxyFailed,
        Cause::DnsNotFound,
    ] {
        let says = format!("failing {cause}@pull");
        check(&only_the_pull(cause), &says, &["this agent's own way there is open", "hosts.toml"]);
    }
}

#[test]
fn a_pull_alone_that_comes_too_slowly_is_not_laid_to_containerds_settings() {
    let book = only_the_pull(Cause::TransferTimeout);
    check(&book, "failing network/transfer_timeout@pull", &["the little that this agent fetches comes"]);
    assert!(!book.sentence("a.test", 900).contains("hosts.toml"));
}

#[test]
fn a_refusal_of_the_pull_alone_says_that_the_agent_was_let_in() {
    for cause in
        [Cause::CredentialsMissing, Cause::CredentialsRejected, Cause::AccessDenied, Cause::DeniedOrAbsent]
    {
        check(
            &only_the_pull(cause),
            &format!("failing {cause}@pull"),
            &["this agent was given the manifest"],
        );
    }
}

#[test]
fn a_manifest_that_only_containerd_does_not_find_says_that_the_agent_did() {
    for cause in [Cause::ManifestNotFound, Cause::RepositoryNotFound] {
        check(
            &only_the_pull(cause),
            &format!("failing {cause}@pull"),
            &["this agent was given the manifest"],
        );
    }
}

#[test]
fn what_only_a_pull_can_meet_is_told_as_it_is() {
    let quiet = [
        Cause::RateLimited,
        Cause::QuotaExceeded,
        Cause::PlatformMismatch,
        Cause::UnsupportedManifest,
        Cause::RejectedByPolicy,
        Cause::Unavailable,
        Cause::ContentInvalid,
        Cause::DiskFull,
        Cause::DiskError,
        Cause::UnpackFailed,
        Cause::RuntimeConfig,
        Cause::RuntimeUnavailable,
        Cause::PullCancelled,
        Cause::Unknown,
    ];
    for cause in quiet {
        let book = only_the_pull(cause);
        check(&book, &format!("failing {cause}@pull"), &[]);
        assert!(!book.sentence("a.test", 3).contains("yet this agent"), "{cause}");
    }
}

#[test]
fn every_cause_of_a_pull_alone_holds_until_the_next_pull() {
    for &cause in Cause::ALL {
        let mut book = Book::agent(&["a.test"]).well("a.test", 0);
        for round in 0..2 {
            book = book
                .pull("a.test", 10 + round * 300, failed(Stage::Pull, cause))
                .well("a.test", 299 + round * 300);
        }
        for minute in 11..40 {
            book = book
                .well("a.test", minute * 60)
                .node(minute * 60, vec![passed(Stage::Runtime), passed(Stage::Disk)]);
        }
        assert_eq!(book.says("a.test", 2350), format!("failing {cause}@pull"), "{cause}");
        let book = book.pull("a.test", 2360, passed(Stage::Pull)).pull("a.test", 2380, passed(Stage::Pull));
        assert_eq!(book.says("a.test", 2390), "healthy", "{cause}");
    }
}

// === The pull's failure is old, and explained ===

#[test]
fn a_pull_that_failed_early_in_a_long_outage_is_over_with_it() {
    let down = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    let pulled = || failed(Stage::Pull, Cause::ConnectTimeout);
    let mut book = Book::agent(&["a.test"]);
    for minute in 0..60 {
        book = book.wire("a.test", minute * 60, down());
        if [5, 10].contains(&minute) {
            book = book.pull("a.test", minute * 60 + 30, pulled());
        }
    }
    let book = book.well("a.test", 3600).well("a.test", 3660);
    assert_eq!(book.says("a.test", 3661), "healthy");
    // And stays so, long after the outage is forgotten.
    let book = (62..90).fold(book, |book, minute| book.well("a.test", minute * 60));
    assert_eq!(book.says("a.test", 89 * 60), "healthy");
}

#[test]
fn a_failed_pull_is_over_with_an_outage_of_its_kind_only() {
    for (wire, pull, says) in [
        (Cause::Unavailable, Cause::ConnectionReset, "healthy"),
        (Cause::ConnectTimeout, Cause::Unavailable, "healthy"),
        (Cause::TransferTimeout, Cause::PullCancelled, "healthy"),
        (Cause::ManifestNotFound, Cause::DeniedOrAbsent, "healthy"),
        (Cause::RateLimited, Cause::RateLimited, "healthy"),
        (Cause::ConnectTimeout, Cause::Unknown, "healthy"),
        (Cause::RateLimited, Cause::TlsUntrusted, "degraded network/tls_untrusted@pull"),
        (Cause::ConnectTimeout, Cause::RuntimeConfig, "degraded node/runtime_config@pull"),
        (Cause::ConnectTimeout, Cause::ManifestNotFound, "degraded spec/manifest_not_found@pull"),
    ] {
        let down = || vec![failed(Stage::Tcp, wire)];
        let book = Book::agent(&["a.test"]).wire("a.test", 60, down()).wire("a.test", 120, down());
        let book = book.pull("a.test", 130, failed(Stage::Pull, pull));
        let book = book.well("a.test", 180).well("a.test", 240);
        assert_eq!(book.says("a.test", 241), says, "{wire} then {pull}");
    }
}

#[test]
fn a_pull_that_failed_on_a_full_disk_is_over_when_there_is_room_again() {
    let full = || vec![failed(Stage::Disk, Cause::DiskFull)];
    let room = || vec![passed(Stage::Disk), passed(Stage::Runtime)];
    let book = Book::agent(&["a.test"]).well("a.test", 0).node(0, full()).node(60, full());
    let book = book.pull("a.test", 70, failed(Stage::Pull, Cause::DiskFull)).well("a.test", 120);
    assert_eq!(
        (book.says("a.test", 121), book.node_says(121)),
        ("healthy".into(), "failing node/disk_full@disk".into())
    );
    let book = book.node(120, room()).node(180, room()).well("a.test", 180);
    assert_eq!((book.says("a.test", 181), book.node_says(181)), ("healthy".into(), "healthy".into()));
    // A pull that fails after that has a reason of its own, and is the second in a row.
    let book = book.pull("a.test", 200, failed(Stage::Pull, Cause::DiskFull));
    assert_eq!(book.says("a.test", 201), "failing node/disk_full@pull");
}

#[test]
fn a_containerd_that_was_killed_in_one_pull_and_is_back_is_over() {
    let gone = || failed(Stage::Pull, Cause::RuntimeUnavailable);
    let node = || vec![passed(Stage::Disk), passed(Stage::Runtime)];
    let book = Book::agent(&["a.test"]).well("a.test", 0).node(0, node()).pull("a.test", 10, gone());
    assert_eq!(book.says("a.test", 11), "degraded node/runtime_unavailable@pull");
    let book = book.node(60, node()).well("a.test", 60);
    assert_eq!(book.says("a.test", 61), "healthy");
    // One that dies of every pull is not.
    let book = book.pull("a.test", 310, gone()).node(360, node()).well("a.test", 360);
    assert_eq!(book.says("a.test", 361), "failing node/runtime_unavailable@pull");
}

// === Rule 6: the wire fails, the pull passes ===

#[test]
fn a_pull_excuses_the_trouble_that_it_was_made_in_and_no_other() {
    let down = |cause| vec![failed(Stage::Tls, cause)];
    let book = Book::agent(&["a.test"]).wire("a.test", 60, down(Cause::TlsUntrusted)).wire(
        "a.test",
        120,
        down(Cause::TlsUntrusted),
    );
    let book = book.pull("a.test", 130, passed(Stage::Pull));
    check_at(&book, 131, "degraded network/tls_untrusted@tls", "yet containerd's own pull works");
    let dead = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    let book = book.wire("a.test", 180, dead()).wire("a.test", 240, dead());
    check_at(&book, 241, "failing network/connect_timeout@tcp", "tcp went wrong");
}

#[test]
fn a_pull_that_began_before_the_trouble_does_not_excuse_it() {
    let down = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    // It took two seconds.
    let book = Book::agent(&["a.test"])
        .wire("a.test", 60, down())
        .pull("a.test", 61, passed(Stage::Pull))
        .wire("a.test", 120, down());
    assert_eq!(book.says("a.test", 121), "failing network/connect_timeout@tcp");
}

#[track_caller]
fn check_at(book: &Book, seconds: u64, says: &str, words: &str) {
    assert_eq!(book.says("a.test", seconds), says);
    let sentence = book.sentence("a.test", seconds);
    assert!(sentence.contains(words), "{sentence}");
}

// === One registry, or this node ===

#[test]
fn one_registry_down_is_the_registrys_and_all_are_the_nodes() {
    for (cause, stage) in [
        (Cause::ConnectTimeout, Stage::Tcp),
        (Cause::Unreachable, Stage::Tcp),
        (Cause::DnsFailure, Stage::Dns),
        (Cause::DnsNotFound, Stage::Dns),
        (Cause::TlsUntrusted, Stage::Tls),
        (Cause::ProxyFailed, Stage::Tcp),
    ] {
        let down = || vec![failed(stage, cause)];
        let one = three().wire("a.test", 1, down()).well("b.test", 1).well("c.test", 1);
        assert_eq!(one.node_says(2), "failing", "{cause}: two are well");
        let but_one = three().wire("a.test", 1, down()).wire("b.test", 1, down()).well("c.test", 1);
        assert_eq!(but_one.node_says(2), "failing", "{cause}: one is well");
        let all = three().wire("a.test", 1, down()).wire("b.test", 1, down()).wire("c.test", 1, down());
        let label = stage.label();
        assert_eq!(all.node_says(2), format!("failing {cause}@{label}"));
        assert!(all.node_sentence(2).starts_with(&format!("all 3 registries fail at {label}")));
        assert!(
            all.sentence("b.test", 2).contains("the same at all registries of this node"),
            "it points to the node"
        );
        let only = Book::check(&["a.test"]).wire("a.test", 1, down());
        assert_eq!(only.node_says(2), "failing", "{cause}: one registry shares nothing");
    }
}

#[test]
fn a_node_that_is_cut_off_has_silence_from_some_and_no_way_to_others() {
    let book = three()
        .wire("a.test", 1, vec![failed(Stage::Tcp, Cause::ConnectTimeout)])
        .wire("b.test", 1, vec![failed(Stage::Tcp, Cause::Unreachable)])
        .wire("c.test", 1, vec![failed(Stage::Tcp, Cause::ConnectTimeout)]);
    assert_eq!(book.node_says(2), "failing network/connect_timeout@tcp");
    assert!(book.node_sentence(2).contains("cut off"), "{}", book.node_sentence(2));
    // A refusal comes from somewhere.
    let book = book.wire("b.test", 3, vec![failed(Stage::Tcp, Cause::ConnectRefused)]);
    assert_eq!(book.node_says(4), "failing");
}

#[test]
fn a_registry_that_could_not_be_looked_at_does_not_speak_against_the_node() {
    let down = || vec![failed(Stage::Tcp, Cause::ConnectTimeout)];
    let book = three().wire("a.test", 1, down()).wire("b.test", 1, down()).wire(
        "c.test",
        1,
        vec![undecided(Stage::Dns)],
    );
    assert_eq!(book.node_says(2), "failing network/connect_timeout@tcp");
    assert!(book.node_sentence(2).starts_with("all 2 registries that could be judged"));
}

// === A mistyped name, or a broken resolver ===

#[test]
fn a_name_that_does_not_exist_is_mistyped_only_beside_names_that_do() {
    let gone = || vec![failed(Stage::Dns, Cause::DnsNotFound)];
    let one = three().wire("a.test", 1, gone()).well("b.test", 1).well("c.test", 1);
    check(&one, "failing spec/registry_unknown@dns", &["other registries resolve"]);
    let alone = Book::check(&["a.test"]).wire("a.test", 1, gone());
    check(&alone, "failing network/dns_not_found@dns", &[]);
    let all = three().wire("a.test", 1, gone()).wire("b.test", 1, gone()).wire("c.test", 1, gone());
    check(&all, "failing network/dns_not_found@dns", &[]);
    // Others resolve, and fail later.
    let later = three().wire("a.test", 1, gone()).wire(
        "b.test",
        1,
        vec![passed(Stage::Dns), failed(Stage::Tcp, Cause::ConnectRefused)],
    );
    check(&later, "failing spec/registry_unknown@dns", &[]);
    // A resolver that fails is no typo.
    let broken = three().wire("a.test", 1, vec![failed(Stage::Dns, Cause::DnsFailure)]).well("b.test", 1);
    check(&broken, "failing network/dns_failure@dns", &[]);
}

#[test]
fn a_registry_that_lives_behind_its_mirror_is_not_mistyped_when_that_is_down() {
    let gone = || vec![failed(Stage::Dns, Cause::DnsNotFound)];
    let mirror = |steps| mirrored(&[], steps).wire("a.test", 1, gone()).well("b.test", 1);
    check(
        &mirror(vec![passed(Stage::Dns), failed(Stage::Tcp, Cause::ConnectRefused)]),
        "failing network/dns_not_found@dns",
        &[],
    );
    // A mirror of everything answers for a name that nobody has.
    let absent =
        vec![passed(Stage::Dns), passed(Stage::Tcp), failed(Stage::Manifest, Cause::ManifestNotFound)];
    check(&mirror(absent), "failing spec/registry_unknown@dns", &[]);
    check(&mirror(vec![passed(Stage::Dns), passed(Stage::Manifest)]), "healthy", &[]);
}

#[test]
fn a_name_that_everyone_knows_is_not_mistyped() {
    let gone = || vec![failed(Stage::Dns, Cause::DnsNotFound)];
    for known in ["registry.k8s.io", "quay.io"] {
        let book = Book::check(&[known, "b.test"]).wire(known, 0, gone()).well("b.test", 0);
        assert_eq!(book.says(known, 1), "failing network/dns_not_found@dns");
    }
}

#[test]
fn a_name_that_was_resolved_before_is_not_mistyped() {
    let gone = || vec![failed(Stage::Dns, Cause::DnsNotFound)];
    let mut book = three().well("a.test", 1).well("b.test", 1);
    for round in 2..30 {
        book = book.wire("a.test", round, gone()).well("b.test", round);
    }
    assert_eq!(book.says("a.test", 30), "failing network/dns_not_found@dns");
}

#[test]
fn a_name_that_a_passed_over_file_of_containerds_has_is_not_mistyped() {
    let book =
        three().wire("a.test", 1, vec![failed(Stage::Dns, Cause::DnsNotFound)]).well("b.test", 1).record(
            Subject::Registry(name("a.test")),
            Lane::Node,
            1,
            vec![warned(Stage::Runtime, Cause::RuntimeConfig)],
        );
    check(&book, "failing network/dns_not_found@dns", &["; besides, "]);
}

// === Mirrors ===

/// a.test behind a mirror that has walked so, beside b.test.
fn mirrored(more: &[RegistryHost], steps: Vec<Step>) -> Book {
    let mut hosts = vec![RegistryHost::new("https://mirror.test", Role::Mirror)];
    hosts.extend_from_slice(more);
    hosts.push(RegistryHost::new("https://a.test", Role::Registry));
    let others = Watched {
        registry: name("b.test"),
        hosts: vec![RegistryHost::new("https://b.test", Role::Registry)],
    };
    let book = Book(Ledger::new(Policy::ONCE, vec![Watched { registry: name("a.test"), hosts }, others]));
    book.record(endpoint("a.test", "mirror.test", Role::Mirror), Lane::Wire, 1, steps)
}

#[test]
fn a_mirror_is_told_from_the_registry_by_its_name() {
    let book = mirrored(&[], vec![fails(Stage::Tcp, Cause::ConnectRefused, "refused", "192.0.2.1:443")])
        .well("a.test", 1);
    check(
        &book,
        "degraded network/connect_refused@tcp",
        &["mirror.test", "[192.0.2.1:443]", "containerd goes on to the next host"],
    );
    let book = mirrored(&[], vec![passed(Stage::Manifest)]).wire(
        "a.test",
        1,
        vec![failed(Stage::Tcp, Cause::ConnectTimeout)],
    );
    check(&book, "healthy", &[]);
}

#[test]
fn a_mirror_that_is_waited_for_is_why_a_pull_runs_out_of_time() {
    let book = mirrored(&[], vec![failed(Stage::Tcp, Cause::ConnectTimeout)]).well("a.test", 1);
    let book = book.pull("a.test", 2, failed(Stage::Pull, Cause::TransferTimeout));
    check(
        &book,
        "degraded network/connect_timeout@tcp",
        &["mirror.test", "longer", "the test pull fails: pull went wrong"],
    );
    // Another trouble of the pull's is another trouble.
    let book = book.pull("a.test", 3, failed(Stage::Pull, Cause::DiskFull));
    check(&book, "failing node/disk_full@pull", &[]);
}

#[test]
fn a_short_test_pull_that_waits_for_a_dead_name_server_is_only_late() {
    let slow = vec![warned(Stage::Dns, Cause::DnsFailure), passed(Stage::Manifest)];
    let pulled = |seconds| Step {
        took: std::time::Duration::from_secs(seconds),
        ..failed(Stage::Pull, Cause::TransferTimeout)
    };
    let book =
        |seconds| Book::check(&["a.test"]).wire("a.test", 1, slow.clone()).pull("a.test", 2, pulled(seconds));
    check(&book(8), "degraded network/dns_failure@dns", &["the test pull fails"]);
    // Lookups alone do not take so long.
    check(&book(120), "failing network/dns_failure@dns", &["the test pull fails"]);
    // One that finds no name at all is not late.
    let lost = Book::check(&["a.test"]).wire("a.test", 1, slow.clone()).pull(
        "a.test",
        2,
        failed(Stage::Pull, Cause::DnsFailure),
    );
    check(&lost, "failing network/dns_failure@dns", &[]);
}

#[test]
fn a_mirror_that_only_has_content_is_not_waited_for_where_the_tag_is_not_served() {
    let only_pulls =
        RegistryHost { resolves: false, ..RegistryHost::new("https://mirror.test", Role::Mirror) };
    let hosts = vec![only_pulls, RegistryHost::new("https://a.test", Role::Registry)];
    let book = Book(Ledger::new(Policy::ONCE, vec![Watched { registry: name("a.test"), hosts }]));
    let book = book.wire("a.test", 1, vec![failed(Stage::Tcp, Cause::ConnectRefused)]);
    check(&book, "failing network/connect_refused@tcp", &[]);
}

#[test]
fn an_endpoint_that_is_asked_otherwise_keeps_what_was_seen_of_it() {
    let told = |dial_timeout| {
        let host = RegistryHost { dial_timeout, ..RegistryHost::new("https://a.test", Role::Registry) };
        vec![Step { fact: Some(Fact::Hosts(vec![host])), ..passed(Stage::Runtime) }]
    };
    let book = Book::check(&["a.test"]).well("a.test", 1);
    let book = book.record(
        Subject::Registry(name("a.test")),
        Lane::Node,
        2,
        told(Some(std::time::Duration::from_secs(5))),
    );
    check(&book, "healthy", &[]);
}

#[test]
fn evidence_of_what_is_not_watched_is_passed_over() {
    let book = Book::check(&["a.test"]).well("a.test", 1).wire(
        "gone.test",
        2,
        vec![failed(Stage::Dns, Cause::DnsFailure)],
    );
    let book = book.pull("gone.test", 3, failed(Stage::Pull, Cause::DiskFull));
    assert_eq!(book.node_says(4), "healthy");
}

// === Two causes hold: the root is the verdict ===

#[test]
fn the_wires_own_doubt_is_the_root_of_a_pull_that_fails_of_it() {
    let half = vec![passed(Stage::Dns), warned(Stage::Tcp, Cause::ConnectTimeout), passed(Stage::Manifest)];
    let book = Book::check(&["a.test"]).wire("a.test", 1, half).pull(
        "a.test",
        2,
        failed(Stage::Pull, Cause::ConnectTimeout),
    );
    check(
        &book,
        "failing network/connect_timeout@tcp",
        &["tcp is odd", "the test pull fails: pull went wrong"],
    );
}

#[test]
fn a_quota_that_is_used_up_behind_a_200_is_the_verdict() {
    let used_up = vec![passed(Stage::Manifest), failed(Stage::Quota, Cause::RateLimited)];
    check(&Book::check(&["a.test"]).wire("a.test", 1, used_up), "failing quota/rate_limited@quota", &[]);
    let low = vec![passed(Stage::Manifest), warned(Stage::Quota, Cause::RateLimited)];
    let book = Book::check(&["a.test"]).wire("a.test", 1, low).pull("a.test", 2, undecided(Stage::Pull));
    check(&book, "degraded quota/rate_limited@quota", &[]);
}

#[test]
fn a_wire_that_cannot_name_the_cause_leaves_it_to_containerds_words() {
    let book = Book::check(&["a.test"]).wire("a.test", 1, vec![failed(Stage::Manifest, Cause::Unknown)]);
    let book = book.pull("a.test", 2, failed(Stage::Pull, Cause::RateLimited));
    check(&book, "failing quota/rate_limited@pull", &[]);
}

#[test]
fn a_proxys_refusal_the_cdn_and_a_stall_keep_their_stage_and_place() {
    for (stage, cause, place) in [
        (Stage::Tcp, Cause::ProxyFailed, "proxy.test:3128"),
        (Stage::Blob, Cause::ConnectTimeout, "cdn.test"),
        (Stage::Blob, Cause::TransferTimeout, "cdn.test"),
        (Stage::Auth, Cause::DnsFailure, "token.test"),
        (Stage::Auth, Cause::CredentialsRejected, "token.test"),
        (Stage::Auth, Cause::CredentialsMissing, "a.test"),
        (Stage::Manifest, Cause::AccessDenied, "a.test"),
        (Stage::Manifest, Cause::ManifestNotFound, "a.test"),
    ] {
        let steps = vec![passed(Stage::Dns), fails(stage, cause, "it said so", place)];
        let book = Book::check(&["a.test"]).wire("a.test", 1, steps);
        // Whatever containerd makes of it.
        for pull in [Cause::Unknown, Cause::PullCancelled, Cause::DeniedOrAbsent, cause] {
            let book = Book(book.0.clone()).pull("a.test", 2, failed(Stage::Pull, pull));
            check(
                &book,
                &format!("failing {cause}@{}", stage.label()),
                &["it said so", &format!("[{place}]")],
            );
        }
    }
}

// === The node ===

#[test]
fn exhausted_inodes_are_told_from_a_full_disk_by_the_file_system() {
    let book =
        Book::check(&["a.test"]).well("a.test", 1).pull("a.test", 2, failed(Stage::Pull, Cause::DiskFull));
    check(&book, "failing node/disk_full@pull", &[]);
    let low = Outcome::Warned(Finding::new(Cause::InodesExhausted, "few inodes").at("/var/lib/c"));
    let book = book.node(1, vec![step(Stage::Disk, low)]);
    check(&book, "failing node/inodes_exhausted@pull", &["inodes"]);
    let book = book.node(3, vec![failed(Stage::Disk, Cause::InodesExhausted)]);
    check(&book, "healthy", &[]);
    assert_eq!(book.node_says(900), "failing node/inodes_exhausted@disk");
}

#[test]
fn a_wrong_clock_is_told_from_an_expired_certificate_by_the_other_registries() {
    let clock = || vec![passed(Stage::Disk), failed(Stage::Clock, Cause::ClockSkew)];
    let expired =
        |book: Book| book.wire("a.test", 1, vec![failed(Stage::Tls, Cause::TlsExpired)]).well("b.test", 1);
    check(&expired(three()), "failing network/tls_expired@tls", &[]);
    check(&expired(three().node(2, clock())), "failing node/clock_skew@tls", &["clock is wrong"]);
    let pull =
        three().node(2, clock()).well("a.test", 1).pull("a.test", 3, failed(Stage::Pull, Cause::TlsExpired));
    check(&pull, "failing node/clock_skew@pull", &[]);
}

#[test]
fn a_dead_runtime_is_told_once_by_the_node() {
    let book = three()
        .node(1, vec![passed(Stage::Disk), failed(Stage::Runtime, Cause::RuntimeUnavailable)])
        .well("a.test", 1)
        .well("b.test", 1)
        .well("c.test", 1);
    let book = ["a.test", "b.test", "c.test"]
        .iter()
        .fold(book, |book, r| book.pull(r, 2, failed(Stage::Pull, Cause::RuntimeUnavailable)));
    assert_eq!(book.node_says(3), "failing node/runtime_unavailable@runtime");
    check(&book, "failing node/runtime_unavailable@runtime", &["pulls from no registry"]);
}

#[test]
fn a_disk_without_room_lets_every_registry_fail_and_a_nearly_full_one_none() {
    for (free, says) in [(0.0, "failing node/disk_full@disk"), (400e6, "healthy")] {
        let mut full = failed(Stage::Disk, Cause::DiskFull);
        full.readings = vec![(Reading::ContentFree, free), (Reading::SnapshotsFree, 400e6)];
        let book = Book::check(&["a.test"]).well("a.test", 1).node(2, vec![full]);
        assert_eq!(book.says("a.test", 3), says, "{free} bytes");
        // A pull that works proves that there is room.
        let book = book.pull("a.test", 4, passed(Stage::Pull));
        assert_eq!(book.says("a.test", 5), "healthy");
    }
}

#[test]
fn a_node_of_which_nothing_is_known_is_unknown() {
    assert_eq!(Book::check(&[]).node_says(1), "unknown");
    assert_eq!(Book::check(&[]).node(1, vec![passed(Stage::Disk)]).node_says(2), "healthy");
    assert!(Book::check(&[]).0.view(at(1)).verdict.is_none());
}
