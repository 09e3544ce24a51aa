//! A headless Chromium and as much of the DevTools protocol as a look at a page takes: JSON between NULs, by a pipe
//! (`--remote-debugging-pipe`: the browser reads file descriptor 3 and writes 4).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Fallible;

/// How long an answer or an event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// What keeps Chromium to itself: no sandbox (root), no graphics, nothing of the internet.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A running browser with one page; ended on drop.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    told: Receiver<Value>,
    session: Option<String>,
    last_id: u64,
    /// Every event since the page was opened.
    events: Vec<Value>,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Eye {
    /// In CSS pixels.
    pub width: u32,
    /// Whether the reader has asked for dark colours.
    pub dark: bool,
}

impl Browser {
    /// Starts one whose profile and log lie in `dir`.
    pub fn start(dir: &Path) -> Fallible<Browser> {
        let log = dir.join("chromium.log");
        // `sh` moves the pipes to where the browser wants them.
        let script = "log=$1; shift; exec chromium \"$@\" 3<&0 4>&1 </dev/null >\"$log\" 2>&1";
        let mut process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "sh", "-c", script, "sh"])
            .arg(&log)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", dir.join("profile").display()))
            .env("HOME", dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("setpriv: {e}"))?;
        let commands = process.stdin.take().ok_or("no pipe to the browser")?;
        let answers = process.stdout.take().ok_or("no pipe from the browser")?;
        let (sender, told) = channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser { process, commands, told, session: None, last_id: 0, events: Vec::new() };
        let about = json!({"url": "about:blank"});
        let target = browser
            .call("Target.createTarget", about)
            .map_err(|e| format!("chromium: {e}\n{}", fs::read_to_string(&log).unwrap_or_default()))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach)?["sessionId"].clone();
        browser.session = Some(session.as_str().ok_or("no session")?.to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Sends a command and waits for its answer.
    pub fn call(&mut self, method: &str, params: Value) -> Fallible<Value> {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(command.to_string().as_bytes())?;
        self.commands.write_all(&[0])?;
        self.commands.flush()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.next(deadline).map_err(|e| format!("{method}: {e}"))?;
            if message["id"] != self.last_id {
                self.events.push(message);
                continue;
            }
            return match message.get("error") {
                Some(error) => Err(format!("{method}: {error}").into()),
                None => Ok(message["result"].clone()),
            };
        }
    }

    fn next(&self, deadline: Instant) -> Fallible<Value> {
        Ok(self.told.recv_timeout(deadline.saturating_duration_since(Instant::now()))?)
    }

    /// Opens `url`, and waits until it is loaded.
    pub fn open(&mut self, url: &str, eye: Eye) -> Fallible<()> {
        let size =
            json!({"width": eye.width, "height": 900, "deviceScaleFactor": 1, "mobile": eye.width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size)?;
        let scheme = if eye.dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", features)?;
        self.events.clear();
        self.call("Page.navigate", json!({"url": url}))?;
        let deadline = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next(deadline).map_err(|e| format!("{url} is not loaded: {e}"))?;
            self.events.push(event);
        }
        // What is asked for after that (an icon) has its time, too.
        let deadline = Instant::now() + Duration::from_millis(300);
        while let Ok(event) = self.next(deadline) {
            self.events.push(event);
        }
        Ok(())
    }

    /// Moves the focus on, as a reader without a mouse does.
    pub fn press_tab(&mut self) -> Fallible<()> {
        for kind in ["keyDown", "keyUp"] {
            let key = json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
            self.call("Input.dispatchKeyEvent", key)?;
        }
        Ok(())
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Fallible<Value> {
        let params = json!({"expression": expression, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", params)?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{expression}: {details}").into()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// All that stands in the console since the page was opened: what a script says, what the browser objects to.
    pub fn console(&self) -> Vec<String> {
        let is_one = |method: &str| {
            ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"].contains(&method)
        };
        let told = self.events.iter().filter(|event| event["method"].as_str().is_some_and(is_one));
        told.map(|event| event["params"].to_string()).collect()
    }

    /// The URLs that were asked for since the page was opened.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }

    /// Writes the whole page as a PNG.
    pub fn picture(&mut self, file: &Path) -> Fallible<()> {
        let answer = self.call("Page.captureScreenshot", json!({"captureBeyondViewport": true}))?;
        Ok(fs::write(file, STANDARD.decode(answer["data"].as_str().ok_or("no picture")?)?)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
