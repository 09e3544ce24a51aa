//! Which plugin is asked for what, which answers count, and for how long.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn provider(globs: &[&str]) -> Provider {
    let mut images = Images::default();
    for glob in globs {
        images.add(glob).unwrap();
    }
    Provider {
        name: "ecr".to_owned(),
        version: Version::V1,
        images,
        default_cache: MINUTE,
        args: vec![Secret::new("--key=hunter22")],
        env: vec![("KEY".to_owned(), Secret::new("hunter22"))],
        wants_token: false,
    }
}

fn answer(rest: &str) -> Result<Answer, String> {
    let text = format!(
        r#"{{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse"{rest}}}"#
    );
    provider(&[]).read(text.as_bytes())
}

fn refuse(printed: &str, expect: &str) {
    assert_eq!(provider(&[]).read(printed.as_bytes()).unwrap_err(), expect);
}

fn password(password: &str) -> Credentials {
    Credentials::Password { username: "u".to_owned(), password: Secret::new(password) }
}

#[test]
fn a_plugin_is_asked_for_the_images_that_it_names() {
    let ecr = provider(&["*.dkr.ecr.*.amazonaws.com", "reg.lan:5000/org"]);
    for (image, expect) in [
        ("1.dkr.ecr.eu-west-1.amazonaws.com/app", true),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", true),
        ("dkr.ecr.eu-west-1.amazonaws.com/app", false),
        ("reg.lan:5000/org/app", true),
        ("reg.lan:5000/other", false),
        ("reg.lan/org/app", false),
        ("docker.io/library/nginx", false),
    ] {
        assert_eq!(ecr.is_for(image), expect, "{image}");
    }
}

#[test]
fn a_scheme_in_match_images_is_refused() {
    assert!(Images::default().add("https://quay.io").is_err());
    assert!(Images::default().add("").is_err());
}

#[test]
fn the_request_names_the_image_and_the_version() {
    let request: Value = serde_json::from_str(&provider(&[]).request("reg.lan/app")).unwrap();
    assert_eq!(request["apiVersion"], "credentialprovider.kubelet.k8s.io/v1");
    assert_eq!(request["kind"], "CredentialProviderRequest");
    assert_eq!(request["image"], "reg.lan/app");
}

