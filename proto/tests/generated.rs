//! The committed Rust is what `proto/runtime.proto` says. `PULLSCOPE_BLESS=1` writes it anew.

use std::fs;
use std::path::Path;

const FILE: &str = "runtime.v1.rs";

#[test]
fn the_committed_rust_is_made_from_the_proto() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let descriptors = protox::compile(["runtime.proto"], [root.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .build_transport(false)
        // Their `Debug` is written by hand: they carry secrets.
        .skip_debug([".runtime.v1.AuthConfig", ".runtime.v1.StatusResponse"])
        .compile_fds(descriptors)
        .unwrap();

    let made = fs::read_to_string(out.path().join(FILE)).unwrap();
    let committed = root.join("src/generated").join(FILE);
    if std::env::var_os("PULLSCOPE_BLESS").is_some_and(|value| value == "1") {
        fs::write(&committed, &made).unwrap();
    }
    assert!(
        fs::read_to_string(&committed).unwrap() == made,
        "{} is not what proto/runtime.proto makes; run this test with PULLSCOPE_BLESS=1",
        committed.display()
    );
}

#[test]
fn a_password_does_not_show_in_debug() {
    use pullscope_proto::v1::{AuthConfig, PullImageRequest, StatusResponse};

    let auth =
        AuthConfig { username: "u".to_owned(), password: "hunter2".to_owned(), ..AuthConfig::default() };
    let request = PullImageRequest { image: None, auth: Some(auth) };
    assert!(!format!("{request:?}").contains("hunter2"));

    let info = [("config".to_owned(), r#"{"auths":"hunter2"}"#.to_owned())].into();
    let answer = format!("{:?}", StatusResponse { status: None, info });
    assert!(answer.contains("config") && !answer.contains("hunter2"), "{answer}");
}
