//! A kubeconfig, or several that make one: where an API server is, and who one is to it. What it does not mean is left
//! unread, and of a key that comes twice the first counts.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::problem::Problem;
use super::tree::{self, Kind, Node};
use crate::containerd::credentials::Secret;
use crate::model::text;

/// What a kubeconfig holds: text in the file, or a path beside it.
#[derive(Clone, PartialEq, Eq)]
pub enum Data {
    /// The bytes themselves (`…-data`, base64).
    Inline(Vec<u8>),
    /// Where they are; a relative path is below the kubeconfig's folder.
    File(PathBuf),
}

/// Without the bytes, which may be a key.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Inline(_) => f.write_str("Inline(…)"),
            Data::File(path) => write!(f, "File({path:?})"),
        }
    }
}

/// Who one is to the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// A bearer token.
    pub token: Option<Secret>,
    /// A file with one, read again as it changes.
    pub token_file: Option<PathBuf>,
    /// A client certificate and its key.
    pub certificate: Option<(Data, Data)>,
    /// A user and a password.
    pub login: Option<(String, Secret)>,
    /// A program that gives credentials.
    pub exec: Option<Exec>,
}

/// A program that gives credentials (`client.authentication.k8s.io`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec {
    /// The version of the API that it speaks.
    pub api_version: String,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is added to its environment.
    pub env: Vec<(String, Secret)>,
}

/// One context, with all that it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The API server's URL.
    pub server: String,
    /// Whom its certificate must lead to; `None`: the machine's own roots.
    pub ca: Option<Data>,
    /// Its certificate is not looked at.
    pub skips_verification: bool,
    /// The proxy on the way.
    pub proxy: Option<String>,
    /// The namespace of whoever names none.
    pub namespace: Option<String>,
    /// Who one is.
    pub user: User,
}

/// Reads the context that `files` name as the current one, or `context`. The first file that names a cluster, user or
/// context counts, as kubectl merges them.
///
/// # Errors
/// A sentence that names the file or the entry.
pub fn read(files: &[(PathBuf, String)], context: Option<&str>) -> Result<Context, String> {
    let mut roots = Vec::new();
    for (path, text) in files {
        let told = |problem: Problem| problem.in_file(&path.display().to_string());
        if let Some(root) = tree::read(text).map_err(told)? {
            roots.push((path.as_path(), root));
        }
    }
    let current = context
        .map(str::to_owned)
        .or_else(|| roots.iter().find_map(|(_, root)| word(root, "current-context")))
        .ok_or("the kubeconfig names no current context")?;
    let (_, context) = entry(&roots, "contexts", &current, "context")?;
    let cluster = word(context, "cluster")
        .ok_or_else(|| format!("the context {} names no cluster", shown(&current)))?;
    let (path, cluster) = entry(&roots, "clusters", &cluster, "cluster")?;
    let user = match word(context, "user") {
        Some(name) => {
            let (path, user) = entry(&roots, "users", &name, "user")?;
            self::user(path, user)?
        }
        None => User::default(),
    };
    Ok(Context {
        server: word(cluster, "server").ok_or("the kubeconfig's cluster names no server")?,
        ca: data(path, cluster, "certificate-authority")?,
        skips_verification: word(cluster, "insecure-skip-tls-verify").is_some_and(|word| word == "true"),
        proxy: word(cluster, "proxy-url"),
        namespace: word(context, "namespace"),
        user,
    })
}

fn user(path: &Path, user: &Node) -> Result<User, String> {
    let certificate = data(path, user, "client-certificate")?.zip(data(path, user, "client-key")?);
    let login = word(user, "username").zip(word(user, "password").map(Secret::new));
    let exec = child(user, "exec").map(|exec| Exec {
        api_version: word(exec, "apiVersion").unwrap_or_default(),
        command: word(exec, "command").map(|command| program(path, command)).unwrap_or_default(),
        args: items(exec, "args").iter().filter_map(scalar).collect(),
        env: items(exec, "env")
            .iter()
            .filter_map(|pair| word(pair, "name").zip(word(pair, "value").map(Secret::new)))
            .collect(),
    });
    Ok(User {
        token: word(user, "token").map(Secret::new),
        token_file: word(user, "tokenFile").map(|file| below(path, &file)),
        certificate,
        login,
        exec,
    })
}

/// The entry `name` of a list of `{name, KIND: {…}}`, and the file that it stands in.
fn entry<'a>(
    roots: &'a [(&Path, Node)],
    list: &str,
    name: &str,
    kind: &str,
) -> Result<(&'a Path, &'a Node), String> {
    let of = |(path, root): &'a (&Path, Node)| {
        let found = items(root, list).iter().find(|item| word(item, "name").as_deref() == Some(name))?;
        Some((*path, child(found, kind)?))
    };
    roots.iter().find_map(of).ok_or_else(|| format!("the kubeconfig has no {kind} named {}", shown(name)))
}

