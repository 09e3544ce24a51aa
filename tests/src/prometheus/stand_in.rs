//! Small HTTP servers: an exporter that serves a text, and an API server that knows one node's pods.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Fallible;

/// What is said to a request, by its path.
type Answer = dyn Fn(&str, &mut TcpStream, &AtomicBool) -> std::io::Result<()> + Send + Sync;

/// A server whose answers are a function of the path; it ends when dropped.
struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(address: SocketAddr, answer: Arc<Answer>) -> Fallible<Server> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (answer, stop) = (Arc::clone(&answer), Arc::clone(&stopped));
                // Each client has its own thread; a client that is gone ends it.
                thread::spawn(move || serve(stream, &*answer, &stop));
            }
        });
        Ok(Server { address, stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for a client.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request, one answer, and the end of the connection.
fn serve(mut stream: TcpStream, answer: &Answer, stop: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    head.read_line(&mut request)?;
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    answer(path, &mut stream, stop)
}

fn head(kind: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n")
}

/// An exporter whose text is given.
pub struct Exporter {
    server: Server,
    text: Arc<Mutex<String>>,
}

impl Exporter {
    /// Serves `text` for any path.
    pub fn start(ip: IpAddr, text: &str) -> Fallible<Exporter> {
        let text = Arc::new(Mutex::new(text.to_owned()));
        let told = Arc::clone(&text);
        let answer = move |_: &str, stream: &mut TcpStream, _: &AtomicBool| {
            let body = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            stream.write_all((head("text/plain; version=0.0.4") + &body).as_bytes())
        };
        Ok(Exporter { server: Server::start(SocketAddr::new(ip, 9707), Arc::new(answer))?, text })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Serves another text from now on.
    pub fn tell(&self, text: &str) {
        text.clone_into(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The part of an API server that lists and watches the pods of a node; at first there is none.
pub struct Pods {
    server: Server,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Pods {
    /// Starts it.
    pub fn start(ip: IpAddr) -> Fallible<Pods> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&events);
        let answer = move |path: &str, stream: &mut TcpStream, stop: &AtomicBool| {
            stream.write_all(head("application/json").as_bytes())?;
            if !path.contains("watch=1") {
                let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []});
                return stream.write_all(list.to_string().as_bytes());
            }
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let new: Vec<Value> = told.lock().unwrap_or_else(PoisonError::into_inner)[sent..].to_vec();
                sent += new.len();
                for event in new {
                    stream.write_all(format!("{event}\n").as_bytes())?;
                }
                thread::sleep(Duration::from_millis(50));
            }
            Ok(())
        };
        Ok(Pods { server: Server::start(SocketAddr::new(ip, 8080), Arc::new(answer))?, events })
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> String {
        format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n\
             clusters: [{{name: a, cluster: {{server: 'http://{}'}}}}]\nusers: [{{name: a, user: {{token: t0k3n}}}}]\n",
            self.server.address
        )
    }

    /// A pod comes that waits for `image`, with the kubelet's words; or it goes.
    pub fn tell(&self, kind: &str, name: &str, image: &str, message: &str) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let version = (events.len() + 2).to_string();
        let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": message}});
        let pod = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": version},
            "spec": {"containers": [{"name": "app", "image": image}]},
            "status": {"phase": "Pending", "containerStatuses": [
                {"name": "app", "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": waiting}]},
        });
        events.push(json!({"type": kind, "object": pod}));
    }
}
