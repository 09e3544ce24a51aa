//! Where the API server is, and who this is to it: a kubeconfig, or the pod's own service account.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::program;
use crate::config::kubeconfig::{self, Context, Data};
use crate::containerd::credentials::Secret;
use crate::stages::files::{open_regular, read_bounded};
use crate::stages::tls::{Identity, Trust};

/// Where Kubernetes puts a pod's service account (`kubernetes.io/docs/tasks/run-application/access-api-from-pod`).
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The most bytes of a kubeconfig, a certificate, a key or a token.
const MAX_FILE: usize = 1 << 20;

/// Where the API server is, and who this is to it.
#[derive(Clone, Debug)]
pub struct Access {
    /// Its URL, without a slash at the end.
    pub server: String,
    /// Whom its certificate must lead to, and what it is shown.
    pub trust: Trust,
    /// Who this is.
    pub who: Who,
    /// The proxy on the way.
    pub proxy: Option<String>,
    /// The namespace of whoever names none.
    pub namespace: String,
}

/// Who one is to the API server, beside a client certificate.
#[derive(Clone, Debug)]
pub enum Who {
    /// Nobody else.
    Nobody,
    /// A bearer token.
    Token(Secret),
    /// The bearer token that stands in a file, read at each request: it is renewed there.
    TokenFile(PathBuf),
    /// A user and a password.
    Login(String, Secret),
}

/// Whether a program that a kubeconfig names may be run for its credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Programs {
    /// As kubectl runs it, for the person whose kubeconfig it is.
    Run,
    /// An agent runs none.
    Refuse,
}

/// Why there is no API server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAccess {
    /// This is no pod of a cluster, and nobody has named a kubeconfig.
    Nowhere,
    /// What was named cannot be used; a sentence says why.
    Broken(String),
}

