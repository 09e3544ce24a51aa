//! A real Kubernetes of one node with our `deploy/` on it: `./just test-kubernetes` runs it, in a sandbox.
//!   kubernetes PROGRAMS DEPLOY PULLSCOPE CGROUP

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use pullscope_tests::Fallible;
use pullscope_tests::kubernetes::checks;
use pullscope_tests::kubernetes::cluster::Parts;

fn main() -> Fallible<ExitCode> {
    let args: Vec<_> = env::args().skip(1).collect();
    let [programs, deploy, pullscope, cgroup] = &args[..] else {
        return Err("kubernetes PROGRAMS DEPLOY PULLSCOPE CGROUP".into());
    };
    let scratch = env::var_os("SCRATCH").ok_or("run `./just test-kubernetes`: it makes the sandbox")?;
    let began = Instant::now();
    let parts = Parts { programs: programs.into(), scratch: scratch.into(), cgroup: cgroup.clone() };
    let (passed, failed) = checks::run(&parts, Path::new(deploy), Path::new(pullscope)).counts();
    println!("kubernetes: {passed} passed, {failed} failed in {} s", began.elapsed().as_secs());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
