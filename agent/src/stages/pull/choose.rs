//! Which of containerd's services pulls, and why. Pure.
//!
//! - The CRI is the kubelet's own path: it reads all that the kubelet's pulls read (hosts.toml, the older tables of
//!   config.toml, the snapshotter), on every version. It keeps images in the pods' namespace, and of an image that is
//!   on the node it asks the manifest's HEAD and fetches nothing.
//! - Transfer puts the image into a namespace of our own, so nothing there is a pod's, and it can fetch another
//!   platform of an index where this node's is present. It says where it stands. On 1.7 it ignores hosts.toml, mirrors
//!   and CA files; on 2.x it reads those of the folder that the request names, as the CRI of 2.1 does, which pulls by it.
//!   It proves nothing of the CRI's older tables, nor of a snapshotter that it is not configured for.

use std::path::Path;

use crate::containerd::Generation;

/// Through which service the operator wants test pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The one that proves most on this containerd.
    #[default]
    Auto,
    /// The CRI.
    Cri,
    /// Transfer.
    Transfer,
}

/// One of containerd's services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Cri,
    Transfer,
}

impl Service {
    /// As reports and metrics name it.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Service::Cri => "cri",
            Service::Transfer => "transfer",
        }
    }
}

/// What is known of this containerd.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) generation: Generation,
    /// The CRI answers.
    pub(super) cri: bool,
    /// Transfer and the streams that it needs are there.
    pub(super) transfer: bool,
    /// The folder of hosts.toml, as the CRI has it.
    pub(super) host_dir: Option<&'a Path>,
    /// Whether the CRI itself pulls by Transfer.
    pub(super) pulls_by_transfer: Option<bool>,
    /// Whether the node has an image of this name: the CRI would fetch nothing.
    pub(super) present: bool,
}

/// The service, and why that one: words to stand after "by the CRI: " or "by Transfer: ".
pub(super) type Choice = (Service, &'static str);

/// Chooses; the error says why there is none to choose.
pub(super) fn choose(wanted: Wanted, facts: &Facts<'_>) -> Result<Choice, &'static str> {
    let asked_for = "pull.via asks for it";
    match wanted {
        Wanted::Cri if facts.cri => Ok((Service::Cri, asked_for)),
        Wanted::Cri => Err("no CRI answers there, so there is no pull like the kubelet's to try"),
        Wanted::Transfer if !facts.transfer => Err("this containerd has no Transfer (it came with 1.7)"),
        Wanted::Transfer if facts.generation == Generation::V1_7 => {
            Ok((Service::Transfer, "pull.via asks for it, though that of 1.7 ignores hosts.toml"))
        }
        Wanted::Transfer => Ok((Service::Transfer, asked_for)),
        Wanted::Auto => auto(facts),
    }
}

fn auto(facts: &Facts<'_>) -> Result<Choice, &'static str> {
    let same_hosts = facts.generation == Generation::V2 && facts.host_dir.is_some();
    match (facts.cri, facts.transfer) {
        (false, false) => Err("neither a CRI nor Transfer answers there, so there is no pull to try"),
        (true, false) => Ok((Service::Cri, "this containerd has no Transfer")),
        (false, true) if same_hosts => Ok((Service::Transfer, "this containerd runs without its CRI")),
        (false, true) => {
            Ok((Service::Transfer, "this containerd runs without its CRI, and no hosts.toml is read"))
        }
        (true, true) if facts.generation < Generation::V2 => {
            Ok((Service::Cri, "Transfer of 1.7 ignores hosts.toml"))
        }
        (true, true) if facts.host_dir.is_none() => {
            Ok((Service::Cri, "Transfer would have to be told where hosts.toml is, and that is not known"))
        }
        // What the CRI has already it does not fetch; another platform by Transfer crosses the same network.
        (true, true) if facts.present => {
            Ok((Service::Transfer, "the CRI has this image and would not fetch it again"))
        }
        (true, true) => match facts.pulls_by_transfer {
            Some(true) => Ok((Service::Transfer, "the CRI of this containerd pulls by it too")),
            Some(false) => Ok((Service::Cri, "this containerd's CRI is set to pull without Transfer")),
            None => Ok((Service::Transfer, "it reads the same hosts.toml as the CRI")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(generation: Generation) -> Facts<'static> {
        Facts {
            generation,
            cri: true,
            transfer: generation >= Generation::V1_7,
            host_dir: Some(Path::new("/etc/containerd/certs.d")),
            pulls_by_transfer: None,
            present: false,
        }
    }

    fn check(facts: &Facts<'_>, service: Service, words: &str) {
        let (chosen, why) = choose(Wanted::Auto, facts).expect("there is one");
        assert_eq!(chosen, service, "{facts:?}");
        assert!(why.contains(words), "{why}");
    }

    #[test]
    fn before_2_only_the_cri_sees_hosts_toml() {
        check(&facts(Generation::V1_6), Service::Cri, "no Transfer");
        check(&facts(Generation::V1_7), Service::Cri, "1.7 ignores hosts.toml");
    }

    #[test]
    fn since_2_transfer_goes_the_cris_way_where_the_folder_is_known() {
        check(&facts(Generation::V2), Service::Transfer, "same hosts.toml");
        check(&Facts { host_dir: None, ..facts(Generation::V2) }, Service::Cri, "not known");
        let by_itself = Facts { pulls_by_transfer: Some(false), ..facts(Generation::V2) };
        check(&by_itself, Service::Cri, "without Transfer");
    }

    #[test]
    fn a_present_image_is_for_transfer_where_that_reads_hosts_toml() {
        let set = Facts { present: true, pulls_by_transfer: Some(false), ..facts(Generation::V2) };
        check(&set, Service::Transfer, "not fetch it again");
        check(&Facts { present: true, ..facts(Generation::V1_7) }, Service::Cri, "1.7");
    }

    #[test]
    fn without_the_cri_transfer_has_to_do() {
        check(&Facts { cri: false, ..facts(Generation::V2) }, Service::Transfer, "without its CRI");
        check(&Facts { cri: false, ..facts(Generation::V1_7) }, Service::Transfer, "no hosts.toml is read");
        assert!(choose(Wanted::Auto, &Facts { cri: false, ..facts(Generation::V1_6) }).is_err());
    }

    #[test]
    fn what_the_operator_wants_is_done_or_told_why_not() {
        assert!(choose(Wanted::Transfer, &facts(Generation::V1_6)).is_err());
        assert!(choose(Wanted::Cri, &Facts { cri: false, ..facts(Generation::V2) }).is_err());
        let (service, why) = choose(Wanted::Transfer, &facts(Generation::V1_7)).expect("1.7 has it");
        assert_eq!(service, Service::Transfer);
        assert!(why.contains("ignores hosts.toml"), "{why}");
        assert_eq!(choose(Wanted::Cri, &facts(Generation::V2)).expect("it answers").0, Service::Cri);
    }
}
