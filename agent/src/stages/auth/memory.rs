//! What is remembered of refused credentials, so that they are not tried at every round.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::classify::http;
use crate::containerd::credentials::Credentials;
use crate::model::Finding;
use crate::stages::{Seen, Stop};

/// For how long a refused credential is left alone. Directories lock an account after a handful of refusals within
/// 15 to 30 minutes, and one pull of containerd's already makes 6 to 12.
pub const REST: Duration = Duration::from_secs(30 * 60);

/// The most refused credentials of one registry that are remembered: one a key of the docker config, and one a token
/// that a plugin has given within [`REST`].
const MAX_REFUSED: usize = 64;

/// The memory of one registry. It holds no secret, only a keyed hash that means nothing outside this process.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    keys: RandomState,
    refused: Vec<Refused>,
}

#[derive(Clone, Debug)]
struct Refused {
    key: u64,
    at: Duration,
    finding: Finding,
}

impl Memory {
    /// The refusal, while these credentials rest; `now` is time since the process began.
    pub fn recall(&self, credentials: &Credentials, now: Duration) -> Option<Stop> {
        let key = self.keys.hash_one(credentials);
        let refused = self.refused.iter().find(|refused| refused.key == key)?;
        let age = now.saturating_sub(refused.at);
        let rest = REST.checked_sub(age).filter(|rest| !rest.is_zero())?;
        let minutes = |time: Duration| time.as_secs().div_ceil(60);
        let detail =
            format!("refused {} min ago, not tried again for {} min", age.as_secs() / 60, minutes(rest));
        Some(Stop::Failed(refused.finding.clone(), Seen::detail(detail)))
    }

    /// Keeps `stop`, if it says that these credentials were refused. The walk tells it the manifest stage's end too:
    /// a registry whose `/v2/` is open refuses a password only there.
    pub fn remember(&mut self, credentials: &Credentials, now: Duration, stop: &Stop) {
        if let Stop::Failed(finding, _) = stop
            && http::refuses_credentials(finding.cause)
        {
            self.forget(credentials);
            self.refused.retain(|refused| now.saturating_sub(refused.at) < REST);
            if self.refused.len() >= MAX_REFUSED {
                self.refused.remove(0);
            }
            let key = self.keys.hash_one(credentials);
            self.refused.push(Refused { key, at: now, finding: finding.clone() });
        }
    }

    /// Forgets these credentials: they were taken.
    pub fn forget(&mut self, credentials: &Credentials) {
        let key = self.keys.hash_one(credentials);
        self.refused.retain(|refused| refused.key != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containerd::credentials::Secret;

    const MINUTE: Duration = Duration::from_secs(60);

    fn password(text: &str) -> Credentials {
        Credentials::Password { username: "u".to_owned(), password: Secret::new(text) }
    }

    fn refusal() -> Stop {
        let cause = http::cause(&http::Refusal {
            status: 401,
            asked: http::Asked::Token,
            credentials: true,
            code: None,
            message: "",
        });
        Finding::new(cause, "no").into()
    }

    #[test]
    fn a_refused_credential_rests_until_it_changes_or_half_an_hour_passes() {
        let mut memory = Memory::default();
        memory.remember(&password("old"), MINUTE, &refusal());
        let Some(Stop::Failed(finding, seen)) = memory.recall(&password("old"), MINUTE * 13) else {
            panic!("forgotten");
        };
        assert_eq!(finding.text, "no");
        assert_eq!(seen.detail, "refused 12 min ago, not tried again for 18 min");
        assert_eq!(memory.recall(&password("new"), MINUTE * 13), None);
        assert_eq!(memory.recall(&password("old"), MINUTE + REST), None);
    }

    #[test]
    fn each_credential_has_a_rest_of_its_own() {
        let mut memory = Memory::default();
        memory.remember(&password("one"), MINUTE, &refusal());
        memory.remember(&password("two"), MINUTE * 2, &refusal());
        assert!(memory.recall(&password("one"), MINUTE * 3).is_some());
        memory.forget(&password("one"));
        assert_eq!(memory.recall(&password("one"), MINUTE * 3), None);
        assert!(memory.recall(&password("two"), MINUTE * 3).is_some());
    }

    #[test]
    fn not_endlessly_many_are_kept() {
        let mut memory = Memory::default();
        for n in 0..1000 {
            memory.remember(&password(&n.to_string()), MINUTE, &refusal());
        }
        assert_eq!(memory.refused.len(), MAX_REFUSED);
    }

    #[test]
    fn other_failures_are_not_kept() {
        let mut memory = Memory::default();
        memory.remember(&password("x"), MINUTE, &Finding::new(http::cut_short(), "cut").into());
        memory.remember(&password("x"), MINUTE, &Stop::Undecided("?".to_owned(), Seen::default()));
        assert_eq!(memory.recall(&password("x"), MINUTE), None);
    }

    #[test]
    fn no_secret_is_held() {
        let mut memory = Memory::default();
        memory.remember(&password("hunter22"), MINUTE, &refusal());
        assert!(!format!("{memory:?}").contains("hunter22"));
    }
}
