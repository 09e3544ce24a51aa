//! Several credentials, plugins that gave none, and those that this agent cannot see.

use super::{PASSWORD, answer, ask, bearer, candidates, challenges, failure, from_config};
use crate::classify::credentials as cause;
use crate::containerd::credentials::{Candidates, Credentials, Secret, Source, Sourced};
use crate::model::Finding;
use crate::stages::Stop;
use crate::stages::auth::{Challenge, Memory};
use crate::stages::http::script::{Script, elsewhere, say};

fn basic_challenge() -> Vec<Challenge> {
    challenges(&["Basic realm=\"x\""])
}

fn user(name: &str) -> Credentials {
    Credentials::Password { username: name.to_owned(), password: Secret::new(PASSWORD) }
}

#[tokio::test]
async fn the_next_credentials_are_tried_where_the_first_are_refused() {
    let script = Script::play(vec![say("401 Unauthorized", "", ""), say("200 OK", "", "{}")]).await;
    let all = candidates(vec![from_config(&user("a"), "reg.test/org"), from_config(&user("b"), "reg.test")]);
    let mut memory = Memory::default();
    let pass = ask(&script, &basic_challenge(), &all, &mut memory, &elsewhere()).await.unwrap();
    assert_eq!(pass.product.by, Some(1));
    assert_eq!(script.lines().len(), 2);
    let warned = |warning: Option<Finding>| warning.map(|warning| (warning.cause.label(), warning.text));
    // (Plain HTTP, as spoken to the script, is the graver warning.)
    assert!(warned(pass.warning).is_some_and(|(cause, _)| cause == "runtime_config"));
    // The first rests; the second is asked at once.
    let script = Script::play(vec![say("200 OK", "", "{}")]).await;
    let pass = ask(&script, &basic_challenge(), &all, &mut memory, &elsewhere()).await.unwrap();
    assert_eq!((pass.product.by, script.lines().len()), (Some(1), 1));
}

#[tokio::test]
async fn who_has_been_refused_is_told_by_name() {
    let refuse = || say("401 Unauthorized", "", "no\n");
    let script = Script::play(vec![refuse(), refuse()]).await;
    let plugin = Sourced { credentials: user("b"), source: Source::Plugin("ecr".to_owned()) };
    let all = candidates(vec![from_config(&user("a"), "reg.test/org"), plugin]);
    let checked = ask(&script, &basic_challenge(), &all, &mut Memory::default(), &elsewhere()).await;
    let finding = failure(checked, "credentials_rejected");
    let expect = "the credentials from the docker config's entry reg.test/org are refused, and the credentials from \
                  the plugin ecr are refused: ";
    assert!(finding.text.starts_with(expect) && finding.text.ends_with(": no"), "{}", finding.text);
}

#[tokio::test]
async fn a_token_that_is_over_is_told_from_one_that_is_refused() {
    // {"alg":"none"} and {"exp":1795000000}
    let token = "eyJhbGciOiJub25lIn0.eyJleHAiOjE3OTUwMDAwMDB9.c2ln";
    let script = Script::play(vec![say("401 Unauthorized", "", "")]).await;
    let over = Credentials::Password { username: "u".to_owned(), password: Secret::new(token) };
    let finding =
        failure(answer(&script, &basic_challenge(), Some(&over), &elsewhere()).await, "credentials_rejected");
    let expect = "the credentials from the docker config's entry reg.test expired at 2026-11-18T11:06:40Z: ";
    assert!(finding.text.starts_with(expect), "{}", finding.text);
    assert!(!finding.text.contains("eyJ"));
    assert!(finding.hint.unwrap().starts_with("Renew the token in the docker config's entry reg.test"));
}

#[tokio::test]
async fn trouble_that_is_not_about_credentials_is_not_tried_again_with_others() {
    let script = Script::play(vec![say("503 Service Unavailable", "", "")]).await;
    let all = candidates(vec![from_config(&user("a"), "a"), from_config(&user("b"), "b")]);
    let checked = ask(&script, &basic_challenge(), &all, &mut Memory::default(), &elsewhere()).await;
    failure(checked, "unavailable");
    assert_eq!(script.lines().len(), 1);
}

fn with_trouble() -> Candidates {
    let text = "the credential provider plugin ecr failed with exit status: 1: boom";
    let trouble = Finding::new(cause::none_from_plugin(), text).at("ecr").hint("Run it by hand.");
    Candidates { troubles: vec![trouble], ..Candidates::default() }
}

#[tokio::test]
async fn a_plugin_that_gave_nothing_is_a_warning_while_the_registry_answers_all_the_same() {
    let script = Script::play(vec![say("200 OK", "", r#"{"token":"the-token"}"#)]).await;
    let mut memory = Memory::default();
    let pass = ask(&script, &bearer(&script), &with_trouble(), &mut memory, &elsewhere()).await.unwrap();
    let warning = pass.warning.unwrap();
    assert_eq!((warning.cause.label(), warning.place.as_str()), ("credentials_missing", "ecr"));
    let script = Script::play(vec![]).await;
    let pass = ask(&script, &[], &with_trouble(), &mut memory, &elsewhere()).await.unwrap();
    assert_eq!(pass.warning.unwrap().place, "ecr");
}

#[tokio::test]
async fn a_plugin_that_gave_nothing_is_the_place_where_the_registry_refuses() {
    let script = Script::play(vec![say("401 Unauthorized", "", "")]).await;
    let checked = ask(&script, &bearer(&script), &with_trouble(), &mut Memory::default(), &elsewhere()).await;
    let finding = failure(checked, "credentials_missing");
    assert_eq!((finding.place.as_str(), finding.hint.as_deref()), ("ecr", Some("Run it by hand.")));
    assert!(
        finding.text.ends_with(", and the credential provider plugin ecr failed with exit status: 1: boom")
    );
    // What is not about credentials stays the registry's.
    let script = Script::play(vec![say("503 Service Unavailable", "", "")]).await;
    let checked = ask(&script, &bearer(&script), &with_trouble(), &mut Memory::default(), &elsewhere()).await;
    assert_eq!(failure(checked, "unavailable").place, script.address.to_string());
}

#[tokio::test]
async fn credentials_that_this_agent_cannot_see_leave_it_undecided() {
    let unseen =
        Candidates { unseen: vec!["the plugin acr wants a token".to_owned()], ..Candidates::default() };
    let script = Script::play(vec![say("401 Unauthorized", "", "")]).await;
    let checked = ask(&script, &bearer(&script), &unseen, &mut Memory::default(), &elsewhere()).await;
    let Err(Stop::Undecided(why, _)) = checked else { panic!("{checked:?}") };
    assert!(why.starts_with("the plugin acr wants a token; without its credentials "), "{why}");
}
