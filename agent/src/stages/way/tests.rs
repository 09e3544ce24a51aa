//! Real files, and what is said of them.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::containerd::Generation;

/// A folder of `config_path` with one registry's hosts.toml.
fn certs(text: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("reg.test")).unwrap();
    fs::write(dir.path().join("reg.test/hosts.toml"), text).unwrap();
    dir
}

fn told(root: &Path) -> Told {
    Told {
        generation: Generation::V2,
        config_path: vec![root.to_owned()],
        from: "/etc/containerd/config.toml".to_owned(),
        ..Told::default()
    }
}

fn way(root: &Path) -> Checked<Way> {
    find(&RegistryName::new("reg.test"), &told(root), false, None)
}

#[test]
fn a_mirror_is_found_and_the_file_named() {
    let dir = certs("[host.\"https://ma.test\"]\n");
    let pass = way(dir.path()).unwrap();
    assert_eq!(pass.product.endpoints.len(), 2);
    assert_eq!(pass.warning, None);
    assert_eq!(pass.seen.detail, format!("2 endpoints by {}/reg.test/hosts.toml", dir.path().display()));
}

#[test]
fn without_a_folder_the_place_is_where_containerd_was_told_so() {
    let dir = TempDir::new().unwrap();
    assert_eq!(way(dir.path()).unwrap().seen.detail, "1 endpoint by /etc/containerd/config.toml");
    let gone = dir.path().join("certs.d");
    assert_eq!(way(&gone).unwrap().product.endpoints.len(), 1);
}

#[test]
fn a_ca_file_that_is_missing_fails_with_its_line() {
    let dir = certs("[host.\"https://ma.test\"]\nca = \"no.pem\"\n");
    let Err(Stop::Failed(finding, _)) = way(dir.path()) else { panic!("it is missing") };
    let hosts = dir.path().join("reg.test/hosts.toml");
    assert_eq!(finding.place, hosts.to_string_lossy());
    assert!(
        finding.text.starts_with("reg.test/hosts.toml, line 2: containerd cannot use the CA file"),
        "{}",
        finding.text
    );
    assert!(finding.text.ends_with("no such file or directory"), "{}", finding.text);
    assert_eq!(finding.cause.label(), "runtime_config");
}

#[test]
fn a_file_that_is_ignored_is_a_warning() {
    let dir = certs("[host.\"https://ma.test\"]\ncapabilities = [\"fly\"]\n");
    let warning = way(dir.path()).unwrap().warning.unwrap();
    assert!(
        warning.text.starts_with("reg.test/hosts.toml, line 2: containerd ignores this whole file"),
        "{}",
        warning.text
    );
    assert!(warning.text.ends_with("unknown capability fly"), "{}", warning.text);
}

#[test]
fn a_certificate_that_nobody_looks_at_is_a_warning_but_not_on_this_node() {
    let dir = certs("[host.\"https://ma.test\"]\nskip_verify = true\n");
    let warning = way(dir.path()).unwrap().warning.unwrap();
    assert!(warning.text.contains("the certificate of https://ma.test"), "{}", warning.text);
    let local = find(&RegistryName::new("localhost:5000"), &told(dir.path()), false, None).unwrap();
    assert!(local.product.endpoints[0].secured.skip_verify && local.warning.is_none());
}

#[test]
fn what_is_not_mounted_here_is_undecided() {
    let dir = TempDir::new().unwrap();
    let Err(Stop::Undecided(why, _)) = way(&dir.path().join("etc/certs.d")) else {
        panic!("it cannot be seen")
    };
    assert!(why.ends_with("neither it nor its folder is mounted here"), "{why}");
    let dir = certs("[host.\"https://ma.test\"]\nca = \"/not/mounted/ca.pem\"\n");
    let Err(Stop::Undecided(why, _)) = way(dir.path()) else { panic!("it cannot be seen") };
    assert!(why.starts_with("/not/mounted/ca.pem cannot be read by this agent"), "{why}");
}

#[test]
fn a_list_that_is_taken_for_one_folder_is_not_there() {
    let dir = certs("[host.\"https://ma.test\"]\n");
    let list = format!("{0}:{0}/b", dir.path().display());
    let pass = way(Path::new(&list)).unwrap();
    assert_eq!(pass.product.endpoints.len(), 1);
    assert!(pass.warning.unwrap().text.contains("for the name of one folder"));
    let pass = way(Path::new("/not/mounted:/not/either")).unwrap();
    assert_eq!((pass.product.endpoints.len(), pass.warning), (1, None));
}

#[test]
fn through_containerds_process_what_is_missing_is_missing() {
    let dir = certs("[host.\"https://ma.test\"]\nca = \"/not/there/ca.pem\"\n");
    let own = Some(std::process::id());
    let found = find(&RegistryName::new("reg.test"), &told(dir.path()), false, own);
    assert!(matches!(found, Err(Stop::Failed(..))), "{found:?}");
}

#[test]
fn neither_a_pipe_nor_a_huge_file_holds_it_up() {
    let dir = certs("");
    let path = dir.path().join("reg.test/hosts.toml");
    fs::remove_file(&path).unwrap();
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    assert!(matches!(way(dir.path()), Err(Stop::Undecided(why, _)) if why.contains("it is a pipe")));
    fs::remove_file(&path).unwrap();
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(way(dir.path()), Err(Stop::Undecided(why, _)) if why.contains("larger than")));
}

#[test]
fn a_folder_where_a_file_should_be_is_told() {
    let dir = certs("");
    fs::remove_file(dir.path().join("reg.test/hosts.toml")).unwrap();
    fs::create_dir(dir.path().join("reg.test/hosts.toml")).unwrap();
    let Err(Stop::Failed(finding, _)) = way(dir.path()) else { panic!("it is a folder") };
    assert!(finding.text.ends_with("is a directory"), "{}", finding.text);
}

#[test]
fn lint_sees_every_folder() {
    let dir = certs("[");
    fs::create_dir(dir.path().join("other.test")).unwrap();
    fs::write(dir.path().join("other.test/hosts.yaml.toml"), "").unwrap();
    let faults = lint(&told(dir.path()), None).unwrap();
    assert_eq!(faults.len(), 2);
    assert!(finding(&faults[1]).text.starts_with("reg.test/hosts.toml, line 1: "), "{:?}", faults[1]);
    assert!(lint(&told(Path::new("/not/mounted")), None).is_err());
}

#[test]
fn the_folders_of_config_path_are_listed_and_its_files_are_not() {
    let (one, other) = (certs(""), certs(""));
    fs::write(one.path().join("file.test"), "").unwrap();
    let config_path = vec![one.path().to_owned(), "/nonexistent".into(), other.path().to_owned()];
    let listed = folders(&Told { config_path, ..Told::default() }, None);
    assert_eq!(listed, [one.path().join("reg.test"), other.path().join("reg.test")]);
    assert_eq!(folders(&Told::default(), None), Vec::<PathBuf>::new());
}
