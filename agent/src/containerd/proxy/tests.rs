//! The rules by hand; `truth_tests` holds them against Go.

use super::{Proxy, ProxyRules, ProxyScheme, ProxySource};

fn rules(variables: &[(&str, &str)]) -> ProxyRules {
    ProxyRules::from_environment(variables.iter().copied(), ProxySource::Containerd)
}

fn shown(rules: &ProxyRules, scheme: &str, host: &str, port: u16) -> String {
    rules.for_url(scheme, host, port).map_or("direct".to_owned(), Proxy::to_string)
}

fn check(no_proxy: &str, host: &str, port: u16, expect: bool) {
    let rules = rules(&[("HTTPS_PROXY", "proxy.corp:3128"), ("NO_PROXY", no_proxy)]);
    let is_proxied = rules.for_url("https", host, port).is_some();
    assert_eq!(is_proxied, expect, "{host}:{port} with NO_PROXY={no_proxy}");
}

#[test]
fn each_scheme_has_its_variable_and_upper_case_goes_first() {
    let both = rules(&[("http_proxy", "a:1"), ("https_proxy", "b:2"), ("HTTPS_PROXY", "c:3")]);
    assert_eq!(shown(&both, "http", "r.test", 80), "http://a:1");
    assert_eq!(shown(&both, "https", "r.test", 443), "http://c:3");
    let empty = rules(&[("HTTPS_PROXY", ""), ("https_proxy", "b:2"), ("https_proxy", "late:9")]);
    assert_eq!(shown(&empty, "https", "r.test", 443), "http://b:2");
}

#[test]
fn all_proxy_is_not_read() {
    let rules = rules(&[("ALL_PROXY", "http://a:1"), ("all_proxy", "http://a:1"), ("REQUEST_METHOD", "GET")]);
    assert!(rules.names_none());
}

#[test]
fn the_port_is_the_schemes_own_where_none_is_written() {
    for (value, expect, scheme) in [
        ("proxy.corp", "http://proxy.corp:80", ProxyScheme::Http),
        ("https://proxy.corp", "https://proxy.corp:443", ProxyScheme::Https),
        ("socks5://proxy.corp", "socks5://proxy.corp:1080", ProxyScheme::Socks5),
        ("socks5h://[fd00::1]:9", "socks5://[fd00::1]:9", ProxyScheme::Socks5),
    ] {
        let rules = rules(&[("HTTPS_PROXY", value)]);
        let proxy = rules.for_url("https", "r.test", 443).expect("it is proxied");
        assert_eq!((proxy.to_string().as_str(), proxy.scheme), (expect, scheme));
        assert_eq!(rules.notes(), [] as [String; 0]);
    }
}

#[test]
fn user_and_password_are_read_and_never_shown() {
    let rules = rules(&[("HTTPS_PROXY", "http://us%20er:p%40ss:w@proxy.corp:3128/x?y")]);
    let proxy = rules.for_url("https", "r.test", 443).expect("it is proxied");
    let user = proxy.user.as_ref().expect("it has a user");
    assert_eq!((user.name.expose(), user.password.expose()), ("us er", "p@ss:w"));
    for text in [format!("{rules:?}"), format!("{proxy:?}"), proxy.to_string(), proxy.place()] {
        assert!(!text.contains("us er") && !text.contains("p@ss"), "{text}");
    }
    assert_eq!(proxy.told, "HTTPS_PROXY of containerd's process");
}

#[test]
fn odd_values_do_what_go_does_and_are_noted() {
    for (value, expect, note) in [
        ("http://a b:1", "http://http:80", "`http` is taken"),
        ("proxy:x", "http://localhost:0", "every request"),
        ("http://p%zz:1", "direct", "go without a proxy"),
        ("ftp://proxy:21", "http://proxy:21", "unknown scheme"),
        ("http://proxy:99999", "http://proxy:0", "every request"),
        (":3128", "http://localhost:3128", ""),
    ] {
        let rules = rules(&[("HTTPS_PROXY", value)]);
        assert_eq!(shown(&rules, "https", "r.test", 443), expect, "{value}");
        assert!(rules.notes().concat().contains(note), "{value}: {:?}", rules.notes());
        assert_eq!(rules.notes().is_empty(), note.is_empty(), "{value}");
    }
}

