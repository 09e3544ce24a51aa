//! What containerd itself does with the same image and the same credentials: the truth that a verdict is held against.

use std::time::Duration;

use pullscope_proto::v1::AuthConfig;

use crate::scenario::Scenario;
use crate::world::cri::{Cri, Pulled};

/// How long a pull may take. Twice the time after which containerd gives up connecting: a pull that goes on with the next
/// address or mirror then has succeeded.
const PATIENCE: Duration = Duration::from_secs(60);

/// The image that is asked for of a registry: the one given by hand, the configured one, or one that is there.
pub fn image(scenario: &Scenario, registry: &str) -> String {
    let head = format!("{registry}/");
    for word in scenario.config.words.iter().filter(|word| !word.starts_with("--")) {
        if word.starts_with(&head) {
            return word.clone();
        }
        // An image without a registry, whose name would have a dot in it, is Docker Hub's.
        let first = word.split('/').next().unwrap_or_default();
        if registry == "docker.io" && word.contains('/') && !first.contains('.') {
            return format!("{head}{word}");
        }
    }
    let configured = scenario.registries().into_iter().find(|r| r.name == registry);
    let present = scenario.world.present.iter().find(|image| image.starts_with(&head)).cloned();
    configured
        .map(|r| format!("{head}{}", r.image))
        .or(present)
        .unwrap_or_else(|| format!("{head}probe/tiny:1"))
}

/// The credentials that a kubelet would try for an image, in its order: those of the docker config, the narrowest first, then
/// those of its plugins.
pub fn credentials(scenario: &Scenario, image: &str) -> Vec<AuthConfig> {
    let of_image = |key: &str| image.strip_prefix(key).is_some_and(|rest| rest.starts_with(['/', ':', '@']));
    let mut entries: Vec<_> = scenario.config.credentials.iter().filter(|(key, _)| of_image(key)).collect();
    entries.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
    let pairs = entries.into_iter().filter_map(|(_, pair)| pair.split_once(':'));
    let mut found: Vec<_> = pairs.map(|(user, password)| login(user, password)).collect();
    // What the scenarios' plugins give is this variable of theirs.
    let of_plugins = scenario.config.plugin.iter().filter_map(|plugin| plugin.env.get("PASSWORD"));
    found.extend(of_plugins.map(|password| login(crate::USER, password)));
    found
}

fn login(user: &str, password: &str) -> AuthConfig {
    AuthConfig { username: user.to_owned(), password: password.to_owned(), ..AuthConfig::default() }
}

/// Pulls as a kubelet does: with one of the credentials after the other, or without any where there are none.
pub fn pull(scenario: &Scenario, cri: &Cri, registry: &str) -> Pulled {
    let image = image(scenario, registry);
    let mut tries: Vec<_> = credentials(scenario, &image).into_iter().map(Some).collect();
    if tries.is_empty() {
        tries.push(None);
    }
    let mut ended = Pulled::NoEnd;
    for auth in tries {
        ended = cri.pull(&image, auth, PATIENCE);
        if ended == Pulled::Done {
            break;
        }
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(config: &str) -> Scenario {
        Scenario::parse(&format!(
            "about = 'x'\n[[world.server]]\nhost = 'a.test'\n{config}\n[expect]\nexit = 0"
        ))
        .unwrap()
    }

    #[test]
    fn the_image_given_by_hand_comes_first() {
        assert_eq!(image(&scenario(""), "a.test"), "a.test/probe/tiny:1");
        let by_hand = scenario("[config]\nwords = ['--pull', 'a.test/probe/tiny:2', 'probe/tiny:3']");
        assert_eq!(image(&by_hand, "a.test"), "a.test/probe/tiny:2");
        assert_eq!(image(&by_hand, "docker.io"), "docker.io/probe/tiny:3");
    }

    #[test]
    fn the_narrowest_credentials_come_first() {
        let both = scenario(
            "[config.credentials]\n'a.test' = 'u:wide'\n'a.test/probe' = 'u:narrow'\n'a.test/pro' = 'u:other'",
        );
        let found = credentials(&both, "a.test/probe/tiny:1");
        assert_eq!(found.iter().map(|a| a.password.as_str()).collect::<Vec<_>>(), ["narrow", "wide"]);
        assert!(credentials(&both, "a.test.example/probe/tiny:1").is_empty());
    }
}
