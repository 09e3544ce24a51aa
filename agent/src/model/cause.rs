//! The closed set of causes, one row each. Labels of metrics and JSON come from here and nowhere else.

use std::fmt;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// The path from node to registry.
    Network,
    /// A limit on pulls.
    Quota,
    /// Credentials and permissions.
    Auth,
    /// The pod's image line.
    Spec,
    /// The registry's own fault.
    Registry,
    /// The node's disk, runtime or clock.
    Node,
    /// Nobody yet: no cause was recognised.
    Unknown,
}

/// Who has to act, for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The pod's author.
    User,
    /// The platform.
    Infra,
    /// It takes more than the evidence to say.
    Either,
}

impl Fault {
    /// The label in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Fault::User => "user",
            Fault::Infra => "infra",
            Fault::Either => "either",
        }
    }

    /// Who has to act, in words.
    pub const fn who(self) -> &'static str {
        match self {
            Fault::User => "the pod's author acts",
            Fault::Infra => "the platform acts",
            Fault::Either => "the pod's author or the platform acts",
        }
    }
}

impl Domain {
    /// Every domain, in the order of the table.
    pub const ALL: [Domain; 7] = [
        Domain::Network,
        Domain::Quota,
        Domain::Auth,
        Domain::Spec,
        Domain::Registry,
        Domain::Node,
        Domain::Unknown,
    ];

    /// The label in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Domain::Network => "network",
            Domain::Quota => "quota",
            Domain::Auth => "auth",
            Domain::Spec => "spec",
            Domain::Registry => "registry",
            Domain::Node => "node",
            Domain::Unknown => "unknown",
        }
    }

    /// Who has to act, for machines.
    pub const fn fault(self) -> Fault {
        match self {
            Domain::Network | Domain::Quota | Domain::Registry | Domain::Node => Fault::Infra,
            Domain::Spec => Fault::User,
            Domain::Auth | Domain::Unknown => Fault::Either,
        }
    }
}

/// One row a cause: variant, label, domain, meaning, advice.
macro_rules! causes {
    ($($variant:ident $label:literal $domain:ident, $meaning:literal, $advice:literal;)+) => {
        /// What is wrong. The set is closed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause {
            $(#[doc = $meaning] $variant,)+
        }

        impl Cause {
            /// Every cause, in the order of the table.
            pub const ALL: &'static [Cause] = &[$(Cause::$variant,)+];

            /// The label in metrics and JSON.
            pub const fn label(self) -> &'static str {
                match self { $(Cause::$variant => $label,)+ }
            }

            /// Who has to act.
            pub const fn domain(self) -> Domain {
                match self { $(Cause::$variant => Domain::$domain,)+ }
            }

            /// One sentence: what it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Cause::$variant => $meaning,)+ }
            }

            /// What to do next, in one or two sentences.
            pub const fn advice(self) -> &'static str {
                match self { $(Cause::$variant => $advice,)+ }
            }
        }
    };
}