#[test]
fn no_note_repeats_a_password() {
    for value in ["http://u:geheim@a b:1", "u:geheim@proxy:x", "gopher://u:geheim@p:1", "http://u:geheim@p:0"]
    {
        let rules = rules(&[("HTTPS_PROXY", value)]);
        assert!(!rules.notes().concat().contains("geheim"), "{:?}", rules.notes());
    }
}

#[test]
fn this_host_itself_is_never_proxied() {
    for (host, proxied) in [
        ("localhost", false),
        ("127.0.0.1", false),
        ("127.9.9.9", false),
        ("::1", false),
        ("[::1]", false),
        ("::ffff:127.0.0.1", false),
        ("LOCALHOST", true),
        ("localhost.", true),
        ("a.localhost", true),
        ("127.0.0.1.test", true),
    ] {
        check("", host, 443, proxied);
    }
}

#[test]
fn names_match_themselves_and_what_is_below_them() {
    check("quay.io", "quay.io", 443, false);
    check("quay.io", "cdn.quay.io", 443, false);
    check("quay.io", "notquay.io", 443, true);
    check(" QUAY.io ", "Quay.IO", 443, false);
    check(".quay.io", "quay.io", 443, true);
    check(".quay.io", "cdn.quay.io", 443, false);
    check("*.quay.io", "cdn.quay.io", 443, false);
    check("*.quay.io", "quay.io", 443, true);
    check("bücher.test", "xn--bcher-kva.test", 443, false);
}

#[test]
fn a_port_narrows_an_entry() {
    check("quay.io:5000", "quay.io", 5000, false);
    check("quay.io:5000", "quay.io", 443, true);
    check("10.0.0.5:5000", "10.0.0.5", 5000, false);
    check("10.0.0.5:5000", "10.0.0.5", 443, true);
    check("[fd00::5]:5000", "fd00::5", 5000, false);
}

#[test]
fn addresses_match_networks_and_names_do_not() {
    check("10.0.0.0/8", "10.20.30.40", 443, false);
    check("10.0.0.0/8", "11.0.0.1", 443, true);
    check("0.0.0.0/0", "8.8.8.8", 443, false);
    check("0.0.0.0/0", "fd00::1", 443, true);
    check("fd00::/8", "[fd00::1]", 443, false);
    check("10.0.0.0/33", "10.0.0.1", 443, true);
    check("*", "8.8.8.8", 443, false);
    check("a,*,b", "quay.io", 443, false);
}

#[test]
fn what_containerd_says_counts_even_where_it_names_none() {
    let proxy = Proxy::parse("http://configured:1", "`proxy`").expect("it is well");
    let (agent, containerd) =
        (rules(&[("HTTPS_PROXY", "agent:2")]), rules(&[("HTTPS_PROXY", "containerd:3")]));
    let pick = |containerd, agent: &ProxyRules| {
        shown(&ProxyRules::choose(containerd, agent.clone(), Some(&proxy)), "https", "r.test", 443)
    };
    assert_eq!(pick(Some(containerd), &agent), "http://containerd:3");
    assert_eq!(pick(Some(ProxyRules::default()), &agent), "direct");
    assert_eq!(pick(None, &agent), "http://agent:2");
    assert_eq!(pick(None, &ProxyRules::default()), "http://configured:1");
}

#[test]
fn a_person_is_told_what_is_wrong_with_a_url() {
    for (text, expect) in [
        ("proxy.corp:3128", "is no URL"),
        ("proxy.corp", "is no URL"),
        ("http://", "names no host"),
        ("http://:3128", "names no host"),
        ("ftp://u:geheim@p", "must begin with"),
        ("http://p:0", "has no port"),
        ("http://p:70000", "has no port"),
        ("http://u:ge heim@p", "is no URL"),
    ] {
        let error = Proxy::parse(text, "").expect_err(text);
        assert!(error.contains(expect) && !error.contains("heim"), "{text}: {error}");
    }
}
