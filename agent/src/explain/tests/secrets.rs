//! What pull secrets and the service account come to, mistake by mistake.

use super::*;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[test]
fn a_secret_that_does_not_exist_is_to_be_made() {
    let facts = with_secret(Seen::Absent);
    check(&facts, "!! pull_secret", "regcred does not exist in namespace shop");
    blames(
        &facts,
        Cause::CredentialsMissing,
        "pull secret regcred does not exist",
        "kubectl -n shop create secret docker-registry regcred --docker-server=r.test:5000",
    );
}

#[test]
fn a_secret_of_another_type_is_passed_over() {
    let facts = with_secret(raw("Opaque", ".dockerconfigjson", b"{}"));
    check(&facts, "!! pull_secret", "of type Opaque, and is passed over");
    blames(&facts, Cause::CredentialsMissing, "of type Opaque", "kubernetes.io/dockerconfigjson");
}

#[test]
fn a_secret_with_the_other_types_key_has_nothing() {
    let facts = with_secret(raw("kubernetes.io/dockercfg", ".dockerconfigjson", b"{}"));
    check(&facts, "!! pull_secret", "nothing under `.dockercfg`");
    blames(&facts, Cause::CredentialsMissing, "nothing under .dockercfg", "Make it anew");
}

#[test]
fn a_secret_that_cannot_be_decoded_fails_every_pull() {
    let bad = json!({"q.test": {"auth": "%%%"}});
    for (secret, why) in [
        (
            raw("kubernetes.io/dockerconfigjson", ".dockerconfigjson", b"{\"auths\": hunter22}"),
            "is not JSON (line 1",
        ),
        (secret(&bad), "its entry q.test has an `auth` that is not base64"),
        (secret(&json!({"q.test": {"auth": STANDARD.encode(SECRET_TEXT)}})), "not base64 of user:password"),
        (secret(&json!({"q.test": SECRET_TEXT})), "its entry q.test is no object"),
        (secret(&json!({"q.test": {"password": 1}})), "`password` that is no text"),
        (secret(&json!([])), "no object of registries"),
    ] {
        let facts = with_secret(secret);
        check(&facts, "!! pull_secret", why);
        blames(
            &facts,
            Cause::CredentialsMissing,
            "cannot be read, and the kubelet pulls nothing",
            "Make the secret regcred anew",
        );
    }
}

#[test]
fn a_secret_for_other_registries_says_which() {
    let entries = json!({"r.test": login("u", "p"), "q.test": login("u", "p")});
    let facts = with_secret(secret(&entries));
    check(&facts, "ok pull_secret", "regcred has q.test, r.test");
    check(&facts, "!! credentials", "no secret of the pod has r.test:5000 (host and port count)");
    blames(
        &facts,
        Cause::CredentialsMissing,
        "no secret of the pod has r.test:5000",
        "Add r.test:5000 to secret regcred",
    );
}

#[test]
fn a_secret_without_entries_is_told() {
    check(&with_secret(secret(&json!({}))), "!! pull_secret", "no entry for any registry");
    let none = raw("kubernetes.io/dockerconfigjson", ".dockerconfigjson", b"{}");
    check(&with_secret(none), "!! pull_secret", "no entry for any registry");
}

#[test]
fn an_entry_that_will_not_do_is_told() {
    for (entry, why) in [
        (json!({}), "neither user nor password"),
        (json!({"identitytoken": SECRET_TEXT}), "only an identity token"),
        (json!({"auth": STANDARD.encode("u:"), "identitytoken": SECRET_TEXT}), "only an identity token"),
        (json!({"username": "u"}), "a user and no password"),
        (json!({"username": "u", "password": "hunter22\n"}), "white space"),
    ] {
        let facts = with_secret(secret(&json!({"r.test:5000": entry})));
        check(&facts, "!! credentials", why);
        assert!(
            verdict(&facts).advice().contains("Renew the entry r.test:5000 of secret regcred"),
            "{entry}"
        );
    }
    let facts = with_secret(secret(&json!({"ftp://r.test": login("u", "p")})));
    check(&facts, "!! pull_secret", "an entry that is passed over");
}

