//! What a good file becomes. Bad files have a folder of their own: `agent/tests/config/bad`.

use super::*;

/// A folder with nothing in it.
fn nothing(_: &Path) -> io::Result<Vec<u8>> {
    Err(io::Error::from(io::ErrorKind::NotFound))
}

fn read(text: &str) -> Config {
    load(text, &nothing).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(text: &str) -> Vec<String> {
    match load(text, &nothing) {
        Ok(config) => panic!("was read as {config:?}"),
        Err(problems) => problems.iter().map(Problem::to_string).collect(),
    }
}

fn names(config: &Config) -> Vec<&str> {
    config.registries.iter().map(|registry| registry.name.as_str()).collect()
}

#[test]
fn the_default_text_means_the_same_as_an_empty_file() {
    assert_eq!(read(default_text()), read(""));
}

#[test]
fn an_empty_file_has_the_defaults_of_the_contract() {
    for text in
        ["", "\n# only a comment\n", "---\n", "null", "{}", "\u{feff}", "registries: []", "pull:\ndisk:\n"]
    {
        let config = read(text);
        assert_eq!(config.listen, SocketAddr::from(([0, 0, 0, 0], 9707)));
        assert_eq!((config.interval, config.timeout), (Duration::from_secs(60), Duration::from_secs(10)));
        assert_eq!(config.resolv_conf, Path::new("/etc/resolv.conf"));
        assert_eq!(config.containerd.socket, Path::new("/run/containerd/containerd.sock"));
        assert_eq!(config.containerd.config_path, None);
        assert_eq!(config.pull.via, Via::Auto);
        assert_eq!(config.pull.interval, Duration::from_secs(1800));
        assert_eq!(config.pull.timeout, Duration::from_secs(120));
        assert_eq!(config.pull.stall_timeout, Duration::from_secs(30));
        assert_eq!(config.pull.min_bytes_per_second, 0);
        assert_eq!((config.pull.fleet_size, config.pull.fleet_pulls_per_hour), (1, 60));
        assert_eq!((config.disk.warn_free_percent, config.disk.fail_free_percent), (15.0, 5.0));
        let workloads = Workloads { watch: true, kubeconfig: None, max_series: 200, events: false };
        assert_eq!(config.workloads, workloads);
        assert_eq!(names(&config), ["docker.io", "registry.k8s.io"]);
        assert!(config.discover);
        let image = config.registries[0].image.as_ref().unwrap();
        assert_eq!(image.reference, "docker.io/library/hello-world:latest");
        assert_eq!((image.repository.as_str(), image.target.as_str()), ("library/hello-world", "latest"));
    }
}

#[test]
fn every_key_is_read() {
    let text = "\
node: worker-1
listen: '[::1]:1'
interval: 2m30s
timeout: 500ms
resolv_conf: /a
containerd: {socket: /b, config_path: /c, config: /d}
pull: {via: off, interval: 1h, timeout: 5m, stall_timeout: 9s, min_bytes_per_second: 7, fleet_size: 20, fleet_pulls_per_hour: 3}
disk: {warn_free_percent: 20.5, fail_free_percent: 0}
workloads: {watch: off, kubeconfig: /e, max_series: 0, events: true}
registries:
- name: localhost:5000
  image: localhost:5000/a/b:c
  plain_http: true
";
    let config = read(text);
    assert_eq!(config.node, "worker-1");
    assert_eq!(config.listen.to_string(), "[::1]:1");
    assert_eq!((config.interval, config.timeout), (Duration::from_secs(150), Duration::from_millis(500)));
    assert_eq!(config.resolv_conf, Path::new("/a"));
    assert_eq!(config.containerd.socket, Path::new("/b"));
    assert_eq!(config.containerd.config_path.as_deref(), Some(Path::new("/c")));
    assert_eq!(config.containerd.config, Path::new("/d"));
    let pull = Pull {
        via: Via::Off,
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(300),
        stall_timeout: Duration::from_secs(9),
        min_bytes_per_second: 7,
        fleet_size: 20,
        fleet_pulls_per_hour: 3,
    };
    assert_eq!(config.pull, pull);
    assert_eq!(config.disk, DiskLimits { warn_free_percent: 20.5, fail_free_percent: 0.0 });
    let kubeconfig = Some(PathBuf::from("/e"));
    assert_eq!(config.workloads, Workloads { watch: false, kubeconfig, max_series: 0, events: true });
    assert!(!config.discover, "an explicit list stays what it is");
    let registry = &config.registries[0];
    assert_eq!(registry.image.as_ref().unwrap().target, "c");
    assert!(registry.plain_http);
}

#[test]
fn a_timeout_that_is_left_out_gives_way_to_a_short_interval() {
    assert_eq!(read("interval: 10s").timeout, Duration::from_secs(10));
    assert_eq!(read("interval: 2s").timeout, Duration::from_secs(2));
    assert_eq!(read("interval: 10s\ntimeout: 10s").timeout, Duration::from_secs(10));
    assert_eq!(read("pull: {interval: 1m}").pull.timeout, Duration::from_secs(30));
    assert_eq!(read("pull: {interval: 1s}").pull.timeout, Duration::from_millis(500));
    assert_eq!(read("pull: {interval: 5m}").pull.timeout, Duration::from_secs(120));
}

#[test]
fn a_known_registry_has_its_default_image_and_another_has_none() {
    let config =
        read("registries: [{name: index.docker.io}, {name: quay.io}, {name: registry.k8s.io, image: ''}]");
    assert_eq!(names(&config), ["docker.io", "quay.io", "registry.k8s.io"]);
    let images: Vec<Option<&str>> = config
        .registries
        .iter()
        .map(|registry| registry.image.as_ref().map(|image| image.reference.as_str()))
        .collect();
    assert_eq!(images, [Some("docker.io/library/hello-world:latest"), None, None]);
}

#[test]
fn the_docker_config_is_read_with_its_notes() {
    let files = |path: &Path| match path.to_str() {
        Some("/auth.json") => Ok(br#"{"auths":{
            "https://index.docker.io/v1/": {"username":"hub","password":"hunter22"},
            "quay.io": {}
        }}"#
        .to_vec()),
        _ => nothing(path),
    };
    let config = load("credentials: {docker_config: /auth.json}", &files).unwrap();
    let found = config.keyring.lookup(&RegistryName::new("docker.io"), Some("library/hello-world"));
    assert_eq!(found.len(), 1);
    assert_eq!(config.keyring.notes(), ["`auths[quay.io]` is empty and is ignored"]);
    assert!(!format!("{config:?}").contains("hunter22"), "Debug shows a password");
    assert_eq!(config.plugins, None);
}