/// `KEY-data`, else `KEY`.
fn data(path: &Path, node: &Node, key: &str) -> Result<Option<Data>, String> {
    if let Some(encoded) = word(node, &format!("{key}-data")) {
        let plain: String = encoded.split_whitespace().collect();
        let bytes =
            STANDARD.decode(plain).map_err(|_| format!("the kubeconfig's {key}-data is no base64"))?;
        return Ok(Some(Data::Inline(bytes)));
    }
    Ok(word(node, key).map(|file| Data::File(below(path, &file))))
}

/// A program with a slash in it is below the kubeconfig's folder; another is looked for in `$PATH`.
fn program(kubeconfig: &Path, command: String) -> String {
    match command.contains('/') {
        true => below(kubeconfig, &command).to_string_lossy().into_owned(),
        false => command,
    }
}

fn below(kubeconfig: &Path, file: &str) -> PathBuf {
    kubeconfig.parent().unwrap_or(Path::new("")).join(file)
}

fn child<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    let Kind::Map(entries) = &node.kind else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

fn items<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    match child(node, key).map(|node| &node.kind) {
        Some(Kind::List(items)) => items,
        _ => &[],
    }
}

fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// The text of `key`, unless it is empty.
fn word(node: &Node, key: &str) -> Option<String> {
    child(node, key).and_then(scalar).filter(|text| !text.is_empty())
}

fn shown(name: &str) -> String {
    text::clean(name, tree::MAX_WORD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
apiVersion: v1
kind: Config
current-context: here
contexts:
- {name: here, context: {cluster: c1, user: u1, namespace: shop}}
- {name: there, context: {cluster: c2, user: u2}}
clusters:
- name: c1
  cluster: {server: 'https://10.0.0.1:6443', certificate-authority-data: aGVsbG8=}
- name: c2
  cluster: {server: https://b.test, certificate-authority: pki/ca.crt, insecure-skip-tls-verify: true}
users:
- name: u1
  user: {token: abc}
- name: u2
  user:
    client-certificate: u.crt
    client-key-data: a2V5
    exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, args: [eks, get-token], env: [{name: A, value: b}]}
";

    fn files(texts: &[&str]) -> Vec<(PathBuf, String)> {
        texts.iter().map(|text| (PathBuf::from("/home/me/.kube/config"), (*text).to_owned())).collect()
    }

    #[test]
    fn the_current_context_is_read_with_all_that_it_names() {
        let context = read(&files(&[FILE]), None).unwrap();
        assert_eq!(context.server, "https://10.0.0.1:6443");
        assert_eq!(context.ca, Some(Data::Inline(b"hello".to_vec())));
        assert_eq!(context.namespace.as_deref(), Some("shop"));
        assert_eq!(context.user.token.as_ref().map(Secret::expose), Some("abc"));
        assert!(!context.skips_verification);
    }

    #[test]
    fn paths_are_below_the_files_folder() {
        let context = read(&files(&[FILE]), Some("there")).unwrap();
        assert_eq!(context.ca, Some(Data::File("/home/me/.kube/pki/ca.crt".into())));
        let certificate = Data::File("/home/me/.kube/u.crt".into());
        assert_eq!(context.user.certificate, Some((certificate, Data::Inline(b"key".to_vec()))));
        let exec = context.user.exec.unwrap();
        assert_eq!((exec.command.as_str(), exec.args.len(), exec.env.len()), ("aws", 2, 1));
        assert!(context.skips_verification);
        let file = FILE.replace("command: aws", "command: bin/login");
        let exec = read(&files(&[&file]), Some("there")).unwrap().user.exec.unwrap();
        assert_eq!(exec.command, "/home/me/.kube/bin/login");
    }

    #[test]
    fn the_first_of_several_files_counts() {
        let first = "current-context: there\nusers: [{name: u2, user: {token: first}}]\n";
        let context = read(&files(&[first, FILE]), None).unwrap();
        assert_eq!(
            (context.server.as_str(), context.user.token.unwrap().expose()),
            ("https://b.test", "first")
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |text: &str, expect: &str| {
            let error = read(&files(&[text]), None).unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check("", "no current context");
        check("current-context: x", "no context named x");
        check("current-context: x\ncontexts: [{name: x, context: {cluster: y}}]", "no cluster named y");
        check("a: [", "is not valid YAML");
        let bad = FILE.replace("aGVsbG8=", "'!!'");
        check(&bad, "certificate-authority-data is no base64");
    }
}