impl Access {
    /// As `kubeconfig` says, else `$KUBECONFIG`, else the pod's own service account. Blocks on files.
    ///
    /// # Errors
    /// [`NoAccess`].
    pub fn find(kubeconfig: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Access, NoAccess> {
        let named = env("KUBECONFIG").filter(|list| !list.is_empty());
        match (kubeconfig, named) {
            (Some(path), _) => Access::of_kubeconfig(&[path.to_owned()], None),
            (None, Some(list)) => {
                Access::of_kubeconfig(&std::env::split_paths(&list).collect::<Vec<_>>(), None)
            }
            (None, None) => Access::in_cluster(Path::new(ACCOUNT), env),
        }
    }

    /// As kubectl finds it on a person's machine: as [`Access::find`], and before the service account `~/.kube/config`. A
    /// program that the kubeconfig names for its credentials is run.
    ///
    /// # Errors
    /// [`NoAccess`].
    pub fn of_user(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Access, NoAccess> {
        let list = env("KUBECONFIG").filter(|list| !list.is_empty());
        let home = env("HOME").map(|home| Path::new(&home).join(".kube/config")).filter(|path| path.exists());
        let files = match (kubeconfig, list) {
            (Some(path), _) => vec![path.to_owned()],
            (None, Some(list)) => std::env::split_paths(&list).collect(),
            (None, None) => home.into_iter().collect(),
        };
        match files.is_empty() {
            true => Access::in_cluster(Path::new(ACCOUNT), env),
            false => Access::of_files(&files, context, Programs::Run),
        }
    }

    /// As the first of the files says that names a thing; those that are missing are passed over, unless all are.
    ///
    /// # Errors
    /// [`NoAccess::Broken`].
    pub fn of_kubeconfig(files: &[PathBuf], context: Option<&str>) -> Result<Access, NoAccess> {
        Access::of_files(files, context, Programs::Refuse)
    }

    fn of_files(files: &[PathBuf], context: Option<&str>, programs: Programs) -> Result<Access, NoAccess> {
        let mut texts = Vec::new();
        let mut missing = None;
        for path in files.iter().filter(|path| !path.as_os_str().is_empty()) {
            match read(path) {
                Ok(bytes) => texts.push((path.clone(), String::from_utf8_lossy(&bytes).into_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.get_or_insert_with(|| unread(path, &error));
                }
                Err(error) => return Err(NoAccess::Broken(unread(path, &error))),
            }
        }
        match (texts.is_empty(), missing) {
            (true, Some(why)) => Err(NoAccess::Broken(why)),
            _ => kubeconfig::read(&texts, context)
                .and_then(|context| Access::of(context, programs))
                .map_err(NoAccess::Broken),
        }
    }

    fn of(context: Context, programs: Programs) -> Result<Access, String> {
        let Context { server, ca, skips_verification, proxy, namespace, mut user } = context;
        let has_own = user.token.is_some() || user.token_file.is_some() || user.login.is_some();
        if let Some(exec) =
            user.exec.take_if(|_| programs == Programs::Run && !has_own && user.certificate.is_none())
        {
            let granted = program::run(&exec)?;
            (user.token, user.certificate) = (granted.token, granted.certificate);
        }
        let mut trust = match &ca {
            Some(data) => Trust::from_pem(&bytes(data)?)
                .map_err(|why| format!("the cluster's certificate-authority: {why}"))?,
            None => Trust::native().unwrap_or_default(),
        };
        if skips_verification {
            trust = trust.blind();
        }
        if let Some((certificate, key)) = &user.certificate {
            let identity = Identity::from_pem(&bytes(certificate)?, &bytes(key)?);
            trust = trust.showing(identity.map_err(|why| format!("the user's client-certificate: {why}"))?);
        }
        // In client-go's order; a program counts where nothing else is given.
        let who = match (user.token, user.token_file, user.login) {
            (_, Some(file), _) => Who::TokenFile(file),
            (Some(token), None, _) => Who::Token(token),
            (None, None, Some((name, password))) => Who::Login(name, password),
            (None, None, None) => match (user.exec, user.certificate) {
                (Some(exec), None) => {
                    return Err(format!(
                        "the kubeconfig's user has its credentials from the program {}, which this one does not run: \
                         name a user with a token (`kubectl create token`) or a certificate",
                        crate::model::text::clean(&exec.command, 100)
                    ));
                }
                _ => Who::Nobody,
            },
        };
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        Ok(Access { server: server.trim_end_matches('/').to_owned(), trust, who, proxy, namespace })
    }

    /// As Kubernetes tells a pod of it: two variables, and the folder of its service account.
    ///
    /// # Errors
    /// [`NoAccess::Nowhere`] where there is neither; [`NoAccess::Broken`] where the folder cannot be read.
    pub fn in_cluster(account: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Access, NoAccess> {
        let set = |name| env(name).filter(|value| !value.is_empty());
        let (Some(host), Some(port)) = (set("KUBERNETES_SERVICE_HOST"), set("KUBERNETES_SERVICE_PORT"))
        else {
            return Err(NoAccess::Nowhere);
        };
        let token = account.join("token");
        // Without a token the pod was told (automountServiceAccountToken: false) to leave the API server alone.
        if !token.exists() {
            return Err(NoAccess::Nowhere);
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let broken = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| NoAccess::Broken(unread(&path, &error))
        };
        let ca = account.join("ca.crt");
        let pem = read(&ca).map_err(broken(&ca))?;
        let trust =
            Trust::from_pem(&pem).map_err(|why| NoAccess::Broken(format!("{}: {why}", ca.display())))?;
        let namespace = read(&account.join("namespace")).unwrap_or_default();
        let namespace = String::from_utf8_lossy(&namespace).trim().to_owned();
        let server = format!("https://{host}:{port}");
        Ok(Access { server, trust, who: Who::TokenFile(token), proxy: None, namespace })
    }
}

impl Who {
    /// The header that says so.
    ///
    /// # Errors
    /// A sentence, where the token's file cannot be read.
    pub(super) fn authorization(&self) -> Result<Option<Secret>, String> {
        let bearer = |token: &str| Some(Secret::new(format!("Bearer {}", token.trim())));
        match self {
            Who::Nobody => Ok(None),
            Who::Token(token) => Ok(bearer(token.expose())),
            Who::TokenFile(path) => {
                let bytes = read(path).map_err(|error| unread(path, &error))?;
                Ok(bearer(&String::from_utf8_lossy(&bytes)))
            }
            Who::Login(name, password) => {
                use base64::Engine;
                let pair = format!("{name}:{}", password.expose());
                let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
                Ok(Some(Secret::new(format!("Basic {encoded}"))))
            }
        }
    }
}

fn bytes(data: &Data) -> Result<Vec<u8>, String> {
    match data {
        Data::Inline(bytes) => Ok(bytes.clone()),
        Data::File(path) => read(path).map_err(|error| unread(path, &error)),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file: File = open_regular(path)?;
    read_bounded(file, MAX_FILE)
}

fn unread(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN_ONLY: &str = "current-context: a\n\
        contexts: [{name: a, context: {cluster: a, user: a}}]\n\
        clusters: [{name: a, cluster: {server: 'http://127.0.0.1:8001/'}}]\n";

    fn nothing(_: &str) -> Option<String> {
        None
    }

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn outside_a_cluster_there_is_nobody_to_ask() {
        assert_eq!(Access::find(None, &nothing).unwrap_err(), NoAccess::Nowhere);
        let env = |name: &str| name.starts_with("KUBERNETES_SERVICE").then(|| "1".to_owned());
        let (folder, _) = written("");
        assert_eq!(
            Access::in_cluster(folder.path(), &env).unwrap_err(),
            NoAccess::Nowhere,
            "no token is mounted"
        );
    }

    #[test]
    fn the_service_accounts_token_is_read_at_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        for (name, text) in [("token", "one\n"), ("ca.crt", &made.cert.pem()), ("namespace", "pullscope\n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let env = |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some("fd00::1".to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        };
        let access = Access::in_cluster(folder.path(), &env).unwrap();
        assert_eq!(
            (access.server.as_str(), access.namespace.as_str()),
            ("https://[fd00::1]:443", "pullscope")
        );
        let header = || access.who.authorization().unwrap().unwrap().expose().to_owned();
        assert_eq!(header(), "Bearer one");
        std::fs::write(folder.path().join("token"), "two").unwrap();
        assert_eq!(header(), "Bearer two");
        std::fs::remove_file(folder.path().join("token")).unwrap();
        assert!(access.who.authorization().unwrap_err().contains("token"));
    }

    #[test]
    fn a_kubeconfig_that_is_named_counts_before_all_else() {
        let (_folder, path) =
            written(&format!("{TOKEN_ONLY}users: [{{name: a, user: {{username: u, password: p}}}}]"));
        let env = |name: &str| (name == "KUBECONFIG").then(|| format!("/nonexistent:{}", path.display()));
        for access in
            [Access::find(Some(&path), &nothing), Access::find(None, &env), Access::of_user(None, None, &env)]
        {
            let access = access.unwrap();
            assert_eq!(
                (access.server.as_str(), access.namespace.as_str()),
                ("http://127.0.0.1:8001", "default")
            );
            assert_eq!(access.who.authorization().unwrap().unwrap().expose(), "Basic dTpw");
        }
        let missing = Access::find(Some(Path::new("/nonexistent")), &nothing).unwrap_err();
        assert!(matches!(missing, NoAccess::Broken(why) if why.starts_with("/nonexistent: ")));
    }

    #[test]
    fn a_program_that_gives_credentials_is_named_and_not_run() {
        let (_folder, path) =
            written(&format!("{TOKEN_ONLY}users: [{{name: a, user: {{exec: {{command: aws}}}}}}]"));
        let NoAccess::Broken(why) = Access::find(Some(&path), &nothing).unwrap_err() else {
            panic!("it is broken")
        };
        assert!(why.contains("the program aws"), "{why}");
    }
}
