//! What the kubelet's file becomes, and what is said of a broken one.

use super::*;

const GOOD: &str = "\
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr-credential-provider
    matchImages:
      - \"*.dkr.ecr.*.amazonaws.com\"
      - public.ecr.aws
    defaultCacheDuration: 12h0m0s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials, \"--v=3\"]
    env:
      - name: AWS_PROFILE
        value: hunter22
  - {name: acr, matchImages: [\"*.azurecr.io\"], defaultCacheDuration: \"0s\",
     apiVersion: credentialprovider.kubelet.k8s.io/v1beta1, tokenAttributes: {requireServiceAccount: true}}
";

fn check(text: &str, expect: &[&str]) {
    let problems: Vec<String> = read(text).unwrap_err().iter().map(Problem::to_string).collect();
    assert_eq!(problems, expect, "{text}");
}

#[test]
fn a_whole_file_is_read() {
    let config = read(GOOD).unwrap();
    let [ecr, acr] = config.providers.as_slice() else { panic!("{config:?}") };
    assert_eq!((ecr.name.as_str(), ecr.version), ("ecr-credential-provider", Version::V1));
    assert_eq!(ecr.default_cache, Duration::from_secs(12 * 3600));
    assert!(ecr.is_for("1.dkr.ecr.eu.amazonaws.com/app") && !ecr.is_for("x.azurecr.io/app"));
    assert_eq!(ecr.args.iter().map(Secret::expose).collect::<Vec<_>>(), ["get-credentials", "--v=3"]);
    assert_eq!((ecr.env[0].0.as_str(), ecr.env[0].1.expose()), ("AWS_PROFILE", "hunter22"));
    assert!(!ecr.wants_token);
    assert!(acr.wants_token);
    assert_eq!((acr.version, acr.default_cache), (Version::V1Beta1, Duration::ZERO));
    assert!(!format!("{config:?}").contains("hunter22"));
}

#[test]
fn json_is_read_too() {
    let json = r#"{"apiVersion":"kubelet.config.k8s.io/v1alpha1","kind":"CredentialProviderConfig",
        "providers":[{"name":"a","matchImages":["b.lan"],"defaultCacheDuration":"1m",
        "apiVersion":"credentialprovider.kubelet.k8s.io/v1alpha1"}]}"#;
    assert_eq!(read(json).unwrap().providers[0].version, Version::V1Alpha1);
}

#[test]
fn every_mistake_is_told_with_its_line() {
    check(
        "apiVersion: v1\nkind: Config\nproviders:\n- name: a/b\n  matchImages: []\n  env: [{value: x}]\n",
        &[
            "1: apiVersion: must be kubelet.config.k8s.io/v1",
            "2: kind: must be CredentialProviderConfig",
            "4: providers[0].name: must not hold `/` or a space",
            "4: providers[0].apiVersion: is missing",
            "4: providers[0].defaultCacheDuration: is missing",
            "5: providers[0].matchImages: holds nothing: at least one is needed",
            "6: providers[0].env[0].name: is missing",
        ],
    );
}

#[test]
fn what_is_no_such_file_at_all_is_told() {
    check("", &["1: is empty: a CredentialProviderConfig is expected"]);
    check("{}", &["1: apiVersion: is missing", "1: kind: is missing", "1: providers: is missing"]);
    assert!(read("a: [").is_err());
}

#[test]
fn a_value_of_the_wrong_kind_is_told() {
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    check(&with("12h0m0s", "-1h"), &["8: providers[0].defaultCacheDuration: must not be negative"]);
    check(&with("12h0m0s", "long"), &["8: providers[0].defaultCacheDuration: is not a duration: write 12h"]);
    check(
        &with("public.ecr.aws", "https://a.b"),
        &["7: providers[0].matchImages[1]: has a scheme other than https"],
    );
    check(
        &with("name: acr", "name: ecr-credential-provider"),
        &["14: providers[1].name: is the name of another provider, too"],
    );
    check(
        &with("args: [get-credentials, \"--v=3\"]", "args: x"),
        &["10: providers[0].args: must be a list, not a single value"],
    );
}
