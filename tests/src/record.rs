//! What containerd says of a scenario's fault, as a row of the classifier's corpus, without what differs from run to run.

use std::time::{Duration, SystemTime};

use pullscope_proto::v1::AuthConfig;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Fallible;
use crate::scenario::{Containerd, Scenario};
use crate::world::cri::{Cri, Pulled};
use crate::world::{Bench, World};

/// How long a pull may take. containerd gives up connecting after 30 s, and never gives up waiting for an answer: then
/// it says nothing that could be recorded.
const PATIENCE: Duration = Duration::from_secs(45);

/// One row of the corpus.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Who said it: `containerd 1.6.20~ds1`.
    pub from: String,
    /// The scenario in which it was said.
    pub scenario: String,
    /// The message of the gRPC status.
    pub message: String,
    /// The cause that the message must be read as.
    pub cause: String,
    /// Why this is not the cause that the scenario has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether a scenario's fault is one that a pull may meet.
pub fn is_recorded(scenario: &Scenario) -> bool {
    let stands = matches!(scenario.world.containerd, Containerd::Idle | Containerd::Own);
    stands && scenario.world.present.is_empty() && !causes(scenario).is_empty()
}

/// Pulls the image of each registry of which the scenario expects a cause; a row for each pull that was refused.
pub fn record(name: &str, scenario: &mut Scenario, bench: &Bench) -> Fallible<Vec<Row>> {
    scenario.world.containerd = Containerd::Own;
    let world = World::build(scenario, bench)?;
    let cri = Cri::connect(&world.socket())?;
    let from = cri.version()?;
    let mut rows = Vec::new();
    for (registry, cause) in causes(scenario) {
        let Pulled::Refused(message) = pull(scenario, &cri, &registry)? else { continue };
        let message = steady(&message, &world, OffsetDateTime::from(SystemTime::now()));
        let told = scenario.text.as_ref();
        rows.push(Row {
            cause: told.map_or(cause, |text| text.cause.clone()),
            note: told.map(|text| text.note.clone()),
            scenario: name.to_owned(),
            from: from.clone(),
            message,
        });
    }
    Ok(rows)
}

/// The registries with a cause that the scenario expects: the registry's own, or that of the broken disk.
fn causes(scenario: &Scenario) -> Vec<(String, String)> {
    let disk = scenario.world.disk.and(scenario.expect.node.as_ref()).and_then(|node| node.cause.clone());
    let registries = scenario.registries();
    let expected = |name: &str| {
        let mut of_name = scenario.expect.registry.iter();
        of_name.find(|expect| expect.name == name || expect.name.is_empty() && registries.len() == 1)
    };
    let cause = |name: &str| expected(name).and_then(|expect| expect.cause.clone()).or_else(|| disk.clone());
    registries.iter().filter_map(|registry| Some((registry.name.clone(), cause(&registry.name)?))).collect()
}

/// One pull, with the credentials that the scenario has for this registry.
fn pull(scenario: &Scenario, cri: &Cri, registry: &str) -> Fallible<Pulled> {
    let registries = scenario.registries();
    let image = &registries.iter().find(|r| r.name == registry).ok_or("no such registry")?.image;
    let pair = scenario.config.credentials.get(registry).and_then(|pair| pair.split_once(':'));
    let auth = pair.map(|(username, password)| AuthConfig {
        username: username.to_owned(),
        password: password.to_owned(),
        ..AuthConfig::default()
    });
    Ok(cri.pull(&format!("{registry}/{image}"), auth, PATIENCE))
}

/// A message as it would be in any run: the world's addresses, ports, directory and times are others each time.
fn steady(message: &str, world: &World, now: OffsetDateTime) -> String {
    let dir = world.dir().to_string_lossy();
    let mut text = message
        .replace(&format!("{dir}/containerd/root"), "/var/lib/containerd")
        .replace(&format!("{dir}/certs.d"), "/etc/containerd/certs.d")
        .replace(&*dir, "/var/lib/containerd");
    for (n, ip) in world.addresses.values().flatten().enumerate().filter(|(_, ip)| ip.is_ipv4()) {
        // What ends in a digit more is another address.
        for end in [":", "-", " ", "]", ",", "\""] {
            text = text.replace(&format!("{ip}{end}"), &format!("192.0.2.{}{end}", n + 1));
        }
    }
    let text = replace_ports(&text);
    replace_times(&text, now)
}

/// Source ports: those from which this side of a connection speaks, before `->`.
fn replace_ports(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split("->").peekable();
    while let Some(part) = parts.next() {
        match part.rsplit_once(':') {
            Some((head, port)) if parts.peek().is_some() && port.bytes().all(|b| b.is_ascii_digit()) => {
                out += &format!("{}:40112->", source(head));
            }
            _ if parts.peek().is_some() => out += &format!("{part}->"),
            _ => out += part,
        }
    }
    out
}

/// Loopback's own address, from which this side speaks, as a node's.
fn source(head: &str) -> String {
    head.strip_suffix("127.0.0.1").map_or_else(|| head.to_owned(), |rest| format!("{rest}192.0.2.100"))
}

/// Times: now, and what lies before and after it.
fn replace_times(text: &str, now: OffsetDateTime) -> String {
    let steady = |word: &str| {
        let time = OffsetDateTime::parse(word, &Rfc3339).ok()?;
        let minutes = (time - now).whole_minutes();
        Some(match minutes {
            -5..=5 => "2026-01-15T12:00:00Z",
            ..-5 => "2026-01-14T12:00:00Z",
            _ => "2026-01-16T12:00:00Z",
        })
    };
    text.split(' ').map(|word| steady(word).unwrap_or(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_this_side_is_always_the_same() {
        let text = "read udp 127.0.0.1:51234->192.0.2.1:53: i/o timeout";
        assert_eq!(replace_ports(text), "read udp 192.0.2.100:40112->192.0.2.1:53: i/o timeout");
        assert_eq!(replace_ports("dial tcp 192.0.2.1:443: refused"), "dial tcp 192.0.2.1:443: refused");
    }

    #[test]
    fn times_keep_their_order() {
        let now = OffsetDateTime::parse("2030-05-05T10:00:00Z", &Rfc3339).unwrap();
        assert_eq!(
            replace_times("current time 2030-05-05T09:59:58Z is after 2030-05-04T10:00:00Z", now),
            "current time 2026-01-15T12:00:00Z is after 2026-01-14T12:00:00Z"
        );
        assert_eq!(replace_times("is before 2030-05-06T10:00:00Z", now), "is before 2026-01-16T12:00:00Z");
    }
}