causes! {
    DnsNotFound "dns_not_found" Network,
        "The resolver says that the host's name does not exist.",
        "Check the spelling of the registry's host. If it is right, look it up on the node (`getent hosts HOST`) and have the zone or the node's resolver mended.";
    DnsFailure "dns_failure" Network,
        "The node's resolver did not give an answer: an error, a refusal or silence.",
        "Look at the name servers in the node's /etc/resolv.conf (`dig @SERVER HOST`): this is the host's resolver, not the cluster's DNS.";
    ConnectTimeout "connect_timeout" Network,
        "Nothing answered the connection attempt: most often a firewall drops it.",
        "From the node, try `nc -vz HOST PORT`, then ask for the address and port in question to be opened: firewall, security group, route.";
    ConnectRefused "connect_refused" Network,
        "The host answered that nothing listens on the port, or a firewall rejects it.",
        "Check that the registry runs and that the port is right (`nc -vz HOST PORT` from the node).";
    Unreachable "unreachable" Network,
        "This node has no route to the address.",
        "Look at the node's routes (`ip route get ADDRESS`); for an IPv6 address, whether the node has IPv6 at all.";
    ConnectionReset "connection_reset" Network,
        "The connection was cut before the answer was complete.",
        "Look for a firewall, proxy or load balancer that cuts connections between the node and the host; if every node sees it, ask the registry's operator.";
    TlsUntrusted "tls_untrusted" Network,
        "The certificate is signed by an authority that this node does not trust.",
        "Give containerd the registry's CA (hosts.toml `ca`, or the node's trust store), or find the proxy that intercepts TLS: the issuer's name tells.";
    TlsExpired "tls_expired" Network,
        "A certificate of the chain has expired, or is not valid yet.",
        "Have the registry's operator renew the certificate that is named; if it looks valid, check the node's clock.";
    TlsNameMismatch "tls_name_mismatch" Network,
        "The certificate is valid for other names than the host's.",
        "Use a host name that the certificate lists, or have it reissued with this name as a subject alternative name.";
    TlsProtocol "tls_protocol" Network,
        "The two sides found no common TLS: plain HTTP on the port, an old protocol version, or a refused handshake.",
        "Check that the port speaks HTTPS (`openssl s_client -connect HOST:PORT`); a registry on plain HTTP needs a hosts.toml that says so.";
    TlsTimeout "tls_timeout" Network,
        "The connection was made, but the TLS handshake got no answer in time.",
        "Suspect the path's MTU (`ping -M do -s 1472 HOST` from the node) or a middlebox that swallows the handshake.";
    ProxyFailed "proxy_failed" Network,
        "The HTTP proxy on the way refused, failed or did not answer.",
        "Check the proxy in containerd's environment (`systemctl show containerd -p Environment`), its credentials, and whether NO_PROXY should name this host.";
    TransferTimeout "transfer_timeout" Network,
        "The host took the request, but the answer or its data came too slowly or stopped.",
        "Fetch the same URL from the node with `curl -v`: if that is slow too, suspect the path or the host's load; if not, look at containerd's concurrent downloads.";
    RateLimited "rate_limited" Quota,
        "The registry refuses because too many requests were made in its time window.",
        "Wait for the window to pass, pull with credentials that have a higher limit, or put a pull-through cache in front.";
    QuotaExceeded "quota_exceeded" Quota,
        "A billing, storage or bandwidth quota of the registry account is used up.",
        "Look at the plan and the usage of the registry account; waiting will not help.";
    KubeletThrottled "kubelet_throttled" Quota,
        "The kubelet itself holds the pull back: its own limit on pulls per second is reached.",
        "It clears by itself; if it comes often, raise the kubelet's registryPullQPS and registryBurst.";
    CredentialsMissing "credentials_missing" Auth,
        "The registry wants credentials and none were sent.",
        "Give the pod an imagePullSecret for this registry, or the node credentials for it.";
    CredentialsRejected "credentials_rejected" Auth,
        "Credentials were sent and the registry refused them: wrong, or expired.",
        "Renew the password or token in the secret and try it by hand (`crictl pull --creds USER:PASSWORD IMAGE` on the node).";
    AccessDenied "access_denied" Auth,
        "The registry knows who asks, and does not allow it.",
        "Have this account given pull rights on the repository.";
    DeniedOrAbsent "denied_or_absent" Auth,
        "The registry does not tell whether the repository is private or does not exist.",
        "Check the repository's name first; if it is right, the pull needs credentials that may read it.";
    InvalidReference "invalid_reference" Spec,
        "The image line cannot be read as an image reference.",
        "Correct the pod's image line: host[:port]/repository[:tag][@digest], in lower case.";
    ManifestNotFound "manifest_not_found" Spec,
        "The repository answers, but has no such tag or digest.",
        "Check the tag in the pod's image line against the registry (`skopeo list-tags docker://REPOSITORY`).";
    RepositoryNotFound "repository_not_found" Spec,
        "The registry knows no repository of this name.",
        "Check the repository's name in the pod's image line.";
    PlatformMismatch "platform_mismatch" Spec,
        "The image exists, but not for this node's operating system and architecture.",
        "Have the image built for this platform, or keep the pod off such nodes with a nodeSelector on kubernetes.io/arch.";
    UnsupportedManifest "unsupported_manifest" Spec,
        "The reference names something that this runtime cannot run: an old schema or not a container image.",
        "Check what the reference points to (`skopeo inspect --raw docker://IMAGE`), and push the image again with a current tool.";
    NeverPull "never_pull" Spec,
        "The pod forbids pulling (imagePullPolicy: Never) and the image is not on the node.",
        "Change the imagePullPolicy, or load the image onto the node beforehand.";
    RejectedByPolicy "rejected_by_policy" Spec,
        "An image policy or a signature check refused the image.",
        "Use an image that the policy allows, or ask the owners of the policy (admission, signature verification, blocked registries).";
    RegistryUnknown "registry_unknown" Spec,
        "The registry's name does not exist, while the resolver is well and other registries resolve: most likely it is mistyped.",
        "Correct the registry's host in the pod's image line.";
    Unavailable "unavailable" Registry,
        "The registry, its token service or its blob store answers with a server error.",
        "Look at the registry's status page or ask its operator; nothing on this node will help.";
    ContentInvalid "content_invalid" Registry,
        "The registry serves content that is missing, cut or has the wrong digest.",
        "Have the image pushed again, or the registry's storage (or the cache in front of it) checked.";
    NotARegistry "not_a_registry" Registry,
        "What answers is not a container registry: a login page, a captive portal or a web server.",
        "Check the host and port; if they are right, look for a proxy or portal that answers in the registry's place (`curl -i https://HOST/v2/`).";
    DiskFull "disk_full" Node,
        "The file system that holds containerd's data has no bytes left to give.",
        "Free space on the node (`crictl rmi --prune`), or look at what fills it (`du -xh /var/lib/containerd | sort -h | tail`).";
    InodesExhausted "inodes_exhausted" Node,
        "The file system that holds containerd's data has no inodes left, though it may have bytes.",
        "Free inodes (`df -i`, `crictl rmi --prune`): many small files fill them.";
    DiskError "disk_error" Node,
        "The file system that holds containerd's data is read-only, fails or is corrupt.",
        "Look at the kernel's log (`dmesg | grep -iE 'i/o error|remount'`), drain the node and mend or replace the disk.";
    RuntimeUnavailable "runtime_unavailable" Node,
        "containerd does not answer on its socket.",
        "On the node: `systemctl status containerd` and `journalctl -u containerd -n 50`.";
    RuntimeConfig "runtime_config" Node,
        "containerd's own registry configuration is broken, or not what its operator believes.",
        "Mend the file or setting that is named; hosts.toml is read at every pull, config.toml only at start.";
    UnpackFailed "unpack_failed" Node,
        "The image was fetched, but unpacking a layer failed.",
        "Look at containerd's log for the layer in question; if other nodes unpack the same image, suspect this node's snapshotter or disk.";
    PullCancelled "pull_cancelled" Node,
        "The pull was given up from this side: a restart, a deadline, or containerd's progress timer.",
        "Look at containerd's and the kubelet's log at that time; if it repeats, look for a stalled download.";
    ClockSkew "clock_skew" Node,
        "This node's clock is wrong, so certificates and tokens look expired or not valid yet.",
        "Set the clock right (`timedatectl`, `chronyc tracking`).";
    Unknown "unknown" Unknown,
        "No known cause was recognised in the error.",
        "Read the error itself; if it says clearly what is wrong, report its text so that it is recognised.";
}

