//! The scrape configurations of `deploy/`, with files of targets where Kubernetes is asked.

use crate::Fallible;

/// `deploy/prometheus/scrape.yaml`, asking a file.
pub fn plain(scrape: &str, file: &str) -> Fallible<String> {
    let kubernetes = "kubernetes_sd_configs:\n      - role: pod\n";
    let asking = scrape.replace(kubernetes, &files(file)).replace("interval: 60s", "interval: 2s");
    let (_, jobs) = asking.split_once("scrape_configs:\n").ok_or("no scrape_configs")?;
    if !asking.contains("file_sd_configs") {
        return Err("scrape.yaml asks otherwise than it did".into());
    }
    Ok(jobs.to_owned())
}

/// What the operator makes of the PodMonitor: its own labels come first (the container, namespace and pod, the job by the
/// `jobLabel`, the port as `endpoint`), then the object's relabelings.
pub fn of_pod_monitor(monitor: &str, file: &str) -> Fallible<String> {
    let (_, relabelings) = monitor.split_once("      relabelings:\n").ok_or("no relabelings")?;
    for word in ["jobLabel: app.kubernetes.io/name", "honorLabels: true"] {
        if !monitor.contains(word) {
            return Err(format!("the PodMonitor has no {word}").into());
        }
    }
    let from = |label: &str, target: &str| {
        format!("        - source_labels: [__meta_kubernetes_{label}]\n          target_label: {target}\n")
    };
    let own: String = [
        from("pod_container_name", "container"),
        from("namespace", "namespace"),
        from("pod_name", "pod"),
        "        - target_label: job\n          replacement: pullscope/pullscope\n".to_owned(),
        from("pod_label_app_kubernetes_io_name", "job") + "          regex: (.+)\n",
        "        - target_label: endpoint\n          replacement: http\n".to_owned(),
    ]
    .concat();
    let theirs = relabelings.replace("sourceLabels", "source_labels").replace("targetLabel", "target_label");
    Ok(format!(
        "  - job_name: podMonitor/pullscope/pullscope/0\n    honor_labels: true\n    scrape_interval: 2s\n    {}    \
         relabel_configs:\n{own}{theirs}",
        files(file)
    ))
}

fn files(file: &str) -> String {
    format!("file_sd_configs:\n      - files: [{file}]\n        refresh_interval: 1s\n")
}