#[test]
fn a_token_that_has_ended_is_told_with_its_time() {
    let token = |exp: u64| {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#.into()), part(format!(r#"{{"exp":{exp}}}"#)))
    };
    let facts = with_secret(secret(&json!({"r.test:5000": login("bob", &token(1_794_999_999))})));
    check(&facts, "!! credentials", "a token that ended at 2026-11-");
    blames(&facts, Cause::CredentialsRejected, "has a token that ended at", "Renew the entry");
    let facts = with_secret(secret(&json!({"r.test:5000": login("bob", &token(1_795_000_001))})));
    check(&facts, "ok credentials", "user bob, good until 2026-11-");
    let ecr = STANDARD.encode(r#"{"payload":"x","expiration":1794999999}"#);
    let facts = with_secret(secret(&json!({"r.test:5000": login("AWS", &ecr)})));
    check(&facts, "!! credentials", "a token that ended at");
}

#[test]
fn a_user_that_was_refused_is_named() {
    let mut facts = with_secret(secret(&json!({"https://r.test:5000/v1/": login("bob", SECRET_TEXT)})));
    check(
        &facts,
        "ok credentials",
        "secret regcred has r.test:5000 (entry https://r.test:5000/v1/, user bob)",
    );
    facts.pod.status.container_statuses[0].state.waiting.as_mut().unwrap().message = REJECTED.into();
    blames(&facts, Cause::CredentialsRejected, "", "password or token of user bob of secret regcred");
}

#[test]
fn an_older_dockercfg_is_read_too() {
    let value = json!({"r.test:5000": login("bob", SECRET_TEXT)}).to_string();
    check(
        &with_secret(raw("kubernetes.io/dockercfg", ".dockercfg", value.as_bytes())),
        "ok credentials",
        "user bob",
    );
}

#[test]
fn docker_hubs_old_key_counts_for_its_images_and_for_no_others() {
    let entries = json!({"https://index.docker.io/v1/": login("bob", SECRET_TEXT)});
    let mut facts = with_secret(secret(&entries));
    check(&facts, "!! credentials", "no secret of the pod has r.test:5000");
    facts.pod.spec.containers[0].image = "nginx".into();
    check(&facts, "ok credentials", "has docker.io (entry https://index.docker.io/v1/, user bob)");
}

#[test]
fn a_path_in_a_key_counts() {
    let entries = json!({"r.test:5000/other": login("bob", "p")});
    check(&with_secret(secret(&entries)), "!! credentials", "no secret of the pod has r.test:5000");
    let entries = json!({"r.test:5000/team": login("bob", "p"), "r.test:5000": login("eve", "p")});
    let facts = with_secret(secret(&entries));
    let told = lines(&explain(&facts));
    let tried: Vec<_> = told.iter().filter(|line| line.contains("credentials: secret")).collect();
    assert!(tried[0].contains("user bob") && tried[1].contains("user eve"), "{tried:?}");
    check(&facts, "-- credentials", "one after the other");
}

#[test]
fn what_may_not_be_looked_at_blames_nobody() {
    let facts = with_secret(Seen::Hidden("secrets \"regcred\" is forbidden".into()));
    check(&facts, "?? pull_secret", "not allowed to look: secrets \"regcred\" is forbidden");
    check(&facts, "-- credentials", "could not be looked at");
    let verdict = verdict(&facts);
    assert_eq!((verdict.cause, verdict.hint), (Cause::CredentialsMissing, None));
}

#[test]
fn where_secrets_are_hidden_the_kubelets_event_tells_that_one_is_missing() {
    let event = json!({"items": [{"involvedObject": {"uid": "u1"}, "reason": "FailedToRetrieveImagePullSecret",
        "message": "Unable to retrieve some image pull secrets (a, regcred); attempting to pull the image may not succeed."}]});
    let mut facts = with_secret(Seen::Hidden("forbidden".into()));
    facts.events = Seen::There(serde_json::from_value(event).unwrap());
    check(&facts, "!! pull_secret", "regcred does not exist");
}

#[test]
fn a_secret_that_is_named_twice_or_has_no_name_is_told() {
    let mut facts = with_secret(secret(&json!({"r.test:5000": login("bob", "p")})));
    facts.secrets.push(("regcred".into(), Seen::Absent));
    check(&facts, "-- pull_secret", "more than once");
    facts.secrets.push((String::new(), Seen::Absent));
    check(&facts, "-- pull_secret", "without a name counts for nothing");
}

// === the service account ===

fn account(names: &[&str]) -> Seen<Account> {
    let names: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    Seen::There(serde_json::from_value(json!({"imagePullSecrets": names})).unwrap())
}

#[test]
fn a_secret_that_came_to_the_account_after_the_pod_is_not_on_it() {
    let facts = Facts { account: account(&["late"]), ..facts(pod(&[], "ErrImagePull", REFUSED)) };
    check(&facts, "!! service_account", "default names late, and the pod was made without");
    blames(
        &facts,
        Cause::CredentialsMissing,
        "made before its service account named the secret late",
        "Delete the pod",
    );
}

#[test]
fn the_accounts_secrets_are_for_pods_that_name_none() {
    let told = |account| Facts { account, ..with_secret(secret(&json!({"q.test": login("u", "p")}))) };
    check(&told(account(&["regcred"])), "ok service_account", "are on the pod");
    check(&told(account(&["other"])), "-- service_account", "only where it names none itself");
    check(&told(account(&[])), "ok service_account", "default names no pull secret");
    check(&told(Seen::Absent), "-- service_account", "does not exist");
    check(&told(Seen::Hidden("no".into())), "?? service_account", "not allowed");
    check(&told(Seen::Unread("silence".into())), "?? service_account", "silence");
}

#[test]
fn a_pod_without_any_secret_is_told_how_to_get_one() {
    let facts = facts(pod(&[], "ErrImagePull", REFUSED));
    check(&facts, "!! credentials", "names no pull secret");
    blames(
        &facts,
        Cause::CredentialsMissing,
        "the pod names no pull secret",
        "imagePullSecret for r.test:5000",
    );
}
