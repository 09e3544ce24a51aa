//! What is checked on the cluster, in order, and how it is told.

use std::path::Path;
use std::time::Instant;

use super::cluster::{Cluster, Parts};
use super::install::{self, Deployment};
use super::troubles::Troubles;
use crate::Fallible;

/// What has been checked so far.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Checks one thing, tells the outcome on stderr with the time that it took, and returns whether it is well.
    pub(super) fn check(&mut self, what: &str, check: impl FnOnce() -> Fallible<()>) -> bool {
        let began = Instant::now();
        let outcome = check();
        let took = began.elapsed().as_secs_f32();
        match &outcome {
            Ok(()) => {
                self.passed += 1;
                eprintln!("ok    {took:6.1} s  {what}");
            }
            Err(error) => {
                self.failed += 1;
                eprintln!("FAILED{took:6.1} s  {what}\n{error}");
            }
        }
        outcome.is_ok()
    }

    /// How many were well, and how many were not.
    pub fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }
}

/// Starts a cluster, installs the agent from `deploy` with this static binary, and checks all of it. Must run in a
/// sandbox (`tools/sandbox`).
pub fn run(parts: &Parts, deploy: &Path, pullscope: &Path) -> Report {
    let mut report = Report::default();
    let mut ground = None;
    report.check("the cluster starts", || {
        let deployment = Deployment::copy(deploy, &parts.scratch.join("deploy"))?;
        ground = Some((deployment, Cluster::start(parts, |at| install::push_images(parts, pullscope, at))?));
        Ok(())
    });
    let Some((deployment, mut cluster)) = ground else { return report };
    let runs = report.check("kubectl apply: the DaemonSet becomes ready", || deployment.apply(&cluster, "1"));
    if runs {
        check_agent(&mut report, &mut cluster, &deployment, pullscope);
    }
    report.check("kubectl delete: nothing is left", || deployment.delete(&cluster, "2"));
    if report.failed > 0 {
        eprintln!("{}", cluster.logs());
    }
    report
}

fn check_agent(report: &mut Report, cluster: &mut Cluster, deployment: &Deployment, pullscope: &Path) {
    report.check("/health and /metrics answer at the node's address", || {
        install::answers_at_the_nodes_address(cluster)
    });
    report.check("RBAC suffices and not more", || install::rbac_suffices_and_not_more(cluster));
    Troubles { cluster, pullscope }.check(report);
    report.check("the agent stays within its limits", || install::stays_within_its_limits(cluster));
    report.check("a rolling update ends", || deployment.apply(cluster, "2"));
    report.check("the updated agent answers", || install::answers_at_the_nodes_address(cluster));
}
