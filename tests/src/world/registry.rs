//! A real docker-registry, with TLS and authentication of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::process::Process;
use super::tls::Identity;
use super::token::Signer;
use super::{image, token};
use crate::Fallible;

/// [`crate::USER`] with [`crate::PASSWORD`], by `htpasswd -nbB -C 4`: docker-registry takes bcrypt only.
const HTPASSWD: &str = "probe:$2y$04$demswKkaQq3im.rtJNB7ueO9nHrvwNaGvRCaREnkze/NvwBxfksgK\n";

/// Who may read.
#[derive(Clone, Copy, Debug)]
pub enum Auth<'a> {
    /// Everybody.
    Open,
    /// The one user, with the password.
    Basic,
    /// Bearers of a token that this signer made; the realm is where the registry sends those without.
    Bearer(&'a Signer, &'a str),
}

/// Starts a registry on `address` that serves the images below `storage` and writes nothing there.
pub fn start(
    name: &str,
    dir: &Path,
    storage: &Path,
    address: SocketAddr,
    identity: Option<&Identity>,
    auth: Auth<'_>,
) -> Fallible<Process> {
    let tls = identity.map_or(String::new(), |id| {
        format!("  tls: {{certificate: {}, key: {}}}\n", id.chain.display(), id.key.display())
    });
    let auth = match auth {
        Auth::Open => String::new(),
        Auth::Basic => {
            let file = dir.join(format!("{name}.htpasswd"));
            fs::write(&file, HTPASSWD)?;
            format!("auth: {{htpasswd: {{realm: {name}, path: {}}}}}\n", file.display())
        }
        Auth::Bearer(signer, realm) => {
            let file = dir.join(format!("{name}.tokens.pem"));
            fs::write(&file, signer.certificate())?;
            format!(
                "auth: {{token: {{realm: \"{realm}\", service: {}, issuer: {}, rootcertbundle: {}}}}}\n",
                token::SERVICE,
                token::ISSUER,
                file.display()
            )
        }
    };
    let maintenance = "  maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: true}}\n";
    run(name, dir, storage, address, &format!("{maintenance}http:\n  addr: {address}\n{tls}{auth}"))
}

/// Fills a storage directory with the test image, by a registry that runs for just so long.
pub fn fill(dir: &Path, storage: &Path, address: SocketAddr) -> Fallible<()> {
    fill_with(dir, storage, address, image::push)
}

/// Fills a storage directory with what is pushed.
pub fn fill_with<T>(
    dir: &Path,
    storage: &Path,
    address: SocketAddr,
    push: impl FnOnce(SocketAddr) -> Fallible<T>,
) -> Fallible<T> {
    let _registry = run("filler", dir, storage, address, &format!("http:\n  addr: {address}\n"))?;
    push(address)
}

fn run(name: &str, dir: &Path, storage: &Path, address: SocketAddr, rest: &str) -> Fallible<Process> {
    let file = dir.join(format!("{name}.yml"));
    let head = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: false}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n",
        storage.display()
    );
    fs::write(&file, head + rest)?;
    let path = file.to_string_lossy();
    let mut process = Process::start(name, dir, "docker-registry", &["serve", &path])?;
    process.wait_for_port(address)?;
    Ok(process)
}
