//! The control plane: etcd, the API server, the controllers and the scheduler.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kubectl::Kubectl;
use super::{STARTING, ground, until};
use crate::Fallible;
use crate::world::process::{Process, run};

/// Who may do what: a token each, with a user and a group.
const USERS: [(&str, &str, &str); 3] = [
    ("admin", "admin", "system:masters"),
    ("scheduler", "system:kube-scheduler", ""),
    ("kubelet", "system:node:node-1", "system:nodes"),
];

/// A running control plane.
#[derive(Debug)]
pub(super) struct Control {
    // In the order in which they end: the store is the last.
    processes: Vec<(&'static str, Process)>,
    home: PathBuf,
}

impl Control {
    /// Starts it, and waits until the API server is ready.
    pub(super) fn start(programs: &Path, home: &Path) -> Fallible<Control> {
        fs::create_dir_all(home)?;
        let mut control = Control { processes: Vec::new(), home: home.to_owned() };
        let key = home.join("accounts.key");
        run("openssl", &["genrsa", "-out", &key.to_string_lossy(), "2048"])?;
        control.start_etcd()?;
        control.start_api_server(programs, &key)?;
        for (name, _, _) in USERS {
            control.write_kubeconfig(name)?;
        }
        let kubectl = control.kubectl();
        until("API server", STARTING, || kubectl.run(&["get", "--raw", "/readyz"]))?;
        control.start_controllers(programs, &key)?;
        Ok(control)
    }

    /// An administrator's kubectl.
    pub(super) fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig("admin"), &self.home)
    }

    /// The configuration of one of the users.
    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.home.join(format!("{user}.conf"))
    }

    /// The roots of the API server's certificate.
    pub(super) fn roots(&self) -> PathBuf {
        self.home.join("pki/apiserver.crt")
    }

    /// What each has written.
    pub(super) fn logs(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.processes.iter().map(|(name, process)| (*name, process.log()))
    }

    fn run(&mut self, name: &'static str, program: &Path, args: &[String]) -> Fallible<()> {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let process = Process::start(name, &self.home, &program.to_string_lossy(), &args)?;
        self.processes.insert(0, (name, process));
        Ok(())
    }

    fn start_etcd(&mut self) -> Fallible<()> {
        let args = [
            format!("--data-dir={}", self.home.join("etcd").display()),
            "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
            "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            // It is in memory, and nobody needs it after a crash.
            "--unsafe-no-fsync".to_owned(),
        ];
        self.run("etcd", Path::new("etcd"), &args)
    }

    fn start_api_server(&mut self, programs: &Path, key: &Path) -> Fallible<()> {
        let tokens = self.home.join("tokens.csv");
        let lines = USERS.iter().map(|(name, user, group)| match group.is_empty() {
            true => format!("{},{user},{name}\n", token(name)),
            false => format!("{},{user},{name},\"{group}\"\n", token(name)),
        });
        fs::write(&tokens, lines.collect::<String>())?;
        let (api, services) = (ground::API, ground::SERVICES);
        let args = [
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            format!("--bind-address={api}"),
            format!("--advertise-address={api}"),
            "--secure-port=443".to_owned(),
            "--insecure-port=0".to_owned(),
            // It makes itself a certificate there.
            format!("--cert-dir={}", self.home.join("pki").display()),
            format!("--token-auth-file={}", tokens.display()),
            "--authorization-mode=Node,RBAC".to_owned(),
            format!("--service-cluster-ip-range={services}"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", key.display()),
            format!("--service-account-signing-key-file={}", key.display()),
            "--allow-privileged=true".to_owned(),
        ];
        self.run("kube-apiserver", &programs.join("kube-apiserver"), &args)
    }

    fn start_controllers(&mut self, programs: &Path, key: &Path) -> Fallible<()> {
        let args = [
            format!("--kubeconfig={}", self.kubeconfig("admin").display()),
            format!("--root-ca-file={}", self.roots().display()),
            format!("--service-account-private-key-file={}", key.display()),
            "--leader-elect=false".to_owned(),
            "--port=0".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        self.run("kube-controller-manager", &programs.join("kube-controller-manager"), &args)?;
        let args = [
            format!("--kubeconfig={}", self.kubeconfig("scheduler").display()),
            "--leader-elect=false".to_owned(),
            "--port=0".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        self.run("kube-scheduler", &programs.join("kube-scheduler"), &args)
    }

    fn write_kubeconfig(&self, name: &str) -> Fallible<()> {
        // The API server makes its certificate as it starts.
        until("certificate", Duration::from_secs(30), || Ok(fs::metadata(self.roots())?))?;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
             clusters: [{{name: one, cluster: {{server: \"https://{}\", certificate-authority: {}}}}}]\n\
             users: [{{name: one, user: {{token: {}}}}}]\n\
             contexts: [{{name: one, context: {{cluster: one, user: one}}}}]\n",
            ground::API,
            self.roots().display(),
            token(name)
        );
        Ok(fs::write(self.kubeconfig(name), text)?)
    }
}

/// Everything ends with the sandbox: nobody guesses one.
fn token(name: &str) -> String {
    format!("token-of-{name}")
}
