//! `pullscope explain`: one pod's pull trouble, with the reader's kubeconfig or inside the agent's pod.

mod gather;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use pullscope::explain::explain;
use pullscope::model::Status;
use pullscope::workloads::{Access, Api, NoAccess};

use super::{FAILING, Output, UNDECIDED, block_on, complain, print, unprinted, usage};
use gather::Stopped;

/// The options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The pod's name.
    pod: String,
    /// Its namespace; else that of the kubeconfig's context.
    #[arg(short, long)]
    namespace: Option<String>,
    /// The kubeconfig; else $KUBECONFIG, else ~/.kube/config, else the service account of the pod that this runs in.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context; else its current one.
    #[arg(long)]
    context: Option<String>,
    /// Where the agent of the pod's node is (`http://NODE:9707`); else it is looked for.
    #[arg(long, value_name = "URL")]
    agent_url: Option<String>,
    /// The namespace that the agents run in.
    #[arg(long, value_name = "NAMESPACE", default_value = "pullscope")]
    agent_namespace: String,
    /// For people (80 columns), or JSON.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Gathers what there is to know of the pod, and says what it comes to.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let names = [Some(&arguments.pod), arguments.namespace.as_ref(), Some(&arguments.agent_namespace)];
    if let Some(bad) = names.into_iter().flatten().find(|name| !gather::is_name(name)) {
        return usage(&format!("{bad:?} is no name of Kubernetes: lower-case letters, digits, `-` and `.`"));
    }
    let api = match api(arguments) {
        Ok(api) => api,
        Err(why) => return usage(&why),
    };
    let namespace = arguments.namespace.as_deref().unwrap_or(match api.namespace() {
        "" => "default",
        named => named,
    });
    let sought = gather::Sought {
        namespace,
        pod: &arguments.pod,
        agent_url: arguments.agent_url.as_deref(),
        agent_namespace: &arguments.agent_namespace,
        now: SystemTime::now(),
    };
    let facts = match block_on(gather::gather(&api, &sought)) {
        Ok(Ok(facts)) => facts,
        Ok(Err(Stopped::NoSuchPod(why))) => return usage(&why),
        Ok(Err(Stopped::Undecided(why))) => return undecided(&why),
        Err(error) => return undecided(&format!("cannot start: {error}")),
    };
    let told = explain(&facts);
    let code = match told.status {
        Status::Failing => ExitCode::from(FAILING),
        Status::Healthy | Status::Degraded | Status::Unknown => ExitCode::SUCCESS,
    };
    let shown = match arguments.output {
        Output::Text => told.text(),
        Output::Json => told.json(),
    };
    match print(&shown) {
        Ok(()) => code,
        Err(error) => unprinted(&error, code, UNDECIDED),
    }
}

/// # Errors
/// A sentence: it is the command line or a file that is wrong.
fn api(arguments: &Arguments) -> Result<Api, String> {
    let env = |name: &str| std::env::var(name).ok();
    let access = Access::of_user(arguments.kubeconfig.as_deref(), arguments.context.as_deref(), &env);
    let access = access.map_err(|why| match why {
        NoAccess::Nowhere => {
            "there is no cluster to ask: name a kubeconfig (--kubeconfig), or run it inside the agent's pod"
                .to_owned()
        }
        NoAccess::Broken(why) => why,
    })?;
    Api::new(access, Path::new("/etc/resolv.conf"))
}

fn undecided(why: &str) -> ExitCode {
    complain(&format!("pullscope: {}", pullscope::model::text::clean(why, 1024)));
    ExitCode::from(UNDECIDED)
}