impl Cause {
    /// Who has to act, for machines.
    pub const fn fault(self) -> Fault {
        self.domain().fault()
    }

    /// [`Cause::advice`] with `HOST`, `PORT`, `ADDRESS` and `SERVER` made the `place` in question, `host[:port]`, so
    /// that its commands can be pasted. What the place does not say stays as it is.
    pub fn advice_at(self, place: &str) -> String {
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
            _ => (place, "443"),
        };
        let is_host =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
        if !is_host {
            return self.advice().to_owned();
        }
        // Where a name server is the place, the host that it was asked for is another.
        let about_server = self.advice().contains("SERVER");
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let words = self.advice().split_inclusive(|c: char| !c.is_ascii_uppercase());
        words
            .map(|word| {
                let end = word.len()
                    - word.chars().next_back().filter(|c| !c.is_ascii_uppercase()).map_or(0, char::len_utf8);
                let (name, tail) = word.split_at(end);
                let value = match name {
                    "SERVER" => bare,
                    "HOST" | "ADDRESS" if !about_server => bare,
                    "PORT" => port,
                    other => other,
                };
                format!("{value}{tail}")
            })
            .collect()
    }

    /// Where the documentation tells more of it.
    pub fn page(self) -> String {
        format!("docs/causes.md#{}", self.label())
    }

    /// The cause with this label.
    pub fn from_label(label: &str) -> Option<Cause> {
        Cause::ALL.iter().copied().find(|cause| cause.label() == label)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain().label(), self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn labels_are_distinct_and_lead_back() {
        let labels: BTreeSet<_> = Cause::ALL.iter().map(|c| c.label()).collect();
        assert_eq!(labels.len(), Cause::ALL.len());
        for &cause in Cause::ALL {
            assert_eq!(Cause::from_label(cause.label()), Some(cause));
        }
        assert_eq!(Cause::from_label("no_such_cause"), None);
    }

    #[test]
    fn every_cause_says_what_it_means_and_what_to_do() {
        for &cause in Cause::ALL {
            assert!(cause.meaning().ends_with('.') && cause.advice().ends_with('.'), "{cause}");
            assert!(cause.advice().len() <= 240, "{cause}: advice of {} bytes", cause.advice().len());
        }
    }

    #[test]
    fn advice_names_the_place() {
        let advice = |place| Cause::ConnectRefused.advice_at(place);
        assert!(advice("10.0.0.5:5000").contains("`nc -vz 10.0.0.5 5000`"), "{}", advice("10.0.0.5:5000"));
        assert!(advice("[::1]:5000").contains("`nc -vz ::1 5000`"));
        assert!(advice("quay.io").contains("`nc -vz quay.io 443`"));
        assert!(Cause::DnsFailure.advice_at("10.0.0.2").contains("`dig @10.0.0.2 HOST`"));
    }

    #[test]
    fn a_place_that_is_no_host_is_not_put_into_a_command() {
        for place in ["", "/var/lib/containerd", "a b", "x;reboot", "$(x)"] {
            assert_eq!(Cause::ConnectRefused.advice_at(place), Cause::ConnectRefused.advice(), "{place}");
        }
        // HTTPS and hosts.toml are no placeholders.
        assert!(
            Cause::TlsProtocol
                .advice_at("a.test")
                .contains("the port speaks HTTPS (`openssl s_client -connect a.test:443`)")
        );
    }

    #[test]
    fn the_contract_says_who_acts() {
        assert_eq!(Cause::DnsFailure.fault(), Fault::Infra);
        assert_eq!(Cause::DeniedOrAbsent.fault(), Fault::Either);
        assert_eq!(Cause::ManifestNotFound.fault(), Fault::User);
        assert_eq!(Cause::Unknown.fault(), Fault::Either);
        assert_eq!(Cause::RegistryUnknown.to_string(), "spec/registry_unknown");
    }
}
