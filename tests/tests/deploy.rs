//! What is in `deploy/`, by the tools that a user has: kubectl's kustomize, Helm's SDK, promtool, and the schemas of every
//! Kubernetes from 1.25 on.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use pullscope_tests::world::process;
use serde_json::{Value, json};

/// The chart's distribution, and the folder that has the same.
const SAME: [(&str, &str); 5] = [
    ("stock", "deploy/base"),
    ("k3s", "deploy/overlays/k3s"),
    ("rke2", "deploy/overlays/rke2"),
    ("microk8s", "deploy/overlays/microk8s"),
    ("kind", "deploy/overlays/kind"),
];

/// A kustomization with all components.
const EVERYTHING: &str = "tests/deploy/everything";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn manifests(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(root().join("tools/manifests"))
        .args(args)
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Whether the tools are here; where they are not, that is printed, and in CI it is a failure.
fn is_ready() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(|| {
        let kubectl = Command::new(root().join("tools/kubectl")).output();
        let has_kubectl = kubectl.is_ok_and(|out| out.status.success());
        let has_packages = manifests(&["validate"], "[]").status.success();
        let ready = has_kubectl && has_packages && process::is_installed("promtool");
        if !ready {
            eprintln!("SKIPPED: needs kubectl, promtool and the packages of `tools/setup test`");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "cannot be skipped in CI");
        }
        ready
    })
}

fn objects(args: &[&str]) -> Vec<Value> {
    let out = manifests(args, "");
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn kustomize(folder: &str) -> Vec<Value> {
    objects(&["kustomize", folder])
}

fn helm(values: &Value) -> Vec<Value> {
    objects(&["helm", &values.to_string()])
}

fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let first = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    first
}

fn daemon_set(objects: &[Value]) -> &Value {
    &one(objects, "DaemonSet")["spec"]
}

fn faults(objects: &[Value]) -> String {
    let out = manifests(&["validate"], &json!(objects).to_string());
    let told = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.success(), told.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    told
}

fn config_text(objects: &[Value]) -> &str {
    one(objects, "ConfigMap")["data"]["config.yaml"].as_str().unwrap()
}

/// The configuration as the agent reads it; a secret file is as good as there.
fn config(text: &str) -> String {
    let read = |path: &Path| match path.to_string_lossy().contains("credentials") {
        true => Ok(b"{\"auths\": {}}".to_vec()),
        false => Err(io::ErrorKind::NotFound.into()),
    };
    let loaded = pullscope::config::load(text, &read);
    format!("{:?}", loaded.unwrap_or_else(|problems| panic!("{problems:?}\n{text}")))
}

/// Objects by kind and name, without what each of the two ways adds by its nature: hashes, and Helm's labels.
fn plain(objects: &[Value]) -> BTreeMap<String, Value> {
    let mut plain = BTreeMap::new();
    for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
        let mut object = object.clone();
        let labels = object["metadata"]["labels"].as_object_mut().unwrap();
        labels.retain(|name, _| name == "app.kubernetes.io/name");
        let kind = object["kind"].as_str().unwrap().to_owned();
        if kind == "ConfigMap" {
            object["metadata"]["name"] = json!("pullscope");
            object["data"]["config.yaml"] = json!(config(object["data"]["config.yaml"].as_str().unwrap()));
        }
        if kind == "DaemonSet" {
            let template = &mut object["spec"]["template"];
            template["metadata"]["annotations"].as_object_mut().unwrap().remove("checksum/config");
            let pod = &mut template["spec"];
            sort(&mut pod["volumes"], "name");
            sort(&mut pod["containers"][0]["volumeMounts"], "mountPath");
            for volume in pod["volumes"].as_array_mut().unwrap() {
                if volume["name"] == "configuration" {
                    volume["configMap"]["name"] = json!("pullscope");
                }
            }
        }
        plain.insert(format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap()), object);
    }
    plain
}

fn sort(list: &mut Value, key: &str) {
    list.as_array_mut().unwrap().sort_by_key(|entry| entry[key].as_str().unwrap().to_owned());
}

#[track_caller]
fn assert_same(chart: &[Value], folder: &[Value]) {
    let (chart, folder) = (plain(chart), plain(folder));
    assert_eq!(chart.keys().collect::<Vec<_>>(), folder.keys().collect::<Vec<_>>());
    for (name, object) in &chart {
        assert_eq!(
            serde_json::to_string_pretty(object).unwrap(),
            serde_json::to_string_pretty(&folder[name]).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn everything_is_valid_by_the_strict_schemas_of_each_kubernetes() {
    if !is_ready() {
        return;
    }
    let mut all: Vec<Value> = SAME.iter().flat_map(|(_, folder)| kustomize(folder)).collect();
    all.extend(kustomize(EVERYTHING));
    all.extend(helm(&json!({})));
    let kinds: Vec<_> = all.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    for kind in ["Namespace", "DaemonSet", "Service", "PodMonitor", "PrometheusRule"] {
        assert!(kinds.contains(&kind), "{kind}");
    }
    assert_eq!(faults(&all), "");
}

#[test]
fn an_unknown_kind_or_field_is_a_fault() {
    if !is_ready() {
        return;
    }
    let unknown = json!({"apiVersion": "apps/v1", "kind": "DeamonSet", "metadata": {"name": "a"}});
    let told = faults(&[unknown]);
    assert!(told.starts_with("DeamonSet/a by 1.25") && told.contains("Couldn't find schema"), "{told}");
    let field = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"clusterIp": "None"}});
    assert!(faults(&[field]).contains("'clusterIp' was unexpected"));
    let monitor = json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
        "metadata": {"name": "a", "namespace": "a", "labels": {}},
        "spec": {"selector": {}, "podMetricsEndpoints": [{"prot": "http"}]},
    });
    assert!(!faults(&[monitor]).is_empty());
}

