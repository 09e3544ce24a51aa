//! How what the pull secrets hold sharpens a verdict about credentials.

use std::time::SystemTime;

use super::secrets::{Holds, JSON_TYPE, Match, MatchFault, Read, keys};
use super::{Check, Facts, Mark, Seen, Subject, account};
use crate::model::{Cause, Domain, ImageReference, Verdict, text};

/// What the pod's secrets have for one image.
pub(super) struct Purse<'a> {
    image: &'a ImageReference,
    secrets: &'a [Read],
    found: Vec<(&'a Read, Match)>,
    /// Secrets of the service account that came too late for this pod.
    late: Vec<&'a str>,
    namespace: &'a str,
}

impl<'a> Purse<'a> {
    pub(super) fn of(facts: &'a Facts, secrets: &'a [Read], image: &'a ImageReference) -> Purse<'a> {
        let mut found = Vec::new();
        for (n, read) in secrets.iter().enumerate() {
            if secrets[..n].iter().all(|before| before.name != read.name) {
                found.extend(read.for_image(image, facts.now).into_iter().map(|m| (read, m)));
            }
        }
        let late = match &facts.account {
            Seen::There(account) if facts.pod.spec.image_pull_secrets.is_empty() => {
                account::not_on_the_pod(facts, account)
            }
            _ => Vec::new(),
        };
        Purse { image, secrets, found, late, namespace: &facts.pod.metadata.namespace }
    }

    /// The lines of the checklist. That nothing is for the registry is wrong only where credentials are `wanted`.
    pub(super) fn checks(&self, wanted: bool) -> Vec<Check> {
        let registry = &self.image.registry;
        let line = |mark, text: &str| Check::new(mark, Subject::Credentials, text);
        if self.found.is_empty() {
            let mark = if wanted && self.unseen().is_none() { Mark::Wrong } else { Mark::Note };
            return vec![line(mark, &self.nothing())];
        }
        let told = self.found.iter().map(|(secret, found)| match &found.fault {
            Some(fault) => line(
                Mark::Wrong,
                &format!("secret {}: its entry {} {}", secret.name, found.key, fault.words()),
            ),
            None => line(Mark::Well, &format!("secret {} has {registry}{}", secret.name, self.who(found))),
        });
        let mut checks: Vec<Check> = told.collect();
        if checks.len() > 1 {
            checks.push(line(Mark::Note, "the kubelet tries them one after the other, and then no others"));
        }
        checks
    }

    /// Why there is nothing for the registry.
    fn nothing(&self) -> String {
        let registry = &self.image.registry;
        if self.secrets.is_empty() {
            return match self.late.is_empty() {
                true => format!(
                    "the pod names no pull secret: {registry} is asked with the node's own credentials, or none"
                ),
                false => format!(
                    "the pod was made before its service account named {}: {registry} is asked without",
                    self.late.join(", ")
                ),
            };
        }
        if self.unseen().is_some() {
            return format!("whether a secret has {registry} could not be looked at");
        }
        let has: Vec<String> = self
            .secrets
            .iter()
            .filter_map(|secret| match &secret.holds {
                Holds::Entries(entries) if !entries.is_empty() => {
                    Some(format!("{} has {}", secret.name, keys(entries)))
                }
                _ => None,
            })
            .collect();
        match has.is_empty() {
            true => format!("no secret of the pod can be used, so it has nothing for {registry}"),
            false => format!("no secret of the pod has {registry} (host and port count): {}", has.join("; ")),
        }
    }

    fn unseen(&self) -> Option<&Read> {
        self.secrets.iter().find(|secret| matches!(secret.holds, Holds::Unseen(_)))
    }

    /// The verdict, sharpened where it is about credentials.
    pub(super) fn sharpen(&self, verdict: Verdict) -> Verdict {
        let is_auth = verdict.cause.domain() == Domain::Auth;
        if let Some((read, why)) = self.undecodable()
            && (is_auth || verdict.cause == Cause::Unknown)
        {
            let said = format!(
                "secret {} cannot be read, and the kubelet pulls nothing for this pod: {why}",
                read.name
            );
            let hint = format!("Make the secret {} anew ({}).", read.name, self.create(&read.name));
            return told(verdict, Cause::CredentialsMissing, &said, Some(hint));
        }
        if !is_auth {
            return verdict;
        }
        match self.found.iter().find(|(_, found)| found.fault.is_none()).or(self.found.first()) {
            Some((secret, found)) => self.sent(verdict, secret, found),
            None => self.not_sent(verdict),
        }
    }

    fn undecodable(&self) -> Option<(&Read, &str)> {
        self.secrets.iter().find_map(|read| match &read.holds {
            Holds::Undecodable(why) => Some((read, why.as_str())),
            _ => None,
        })
    }

    /// A secret has the registry.
    fn sent(&self, verdict: Verdict, secret: &Read, found: &Match) -> Verdict {
        let (name, image) = (&secret.name, self.image);
        let repository = format!("{}/{}", image.registry, image.repository);
        if let Some(fault) = &found.fault {
            let cause = match fault {
                MatchFault::Expired(_) | MatchFault::WhiteSpace => Cause::CredentialsRejected,
                _ => verdict.cause,
            };
            let said = format!("secret {name}: its entry {} {}", found.key, fault.words());
            let hint = format!("Renew the entry {} of secret {name} ({}).", found.key, self.create(name));
            return told(verdict, cause, &said, Some(hint));
        }
        let user = match found.user.as_str() {
            "" => format!("the credentials of secret {name}"),
            user => format!("user {user} of secret {name}"),
        };
        let hint = match verdict.cause {
            Cause::CredentialsRejected => {
                format!("Renew the password or token of {user}: {} refused it.", image.registry)
            }
            Cause::AccessDenied => format!("Have {user} given pull rights on {repository}."),
            Cause::DeniedOrAbsent => {
                format!(
                    "Check the repository's name first; if {repository} is right, have {user} given pull rights on it."
                )
            }
            _ => format!(
                "The secret {name} has this registry: if it was put there lately, wait for the kubelet's next try, or delete the pod."
            ),
        };
        told(verdict.clone(), verdict.cause, "", Some(hint))
    }

    /// No secret has the registry.
    fn not_sent(&self, verdict: Verdict) -> Verdict {
        if self.unseen().is_some() {
            return verdict;
        }
        let cause = verdict.cause;
        let (said, mend) = self.gap();
        let hint = match cause {
            Cause::CredentialsMissing => mend,
            Cause::DeniedOrAbsent => format!("Check the repository's name first. If it is right: {mend}"),
            // Somebody was refused, and it was not the pod.
            _ => format!(
                "What was refused was not of the pod's secrets: renew the node's own credentials, or give the pod its own. {mend}"
            ),
        };
        told(verdict, cause, &said, Some(hint))
    }

    /// What keeps the pod from having credentials, and what to do about it.
    fn gap(&self) -> (String, String) {
        let registry = &self.image.registry;
        for secret in self.secrets {
            let name = &secret.name;
            match &secret.holds {
                Holds::Missing if !name.is_empty() => {
                    let said =
                        format!("its pull secret {name} does not exist in namespace {}", self.namespace);
                    return (said, format!("Make it: {}.", self.create(name)));
                }
                Holds::WrongType(kind) => {
                    let said = format!("its pull secret {name} is of type {kind}, and is passed over");
                    return (said, format!("Make it anew with type {JSON_TYPE}: {}.", self.create(name)));
                }
                Holds::NoData(key) => {
                    let said = format!("its pull secret {name} has nothing under {key}");
                    return (said, format!("Make it anew: {}.", self.create(name)));
                }
                _ => {}
            }
        }
        if let Some(first) = self.late.first() {
            let said = format!("the pod was made before its service account named the secret {first}");
            return (
                said,
                "Delete the pod, so that it is made anew with it (`kubectl rollout restart`).".to_owned(),
            );
        }
        match self.secrets.first() {
            Some(first) => {
                let mend = format!(
                    "Add {registry} to secret {}, or name another that has it: {}.",
                    first.name,
                    self.create("NAME")
                );
                (self.nothing(), mend)
            }
            None => {
                let mend =
                    format!("Give the pod an imagePullSecret for {registry}: {}.", self.create("NAME"));
                ("the pod names no pull secret".to_owned(), mend)
            }
        }
    }

    /// By which entry, for whom and until when.
    fn who(&self, found: &Match) -> String {
        let entry = (found.key != self.image.registry.as_str()).then(|| format!("entry {}", found.key));
        let user = (!found.user.is_empty()).then(|| format!("user {}", found.user));
        let until = |at: SystemTime| format!("good until {}", humantime::format_rfc3339_seconds(at));
        let words: Vec<String> = [entry, user, found.expires.map(until)].into_iter().flatten().collect();
        if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
    }

    /// The command that makes a secret for this registry.
    fn create(&self, name: &str) -> String {
        // Docker Hub stands in a docker config under its old name.
        let server = match self.image.registry.as_str() {
            "docker.io" => "https://index.docker.io/v1/",
            registry => registry,
        };
        format!(
            "`kubectl -n {} create secret docker-registry {name} --docker-server={server} --docker-username=USER --docker-password=PASSWORD`",
            self.namespace
        )
    }
}

/// The verdict with what is known more exactly before its own words.
fn told(verdict: Verdict, cause: Cause, said: &str, hint: Option<String>) -> Verdict {
    let summary = match said {
        "" => verdict.summary,
        said => text::clean(&format!("{said}; {}", verdict.summary), text::MAX_TEXT),
    };
    Verdict { cause, summary, hint: hint.or(verdict.hint), ..verdict }
}