/// A kubelet's file, named by `keys` of ours.
fn with_providers(file: &str, keys: &str) -> Result<Config, Vec<String>> {
    let files = |path: &Path| match path.to_str() {
        Some("/kubelet.yaml") => Ok(file.as_bytes().to_vec()),
        _ => nothing(path),
    };
    load(&format!("credentials: {{{keys}}}"), &files)
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

#[test]
fn the_kubelets_plugins_are_read() {
    let file = "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n\
                - {name: p, matchImages: [a.lan], defaultCacheDuration: 1m, env: [{name: K, value: hunter22}],\n\
                \x20  apiVersion: credentialprovider.kubelet.k8s.io/v1}\n";
    let both = "provider_config: /kubelet.yaml, provider_bin_dir: /opt/plugins";
    let config = with_providers(file, both).unwrap();
    assert!(!format!("{config:?}").contains("hunter22"), "Debug shows a secret");
    let plugins = config.plugins.unwrap();
    assert_eq!((plugins.bin_dir.as_path(), plugins.config.providers.len()), (Path::new("/opt/plugins"), 1));
    assert_eq!(
        with_providers(&file.replace("1m", "soon"), both).unwrap_err(),
        ["1: credentials.provider_config: `/kubelet.yaml`: line 4: providers[0].defaultCacheDuration: \
          is not a duration: write 12h"]
    );
}

#[test]
fn plugins_need_their_file_and_their_folder() {
    for (keys, expect) in [
        (
            "provider_config: /kubelet.yaml",
            "provider_config: is of no use alone: set credentials.provider_bin_dir as well",
        ),
        (
            "provider_bin_dir: /x",
            "provider_bin_dir: is of no use alone: set credentials.provider_config as well",
        ),
        ("provider_bin_dir: x, provider_config: /kubelet.yaml", "provider_bin_dir: must be an absolute path"),
    ] {
        let told = with_providers("", keys).unwrap_err();
        assert!(told.iter().any(|line| line.ends_with(expect)), "{told:?}");
    }
}

#[test]
fn a_target_given_by_hand_takes_what_the_file_says_of_its_registry() {
    let config = read("registries: [{name: quay.io, image: quay.io/a/b:c, plain_http: true}]");
    let target = |text: &str| config.target(&Target::parse(text).unwrap());
    let image = |registry: &Registry| registry.image.as_ref().map(|image| image.reference.clone());

    assert_eq!(target("quay.io"), config.registries[0]);

    let other = target("quay.io/org/app:1");
    assert!(other.plain_http, "what the file says of the registry holds for the image");
    assert_eq!(image(&other).as_deref(), Some("quay.io/org/app:1"));

    let unknown = target("ghcr.io");
    assert_eq!((unknown.name.as_str(), image(&unknown)), ("ghcr.io", None));
    assert_eq!(image(&target("docker.io")).as_deref(), Some("docker.io/library/hello-world:latest"));
}

#[test]
fn a_registry_that_was_found_has_an_image_to_ask_for_and_none_to_pull() {
    let config = read("");
    let sample = crate::model::ImageReference::parse("a.test/org/app:1").unwrap();
    let used =
        Used { name: sample.registry.clone(), why: crate::containerd::Why::Images(1), sample: Some(sample) };
    let registry = Config::found(&used);
    assert_eq!(registry.image.as_ref().map(|image| image.repository.as_str()), Some("org/app"));
    assert_eq!(registry.test_image(), None);
    assert!(config.registries[0].test_image().is_some());
}

#[test]
fn a_word_with_dots_is_no_number() {
    assert_eq!(names(&read("registries: [{name: 10.0.0.5:5000}]")), ["10.0.0.5:5000"]);
    assert_eq!(names(&read("registries: [{name: '[::1]:5000'}]")), ["[::1]:5000"]);
    assert_eq!(read("node: '42'").node, "42");
}

#[test]
fn windows_line_ends_are_read() {
    let text = default_text().replace('\n', "\r\n");
    assert_eq!(read(&text), read(""));
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_refused() {
    let text = format!("# {}", "x".repeat(MAX_BYTES));
    assert_eq!(problems(&text), ["1: is larger than 1048576 bytes"]);
}

#[test]
fn at_most_500_registries_are_watched() {
    let list = |count: usize| {
        (0..count).fold("registries:\n".to_owned(), |text, i| format!("{text}- name: r{i}.lan\n"))
    };
    assert_eq!(read(&list(500)).registries.len(), 500);
    assert_eq!(problems(&list(501)), ["1: registries: names 501 registries; at most 500 can be watched"]);
}

#[test]
fn problems_beyond_a_thousand_are_counted() {
    let text = (0..1500).fold(String::new(), |text, i| format!("{text}zzzzzzzz{i}: 1\n"));
    let problems = problems(&text);
    assert_eq!(problems.len(), 1001);
    assert_eq!(problems[1000], "1000: there are 500 more problems");
}

#[test]
fn a_problem_is_shown_with_the_file_and_line() {
    let problem = load("node: a\ntimeout: 5", &nothing).unwrap_err().remove(0);
    assert_eq!(
        problem.in_file("config.yaml"),
        "config.yaml:2: timeout: needs a unit: write 5s for 5 seconds"
    );
}

#[test]
fn bytes_that_are_no_text_are_told_by_their_line() {
    let problems = load_bytes(b"node: a\nlisten: \xff\n", &nothing).unwrap_err();
    assert_eq!(problems, [Problem::new("", 2, "is not text in UTF-8")]);
    assert_eq!(load_bytes(b"node: a", &nothing).unwrap().node, "a");
}

#[test]
fn no_text_makes_the_reader_panic_or_hang() {
    let whole = default_text();
    // Without its comments the text is short enough to break it everywhere.
    let lines: Vec<&str> = whole.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let text = lines.join("\n");
    let mut bad = 0;
    // Every third place: the whole takes seconds otherwise.
    for (at, _) in text.char_indices().step_by(3) {
        bad += usize::from(load(&text[..at], &nothing).is_err());
        for rubbish in [
            "\t", "\0", "[", "]", "{", "}", "\"", "'", "&a ", "*a", "!", "|", ">", "?", "- ", ": ", "%", "ä",
            "\n---\n", "\n...\n", "#", ",", "\u{feff}", "\r", "@", "`",
        ] {
            let broken = format!("{}{rubbish}{}", &text[..at], &text[at..]);
            bad += usize::from(load(&broken, &nothing).is_err());
        }
        let without = format!("{}{}", &text[..at], text[at..].chars().skip(1).collect::<String>());
        bad += usize::from(load(&without, &nothing).is_err());
    }
    assert!(bad > 500, "only {bad} broken texts were found out");
}

#[test]
fn a_config_path_may_name_several_folders() {
    let config = read("containerd: {config_path: '/a::/b/c'}");
    assert_eq!(config.containerd.config_path_folders(), [Path::new("/a"), Path::new("/b/c")]);
    assert!(read("").containerd.config_path_folders().is_empty());
    assert_eq!(
        problems("containerd: {config_path: '/a:b'}"),
        ["1: containerd.config_path: must be an absolute path"]
    );
}

#[test]
fn a_proxy_is_read_and_its_password_kept() {
    let config = read("registries: [{name: quay.io, proxy: 'socks5://me:hunter2@proxy.corp'}]");
    let proxy = config.registries[0].proxy.as_ref().expect("one is given");
    assert_eq!(proxy.to_string(), "socks5://proxy.corp:1080");
    assert_eq!(proxy.user.as_ref().map(|user| user.password.expose()), Some("hunter2"));
    assert_eq!(proxy.told, "`proxy` of this agent's configuration");
    assert!(!format!("{config:?}").contains("hunter2"));
}
