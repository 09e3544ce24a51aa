//! The files that the configuration names: read through the caller's closure, bounded, and checked at once.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject};
use x509_parser::parse_x509_certificate;

use super::providers;
use super::tree::MAX_WORD;
use crate::containerd::docker_config::DockerConfig;
use crate::containerd::provider;
use crate::model::text;

/// The most bytes of a file: a bundle of all public authorities is a quarter of it.
const MAX_BYTES: usize = 1 << 20;
/// The most bytes of a path that a message shows.
const MAX_PATH: usize = 4 * MAX_WORD;

/// How the files are read.
pub(super) struct Files<'a> {
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

impl Files<'_> {
    /// A docker config.
    pub(super) fn docker_config(&self, path: &str) -> Result<DockerConfig, String> {
        let bytes = self.bytes(path)?;
        DockerConfig::parse(&bytes).map_err(|error| format!("`{}`: {error}", shown(path)))
    }

    /// The kubelet's `CredentialProviderConfig`; its problems are told with the lines of that file.
    pub(super) fn provider_config(&self, path: &str) -> Result<provider::Config, String> {
        let bytes = self.bytes(path)?;
        let text = String::from_utf8(bytes).map_err(|_| format!("`{}` is not text in UTF-8", shown(path)))?;
        providers::read(&text).map_err(|problems| {
            let told: Vec<String> = problems.iter().map(|problem| format!("line {problem}")).collect();
            format!("`{}`: {}", shown(path), told.join("; "))
        })
    }

    /// A CA bundle: PEM in which at least one certificate parses. Go passes over those that do not, so one odd
    /// certificate in a bundle is no problem here either.
    pub(super) fn ca(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = self.bytes(path)?;
        let mut certificates = 0;
        for certificate in CertificateDer::pem_slice_iter(&bytes) {
            let certificate = certificate.map_err(|error| {
                let what = match error {
                    Error::MissingSectionEnd { .. } => "a section has no end",
                    Error::IllegalSectionStart { .. } => "a section begins wrongly",
                    Error::Base64Decode(_) => "a section is not base64",
                    _ => "it cannot be decoded",
                };
                format!("`{}` is not valid PEM: {what}", shown(path))
            })?;
            certificates += usize::from(parse_x509_certificate(&certificate).is_ok());
        }
        match certificates {
            0 => Err(format!("`{}` holds no certificate in PEM", shown(path))),
            _ => Ok(bytes),
        }
    }

    fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = (self.read)(&absolute(path)?).map_err(|error| {
            let error = text::clean(&error.to_string(), text::MAX_TEXT);
            format!("`{}` cannot be read: {error}", shown(path))
        })?;
        match bytes.len() {
            0..=MAX_BYTES => Ok(bytes),
            _ => Err(format!("`{}` is larger than {MAX_BYTES} bytes", shown(path))),
        }
    }
}

fn shown(path: &str) -> String {
    text::clean(path, MAX_PATH)
}

/// An absolute path: a relative one would mean something else in every place where the agent is started.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.contains("://") {
        return Err("must be a path without `unix://` or the like".to_owned());
    }
    if !text.starts_with('/') {
        return Err("must be an absolute path".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(PathBuf::from(text))
}
