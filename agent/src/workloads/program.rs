//! A program that a person's kubeconfig has its credentials from (`exec`, client.authentication.k8s.io): run as kubectl runs
//! it, within bounds. The agent itself runs none.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::config::kubeconfig::{Data, Exec};
use crate::containerd::credentials::Secret;
use crate::model::text;

/// The most that it may take: it may open a browser for its user to log in.
const LIMIT: Duration = Duration::from_secs(60);
/// How often its end is looked for.
const PAUSE: Duration = Duration::from_millis(20);
/// The most bytes of its answer.
const MAX_ANSWER: usize = 1 << 20;

/// What the program gave.
pub(super) struct Granted {
    pub(super) token: Option<Secret>,
    /// A client certificate and its key.
    pub(super) certificate: Option<(Data, Data)>,
}

/// An `ExecCredential`.
#[derive(Deserialize)]
struct Answer {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
}

/// Runs it, and waits for its end. Its complaints go to this process' own stderr, for the person who reads that.
///
/// # Errors
/// A sentence, which holds nothing of its answer.
pub(super) fn run(exec: &Exec) -> Result<Granted, String> {
    run_within(exec, LIMIT)
}

fn run_within(exec: &Exec, limit: Duration) -> Result<Granted, String> {
    let name = text::clean(&exec.command, 200);
    let told = |what: &str| format!("the kubeconfig's program {name} {what}");
    let asked =
        json!({"apiVersion": exec.api_version, "kind": "ExecCredential", "spec": {"interactive": false}});
    let mut child = Command::new(&exec.command)
        .args(&exec.args)
        .envs(exec.env.iter().map(|(name, value)| (name, value.expose())))
        .env("KUBERNETES_EXEC_INFO", asked.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| told(&format!("cannot be run: {error}")))?;
    let until = Instant::now() + limit;
    let answer = printed(&mut child, until);
    let has_ended = ends_well(&mut child, until);
    let (Some(answer), Some(is_well)) = (answer, has_ended) else {
        return Err(told(&format!("has not ended within {} s", limit.as_secs())));
    };
    // Before its end: one that nobody reads on dies of that.
    if answer.len() > MAX_ANSWER {
        return Err(told("printed more than any credentials are"));
    }
    if !is_well {
        return Err(told("ended with an error"));
    }
    let read: Answer =
        serde_json::from_slice(&answer).map_err(|_| told("printed what is no ExecCredential"))?;
    let status = read.status.ok_or_else(|| told("gave no credentials"))?;
    let data = |text: String| Data::Inline(text.into_bytes());
    let certificate = status.client_certificate_data.map(data).zip(status.client_key_data.map(data));
    let token = status.token.filter(|token| !token.is_empty()).map(Secret::new);
    match (&token, &certificate) {
        (None, None) => Err(told("gave neither a token nor a certificate")),
        _ => Ok(Granted { token, certificate }),
    }
}

/// What it prints, to one byte more than it may; nothing where that has no end in time.
fn printed(child: &mut Child, until: Instant) -> Option<Vec<u8>> {
    let stdout = child.stdout.take()?;
    let (send, receive) = mpsc::channel();
    // Left behind where a child of the program holds the pipe open: it ends with this process.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(MAX_ANSWER as u64 + 1).read_to_end(&mut bytes);
        let _ = send.send(read.map(|_| bytes).unwrap_or_default());
    });
    receive.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

/// Whether it ended well; nothing where it had to be killed.
fn ends_well(child: &mut Child, until: Instant) -> Option<bool> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) if Instant::now() < until => thread::sleep(PAUSE),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<Granted, String> {
        let exec = Exec {
            api_version: "client.authentication.k8s.io/v1".into(),
            command: "sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("MINE".into(), Secret::new("own"))],
        };
        run_within(&exec, limit)
    }

    fn refused(script: &str) -> String {
        shell(script, Duration::from_secs(20)).err().expect("it gives nothing")
    }

    #[test]
    fn a_token_or_a_certificate_is_taken() {
        let script = r#"echo "{\"status\":{\"token\":\"$MINE-$(echo "$KUBERNETES_EXEC_INFO" | grep -c client.authentication)\"}}""#;
        let granted = shell(script, Duration::from_secs(20)).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(granted.token.unwrap().expose(), "own-1");
        let script = r#"echo '{"status":{"clientCertificateData":"c","clientKeyData":"k"}}'"#;
        let granted = shell(script, Duration::from_secs(20)).unwrap_or_else(|why| panic!("{why}"));
        assert!(granted.token.is_none());
        assert_eq!(granted.certificate, Some((Data::Inline(b"c".into()), Data::Inline(b"k".into()))));
    }

    #[test]
    fn what_is_none_is_told_without_what_was_printed() {
        for (script, why) in [
            ("exit 3", "ended with an error"),
            ("echo hunter22", "no ExecCredential"),
            ("echo '{\"status\":{\"token\":7, \"x\":\"hunter22\"}}'", "no ExecCredential"),
            ("echo '{}'", "gave no credentials"),
            ("echo '{\"status\":{\"token\":\"\"}}'", "neither a token nor a certificate"),
            ("head -c 2000000 /dev/zero", "more than any credentials"),
        ] {
            let told = refused(script);
            assert!(told.contains(why) && !told.contains("hunter22"), "{script}: {told}");
        }
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let told = shell("exec sleep 600", Duration::from_millis(200)).err().expect("it gives nothing");
        assert!(told.contains("has not ended"), "{told}");
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let exec = Exec {
            api_version: String::new(),
            command: "/nonexistent/login".into(),
            args: Vec::new(),
            env: Vec::new(),
        };
        let told = run(&exec).err().expect("it is not there");
        assert!(told.starts_with("the kubeconfig's program /nonexistent/login cannot be run"), "{told}");
    }
}