#[test]
fn the_chart_has_the_same_content_as_the_base_and_each_overlay() {
    if !is_ready() {
        return;
    }
    for (distribution, folder) in SAME {
        assert_same(&helm(&json!({"distribution": distribution})), &kustomize(folder));
    }
}

#[test]
fn the_charts_values_have_the_same_content_as_the_components() {
    if !is_ready() {
        return;
    }
    let values = json!({
        "image": {"repository": "registry.example.com/platform/pullscope", "tag": "1.2.3"},
        "hostPID": true,
        "pki": true,
        "podMonitor": {"enabled": true},
        "prometheusRule": {"enabled": true},
        "credentialsSecret": "pullscope-credentials",
    });
    let (mut chart, mut folder) = (helm(&values), kustomize(EVERYTHING));
    // The user writes the keys for it; the chart knows them.
    let told = "docker_config: /etc/pullscope-credentials/config.json";
    assert!(config_text(&chart).contains(told), "{}", config_text(&chart));
    let is_other =
        |object: &Value| object["kind"] == "ConfigMap" || object["metadata"]["name"] == "pullscope-events";
    chart.retain(|object| !is_other(object));
    folder.retain(|object| !is_other(object));
    assert_same(&chart, &folder);
    // The Events: the same two objects.
    let events = |objects: Vec<Value>| {
        let of = |object: &Value| object["metadata"]["name"] == "pullscope-events";
        plain(&objects.into_iter().filter(of).collect::<Vec<_>>())
    };
    let chart = helm(&json!({"events": {"enabled": true}}));
    assert!(config_text(&chart).contains("workloads:\n  events: true"), "{}", config_text(&chart));
    assert_eq!(events(chart), events(kustomize(EVERYTHING)));
}

#[test]
fn a_value_that_the_chart_does_not_know_is_refused() {
    if !is_ready() {
        return;
    }
    for values in [
        json!({"imagePullSecret": []}),
        json!({"distribution": "k0s"}),
        json!({"hostPaths": [{"path": "/a"}]}),
    ] {
        let out = manifests(&["helm", &values.to_string()], "");
        assert!(!out.status.success(), "{values}: {}", String::from_utf8_lossy(&out.stdout));
    }
}

#[test]
fn another_release_is_another_set_of_objects() {
    if !is_ready() {
        return;
    }
    let second = objects(&["helm", "{}", "second"]);
    assert!(second.iter().all(|object| object["metadata"]["name"].as_str().unwrap().starts_with("second")));
    let instance = &daemon_set(&second)["selector"]["matchLabels"]["app.kubernetes.io/instance"];
    assert_eq!(instance, "second");
}

#[test]
fn a_changed_configuration_rolls_the_daemon_set() {
    if !is_ready() {
        return;
    }
    let named = |objects: &[Value]| {
        let volumes = daemon_set(objects)["template"]["spec"]["volumes"].as_array().unwrap().clone();
        let volume = volumes.into_iter().find(|volume| volume["name"] == "configuration").unwrap();
        volume["configMap"]["name"].as_str().unwrap().to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(root().join("deploy/base")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let before = kustomize(dir.path().to_str().unwrap());
    assert_eq!(named(&before), one(&before, "ConfigMap")["metadata"]["name"].as_str().unwrap());
    let file = dir.path().join("config.yaml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "interval: 30s\n").unwrap();
    assert_ne!(named(&kustomize(dir.path().to_str().unwrap())), named(&before));

    let sum = |values: Value| {
        let chart = helm(&values);
        let annotations = &daemon_set(&chart)["template"]["metadata"]["annotations"];
        annotations["checksum/config"].as_str().unwrap().to_owned()
    };
    assert_ne!(sum(json!({})), sum(json!({"config": {"interval": "30s"}})));
}

#[test]
fn the_daemon_set_takes_no_more_than_it_promises() {
    if !is_ready() {
        return;
    }
    for (_, folder) in SAME {
        let objects = kustomize(folder);
        let spec = daemon_set(&objects);
        let pod = &spec["template"]["spec"];
        let container = &pod["containers"][0];
        assert_eq!(
            container["resources"],
            json!({"requests": {"cpu": "5m", "memory": "24Mi"}, "limits": {"memory": "48Mi"}})
        );
        assert_eq!(
            container["securityContext"],
            json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}})
        );
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let is_root = ["k3s", "rke2", "microk8s"].iter().any(|name| folder.ends_with(name));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], !is_root, "{folder}");
        assert_eq!(pod["hostPID"], Value::Null);
        assert_eq!((&pod["hostNetwork"], &pod["dnsPolicy"]), (&json!(true), &json!("Default")));
        assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        assert_eq!(spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "10%");
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "{folder}");
        for volume in
            pod["volumes"].as_array().unwrap().iter().filter(|volume| volume["hostPath"].is_object())
        {
            // Anything else makes what is missing on the node.
            assert!(
                ["Directory", "File"].contains(&volume["hostPath"]["type"].as_str().unwrap()),
                "{volume}"
            );
            assert!(mounts.iter().any(|mount| mount["name"] == volume["name"]), "{volume}");
        }
    }
}