#[test]
fn an_answer_is_read() {
    let auth = r#""auth":{"*.lan":{"username":"u","password":"hunter22"},"b.lan":{}}"#;
    let read = answer(&format!(r#","cacheKeyType":"Registry","cacheDuration":"6h0m0s",{auth}"#)).unwrap();
    assert_eq!((read.key, read.duration), (CacheKey::Registry, MINUTE * 360));
    assert_eq!(read.auth[0], ("*.lan".to_owned(), password("hunter22")));
    assert_eq!(read.auth.len(), 2);
    assert!(!format!("{read:?}").contains("hunter22"));
    assert!(!format!("{:?}", provider(&[])).contains("hunter22"));
}

#[test]
fn an_answer_without_credentials_or_duration_is_one() {
    let read = answer(r#","cacheKeyType":"Image","auth":null,"cacheDuration":null"#).unwrap();
    assert_eq!((read.duration, read.auth), (MINUTE, Vec::new()));
    assert_eq!(answer(r#","cacheKeyType":"Global","cacheDuration":"0s""#).unwrap().duration, Duration::ZERO);
}

#[test]
fn what_the_kubelet_would_not_take_is_told_without_its_secrets() {
    refuse("", "printed something that is not a JSON object");
    refuse("hunter22", "printed something that is not a JSON object");
    refuse("{\"a\":\"hunter22\"", "printed something that is not a JSON object");
    refuse("{}", "answered in the apiVersion `` and was asked in credentialprovider.kubelet.k8s.io/v1");
    refuse(
        r#"{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"ExecCredential"}"#,
        "answered with the kind `ExecCredential` instead of CredentialProviderResponse",
    );
    for (rest, expect) in [
        ("", "answered with the cacheKeyType ``, which is not Image, Registry or Global"),
        (
            r#","cacheKeyType":"Image","cacheDuration":7"#,
            "answered with a cacheDuration that is not a duration",
        ),
        (r#","cacheKeyType":"Image","auth":["hunter22"]"#, "answered with an auth that is not an object"),
        (
            r#","cacheKeyType":"Image","auth":{"a.b":{"password":["hunter22"]}}"#,
            "answered with an auth whose user names and passwords are not texts",
        ),
    ] {
        assert_eq!(answer(rest).unwrap_err(), expect);
    }
}

#[test]
fn answers_are_thrown_together_and_tried_from_the_longest_key() {
    let auth = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), password(key))).collect();
    let answers = vec![
        ("first", auth(&["reg.lan", "other.lan", "not\u{7}a key"])),
        ("second", auth(&["reg.lan/org", "*.lan", "reg.lan"])),
    ];
    let tried = in_order(answers, &RegistryName::new("reg.lan"), Some("org/app"));
    let tried: Vec<String> = tried
        .iter()
        .map(|s| match &s.credentials {
            Credentials::Password { password, .. } => format!("{} of {}", password.expose(), s.source),
            Credentials::IdentityToken(_) => "?".to_owned(),
        })
        .collect();
    assert_eq!(
        tried,
        [
            "reg.lan/org of the plugin second",
            "reg.lan of the plugin first",
            "reg.lan of the plugin second",
            "*.lan of the plugin second"
        ]
    );
}

#[test]
fn who_has_no_user_name_is_nobody() {
    let nobody = Credentials::Password { username: String::new(), password: Secret::new("hunter22") };
    let answers = vec![("p", vec![("reg.lan".to_owned(), nobody)])];
    assert_eq!(in_order(answers, &RegistryName::new("reg.lan"), None), []);
}

#[test]
fn an_answer_counts_for_its_image_its_registry_or_all() {
    let given = |name: &str| Ok(vec![("k".to_owned(), password(name))]);
    let mut cache = Cache::default();
    cache.keep(CacheKey::Global, "a.lan/x", MINUTE, MINUTE * 9, &given("global"));
    cache.keep(CacheKey::Registry, "a.lan/x", MINUTE, MINUTE, &given("registry"));
    cache.keep(CacheKey::Image, "a.lan/x", MINUTE, MINUTE * 5, &given("image"));
    let check = |image: &str, minute: u32, expect: &str| {
        assert_eq!(cache.recall(image, MINUTE * minute), Some(&given(expect)), "{image} at {minute}");
    };
    check("a.lan/x", 1, "image");
    check("a.lan/y", 1, "registry");
    check("a.lan/y", 2, "global");
    check("b.lan/x", 5, "global");
    check("a.lan/x", 6, "global");
    assert_eq!(cache.recall("a.lan/x", MINUTE * 10), None);
}

#[test]
fn an_answer_for_no_time_is_not_kept() {
    let mut cache = Cache::default();
    cache.keep(CacheKey::Image, "a.lan/x", MINUTE, Duration::ZERO, &Ok(Vec::new()));
    assert_eq!(cache.recall("a.lan/x", MINUTE), None);
}

#[test]
fn not_endlessly_many_answers_are_kept() {
    let mut cache = Cache::default();
    for n in 0..1000 {
        cache.keep(CacheKey::Image, &format!("a.lan/{n}"), MINUTE, MINUTE, &Ok(Vec::new()));
    }
    assert_eq!(cache.kept.len(), MAX_KEPT);
    assert_eq!(cache.recall("a.lan/999", MINUTE), Some(&Ok(Vec::new())));
}

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, seconds) in [
        ("12h", Some(43_200.0)),
        ("1h30m", Some(5400.0)),
        ("1.5s", Some(1.5)),
        ("250ms", Some(0.25)),
        ("0", Some(0.0)),
        ("0s", Some(0.0)),
        ("-5m", Some(0.0)),
        ("+1m", Some(60.0)),
        ("", None),
        ("12", None),
        ("h", None),
        (".s", None),
        ("1d", None),
        ("1.2.3s", None),
        ("99999999999999999999999999h", None),
    ] {
        assert_eq!(go_duration(text).map(|d| d.as_secs_f64()), seconds, "{text}");
    }
}
