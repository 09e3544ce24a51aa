//! The service account's pull secrets: they are put on a pod when it is made, and only where it names none of its own
//! (the ServiceAccount admission plugin).

use serde::Deserialize;

use super::{Check, Facts, Mark, Seen, Subject};
use crate::workloads::Named;

/// What is read of a service account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Account {
    /// Its pull secrets.
    pub image_pull_secrets: Option<Vec<Named>>,
}

pub(super) fn check(facts: &Facts) -> Check {
    let who = named(facts);
    let (mark, text) = match &facts.account {
        Seen::Hidden(why) => (Mark::Unseen, format!("not allowed to look at {who}: {why}")),
        Seen::Unread(why) => (Mark::Unseen, format!("{who} could not be read: {why}")),
        Seen::Absent => (Mark::Note, format!("{who} does not exist")),
        Seen::There(account) => told(facts, account, who),
    };
    Check::new(mark, Subject::ServiceAccount, &text)
}

fn told(facts: &Facts, account: &Account, who: &str) -> (Mark, String) {
    let late = not_on_the_pod(facts, account);
    if account.names().next().is_none() {
        return (Mark::Well, format!("{who} names no pull secret"));
    }
    if late.is_empty() {
        return (Mark::Well, format!("{who}: its pull secrets are on the pod"));
    }
    let list = late.join(", ");
    match facts.pod.spec.image_pull_secrets.is_empty() {
        true => (
            Mark::Wrong,
            format!(
                "{who} names {list}, and the pod was made without: secrets of a service account are put on a pod only when it is made"
            ),
        ),
        false => (
            Mark::Note,
            format!(
                "{who} also names {list}, which this pod has not: they are put on a pod only when it is made, and only where it names none itself"
            ),
        ),
    }
}

/// The account's secrets that the pod has not.
pub(super) fn not_on_the_pod<'a>(facts: &Facts, account: &'a Account) -> Vec<&'a str> {
    let on_pod = |name: &&str| facts.pod.spec.image_pull_secrets.iter().any(|own| own.name == **name);
    account.names().filter(|name| !on_pod(name)).take(10).collect()
}

/// What the pod calls its service account.
pub(super) fn named(facts: &Facts) -> &str {
    match facts.pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    }
}

// === impl Account ===

impl Account {
    fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.image_pull_secrets.iter().flatten();
        all.map(|named| named.name.as_str()).filter(|name| !name.is_empty())
    }
}
