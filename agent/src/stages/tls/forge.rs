//! Certificates for tests, made on the spot: by rcgen, and the odd ones by the openssl command.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A certificate and its key.
pub(super) struct Made {
    pub(super) der: CertificateDer<'static>,
    pub(super) key: KeyPair,
    params: CertificateParams,
}

/// Parameters of a server's certificate: good for `hosts` from yesterday to a year from now.
pub(super) fn server(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("test names are names");
    params.distinguished_name.push(DnType::CommonName, "the server");
    params.use_authority_key_identifier_extension = true;
    dated(params, -1, 365)
}

/// Parameters of an authority: good from yesterday to ten years from now.
pub(super) fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dated(params, -1, 3650)
}

/// The same, valid from and until so many days from now.
pub(super) fn dated(mut params: CertificateParams, from: i64, until: i64) -> CertificateParams {
    let day = |days: i64| {
        let distance = DAY * u32::try_from(days.unsigned_abs()).expect("test dates are near");
        let now = SystemTime::now();
        if days < 0 { now - distance } else { now + distance }
    };
    params.not_before = day(from).into();
    params.not_after = day(until).into();
    params
}

/// An extension that nobody knows, and that must not be passed over.
pub(super) fn odd_extension() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

/// The authority information access that names where the issuer's certificate can be fetched.
pub(super) fn issuer_url() -> CustomExtension {
    let url = b"http://ca.test/ca.crt";
    let oid = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
    let mut access = oid.to_vec();
    access.extend([0x86, url.len() as u8]);
    access.extend(url);
    let mut content = vec![0x30, access.len() as u8 + 2, 0x30, access.len() as u8];
    content.extend(access);
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

/// Signed by itself.
pub(super) fn alone(params: CertificateParams) -> Made {
    let key = KeyPair::generate().expect("ring makes keys");
    let der = params.self_signed(&key).expect("test parameters can be signed").der().clone();
    Made { der, key, params }
}

impl Made {
    /// Signed by this one.
    pub(super) fn issue(&self, params: CertificateParams) -> Made {
        let key = KeyPair::generate().expect("ring makes keys");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params.signed_by(&key, &issuer).expect("test parameters can be signed").der().clone();
        Made { der, key, params }
    }

    /// The key as a server takes it.
    pub(super) fn server_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("rcgen writes PKCS 8")
    }

    /// PEM.
    pub(super) fn pem(&self) -> String {
        pem(std::slice::from_ref(&self.der))
    }
}

/// PEM of several.
pub(super) fn pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates
        .iter()
        .map(|der| {
            let encoded = openssl_base64(der);
            format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n")
        })
        .collect()
}

/// Base64 in lines of 64.
fn openssl_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for (position, group) in bytes.chunks(3).enumerate() {
        if position > 0 && position % 16 == 0 {
            encoded.push('\n');
        }
        let value = u32::from(group[0]) << 16
            | u32::from(*group.get(1).unwrap_or(&0)) << 8
            | u32::from(*group.get(2).unwrap_or(&0));
        for sextet in 0..4 {
            let is_padding = sextet > group.len();
            let index = (value >> (18 - 6 * sextet)) & 63;
            encoded.push(if is_padding { '=' } else { ALPHABET[index as usize] as char });
        }
    }
    encoded
}

/// What the scripts below share: `root KEY [OPTION…]` makes a self-signed authority, `leaf [OPTION…]` a certificate
/// for registry.test signed by it.
const SHELL: &str = r#"
exec >/dev/null 2>&1
root() { openssl req -x509 -nodes -keyout root.key -out root.pem -subj '/CN=Odd Root' -days 30 "$@"; }
leaf() {
  printf 'subjectAltName=DNS:registry.test\n' >ext
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -subj '/CN=registry.test' -out leaf.csr
  openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -days 10 -out leaf.pem -extfile ext "$@"
}
EC521='-newkey ec -pkeyopt ec_paramgen_curve:P-521'
EC256='-newkey ec -pkeyopt ec_paramgen_curve:P-256'
"#;

/// Runs `script` in `place` with the functions above; it leaves `leaf.pem`, `leaf.key` and `root.pem` there.
pub(super) fn openssl(place: &Path, script: &str) {
    let status = Command::new("sh")
        .args(["-ec", &format!("{SHELL}\n{script}")])
        .current_dir(place)
        .status()
        .expect("there is a shell");
    assert!(status.success(), "the openssl command is needed, and failed here: {script}");
}

/// The certificates of a PEM file.
pub(super) fn read(path: &Path) -> Vec<CertificateDer<'static>> {
    let pem = std::fs::read(path).expect("the script wrote it");
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().expect("openssl writes PEM")
}

/// `openssl s_server` with the files in `place`, ended when dropped.
pub(super) struct OpensslServer {
    child: Child,
    pub(super) at: SocketAddr,
    place: tempfile::TempDir,
    /// Held open, or the server dies of what it says.
    said: BufReader<ChildStdout>,
}

impl OpensslServer {
    /// Makes the certificates by the script `make`, and serves them.
    pub(super) fn serve(make: &str, options: &[&str]) -> OpensslServer {
        let place = tempfile::tempdir().expect("there is room for a test");
        openssl(place.path(), make);
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "leaf.pem", "-key", "leaf.key"])
            .args(options)
            .current_dir(place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the openssl command is needed");
        let said = child.stdout.take().unwrap();
        let mut server =
            OpensslServer { child, at: ([127, 0, 0, 1], 0).into(), place, said: BufReader::new(said) };
        let mut line = String::new();
        while !line.starts_with("ACCEPT") {
            line.clear();
            assert_ne!(server.said.read_line(&mut line).unwrap(), 0, "openssl s_server does not listen");
        }
        server.at = line.trim_start_matches("ACCEPT").trim().parse().unwrap();
        server
    }

    /// The root, PEM.
    pub(super) fn root(&self) -> Vec<u8> {
        std::fs::read(self.place.path().join("root.pem")).expect("the script wrote it")
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