#[test]
fn the_api_server_is_asked_for_pods_and_nothing_else() {
    if !is_ready() {
        return;
    }
    for (_, folder) in SAME {
        let objects = kustomize(folder);
        let rules = &one(&objects, "ClusterRole")["rules"];
        assert_eq!(
            *rules,
            json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}])
        );
        let account = json!([{"kind": "ServiceAccount", "name": "pullscope", "namespace": "pullscope"}]);
        assert_eq!(one(&objects, "ClusterRoleBinding")["subjects"], account);
        assert!(!objects.iter().any(|object| object["kind"] == "Role"));
    }
}

#[test]
fn every_mount_says_what_it_is_for() {
    let text = fs::read_to_string(root().join("deploy/base/daemonset.yaml")).unwrap();
    let (_, volumes) = text.split_once("      volumes:\n").unwrap();
    let lines: Vec<_> = volumes.lines().collect();
    let mut found = 0;
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("        - name: ")) {
        found += 1;
        let is_own = line.ends_with("configuration");
        assert!(is_own || lines[at - 1].trim_start().starts_with('#'), "{line}");
    }
    assert_eq!(found, 7);
}

#[test]
fn the_image_is_pointed_at_a_private_registry() {
    if !is_ready() {
        return;
    }
    let objects = kustomize(EVERYTHING);
    let image = &daemon_set(&objects)["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "registry.example.com/platform/pullscope:1.2.3");
    let chart = helm(&json!({"imagePullSecrets": [{"name": "registry"}]}));
    assert_eq!(daemon_set(&chart)["template"]["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
}

#[test]
fn the_rules_of_the_operator_are_those_of_prometheus() {
    if !is_ready() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.yaml");
    for objects in [kustomize(EVERYTHING), helm(&json!({"prometheusRule": {"enabled": true}}))] {
        // JSON is YAML. The unit tests name the file beside them.
        fs::write(&rules, one(&objects, "PrometheusRule")["spec"].to_string()).unwrap();
        let tests = dir.path().join("tests.yaml");
        fs::copy(root().join("deploy/prometheus/tests.yaml"), &tests).unwrap();
        process::run("promtool", &["test", "rules", tests.to_str().unwrap()]).unwrap();
    }
}

#[test]
fn the_pod_monitor_labels_as_the_scrape_configuration_does() {
    if !is_ready() {
        return;
    }
    let objects = kustomize(EVERYTHING);
    let monitor = &one(&objects, "PodMonitor")["spec"];
    let endpoint = &monitor["podMetricsEndpoints"][0];
    assert_eq!(
        (&monitor["jobLabel"], &endpoint["honorLabels"]),
        (&json!("app.kubernetes.io/name"), &json!(true))
    );
    let scrape = fs::read_to_string(root().join("deploy/prometheus/scrape.yaml")).unwrap();
    assert!(scrape.contains("job_name: pullscope\n") && scrape.contains("honor_labels: true\n"), "{scrape}");
    for label in ["instance", "node"] {
        let rule = json!({"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": label});
        assert!(endpoint["relabelings"].as_array().unwrap().contains(&rule), "{endpoint}");
        let lines =
            format!("- source_labels: [__meta_kubernetes_pod_node_name]\n        target_label: {label}\n");
        assert!(scrape.contains(&lines), "{label}");
    }
}

#[test]
fn every_value_of_the_chart_is_documented_and_checked() {
    let read = |path: &str| fs::read_to_string(root().join("deploy").join(path)).unwrap();
    let schema: Value = serde_json::from_str(&read("helm/pullscope/values.schema.json")).unwrap();
    let (values, readme) = (read("helm/pullscope/values.yaml"), read("README.md"));
    let keys: Vec<_> = values
        .lines()
        .filter_map(|line| line.split_once(':').map(|(key, _)| key))
        .filter(|key| !key.is_empty() && key.chars().all(char::is_alphabetic))
        .collect();
    assert!(keys.len() > 15, "{keys:?}");
    for key in keys {
        assert!(schema["properties"][key].is_object(), "{key} is not in the schema");
        assert!(readme.contains(&format!("`{key}")), "{key} is not in deploy/README.md");
    }
}
