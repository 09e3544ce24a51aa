//! Pods of this node whose images do not come: what the kubelet says of each container, and what this node saw when it
//! asked for that very image.

use std::sync::Arc;

use super::{Cause, Domain, Evidence, Finding, ImageReference, Moment, RegistryName};

/// The most failing containers that are told of one node; more are counted. A kubelet runs 110 pods by default, and
/// some hundreds where it is told to.
pub const MAX_TROUBLES: usize = 2_000;

/// Which of a pod's lists a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerKind {
    /// Runs to its end before the others begin.
    Init,
    /// One that the pod is for.
    Main,
    /// Put into a running pod by `kubectl debug`.
    Ephemeral,
}

impl ContainerKind {
    /// The word for it.
    pub const fn label(self) -> &'static str {
        match self {
            ContainerKind::Init => "init",
            ContainerKind::Main => "container",
            ContainerKind::Ephemeral => "ephemeral",
        }
    }
}

/// One row a reason: the variant and the kubelet's word.
macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident;)+) => {
        /// Why a container waits for its image, in the kubelet's words (`pkg/kubelet/images/types.go` and
        /// `pkg/kubelet/kuberuntime`, Kubernetes 1.20 to 1.37).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum WaitingReason {
            $($(#[$doc])* $variant,)+
        }

        impl WaitingReason {
            /// Every reason.
            pub const ALL: &'static [WaitingReason] = &[$(WaitingReason::$variant,)+];

            /// The kubelet's word.
            pub const fn label(self) -> &'static str {
                match self {
                    $(WaitingReason::$variant => stringify!($variant),)+
                }
            }
        }
    };
}

reasons! {
    /// A pull failed just now; the message is the runtime's.
    ErrImagePull;
    /// A pull failed before and is not tried yet; up to Kubernetes 1.31 without the error.
    ImagePullBackOff;
    /// The image line cannot be read.
    InvalidImageName;
    /// Pulling is forbidden, and the image is not on the node.
    ErrImageNeverPull;
    /// The runtime could not reach the registry.
    RegistryUnavailable;
    /// The image's signature was refused.
    SignatureValidationFailed;
    /// The runtime could not say whether the image is there.
    ImageInspectError;
    /// The container could not be made; only that of an image's fault is told here.
    CreateContainerError;
}

impl WaitingReason {
    /// The reason of this word, if it is about an image.
    pub fn of(word: &str) -> Option<WaitingReason> {
        WaitingReason::ALL.iter().copied().find(|reason| reason.label() == word)
    }

    /// What the reason alone settles: the kubelet itself has decided it, and no registry was asked.
    pub const fn settles(self) -> Option<Cause> {
        match self {
            WaitingReason::InvalidImageName => Some(Cause::InvalidReference),
            WaitingReason::ErrImageNeverPull => Some(Cause::NeverPull),
            WaitingReason::SignatureValidationFailed => Some(Cause::RejectedByPolicy),
            WaitingReason::ErrImagePull
            | WaitingReason::ImagePullBackOff
            | WaitingReason::RegistryUnavailable
            | WaitingReason::ImageInspectError
            | WaitingReason::CreateContainerError => None,
        }
    }
}

/// The last real error of a container, kept while the kubelet only says that it backs off.
#[derive(Clone, Debug, PartialEq)]
pub struct LastError {
    /// What its text was read as; its text is the error itself.
    pub finding: Finding,
    /// When it was first seen.
    pub at: Moment,
}

/// A container that waits for its image. Every text is bounded and safe to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid: a pod of the same name may be another.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// Which list it stands in.
    pub kind: ContainerKind,
    /// The image as it stands in the pod.
    pub image: String,
    /// The same, read; `None` where it cannot be.
    pub reference: Option<ImageReference>,
    /// Why it waits.
    pub reason: WaitingReason,
    /// What the kubelet says now.
    pub message: String,
    /// The last real error, if one was seen.
    pub last_error: Option<LastError>,
    /// When it was first seen to fail with this image.
    pub since: Moment,
}

impl Trouble {
    /// The registry in question, if the image can be read.
    pub fn registry(&self) -> Option<&RegistryName> {
        self.reference.as_ref().map(|reference| &reference.registry)
    }

    /// Whether only the kubelet and containerd could see what is wrong: they settle it, or the registry had been asked
    /// and had answered by then. A look at the registry adds nothing to it.
    pub fn is_beyond_the_registry(&self) -> bool {
        if self.reason.settles().is_some() {
            return true;
        }
        let Some(error) = &self.last_error else { return false };
        let cause = error.finding.cause;
        cause.domain() == Domain::Node
            || matches!(
                cause,
                Cause::KubeletThrottled
                    | Cause::PlatformMismatch
                    | Cause::UnsupportedManifest
                    | Cause::RejectedByPolicy
                    | Cause::NeverPull
                    | Cause::InvalidReference
                    | Cause::ContentInvalid
            )
    }
}

/// All containers of this node that wait for their images, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workloads {
    /// By namespace, pod and container; at most [`MAX_TROUBLES`].
    pub troubles: Vec<Arc<Trouble>>,
    /// How many more there are.
    pub left_out: usize,
    /// How many may have a series of their own in the metrics.
    pub max_series: usize,
}

/// What this node saw when it asked for one image on a pod's behalf.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The image.
    pub image: ImageReference,
    /// When the look ended.
    pub at: Moment,
    /// Where containerd would ask, and what each endpoint said.
    pub seen: Vec<Evidence>,
    /// Whether it was given to credentials of the node's own.
    pub had_credentials: bool,
}

/// The most bytes of what a pod is told (`maxLength` of an Event's message in the API's validation).
pub const MAX_NEWS: usize = 1024;

/// What a pod is told when the verdict on one of its containers changes.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Which container of which pod.
    pub of: Arc<Trouble>,
    /// Verdict and advice; bounded and safe to show.
    pub message: String,
    /// When.
    pub at: Moment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_known_by_the_kubelets_word_and_by_no_other() {
        assert_eq!(WaitingReason::of("ErrImagePull"), Some(WaitingReason::ErrImagePull));
        assert_eq!(
            WaitingReason::of("SignatureValidationFailed"),
            Some(WaitingReason::SignatureValidationFailed)
        );
        for other in
            ["ContainerCreating", "CrashLoopBackOff", "CreateContainerConfigError", "errimagepull", ""]
        {
            assert_eq!(WaitingReason::of(other), None, "{other}");
        }
    }
}
