//! The stages of a round, in the order in which they are reported, and the lane that each stands in.

/// A group of stages that skip one another: after a failed stage the rest of its lane is skipped.
/// Lanes never skip one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What blames the node: its disk, its runtime, its clock.
    Node,
    /// What blames the path or the registry: DNS to the blob host, walked once per endpoint.
    Wire,
    /// What containerd alone knows: a real pull.
    Pull,
}

impl Lane {
    /// Every lane, in the order of reports.
    pub const ALL: [Lane; 3] = [Lane::Node, Lane::Wire, Lane::Pull];

    /// The label in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Lane::Node => "node",
            Lane::Wire => "wire",
            Lane::Pull => "pull",
        }
    }
}

/// One row a stage: the variant, its label and its lane.
macro_rules! stages {
    ($($(#[$doc:meta])* $variant:ident $label:literal $lane:ident;)+) => {
        /// One step of a lane. The order is that of reports.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Stage {
            $($(#[$doc])* $variant,)+
        }

        impl Stage {
            /// Every stage, in the order of reports.
            pub const ALL: &'static [Stage] = &[$(Stage::$variant,)+];

            /// The label in metrics and JSON.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Stage::$variant => $label,)+
                }
            }

            /// The lane that the stage stands in.
            pub const fn lane(self) -> Lane {
                match self {
                    $(Stage::$variant => Lane::$lane,)+
                }
            }
        }
    };
}

stages! {
    /// Bytes and inodes of the file systems that hold containerd's content and snapshots.
    Disk "disk" Node;
    /// containerd answers: version, snapshotter, where its data are.
    Runtime "runtime" Node;
    /// This node's clock against the registries' `Date`.
    Clock "clock" Node;
    /// The host's name to addresses.
    Dns "dns" Wire;
    /// A connection to every address.
    Tcp "tcp" Wire;
    /// The handshake, and the certificate chain judged as Go would.
    Tls "tls" Wire;
    /// `GET /v2/`.
    Ping "ping" Wire;
    /// The token, or the Basic credentials.
    Auth "auth" Wire;
    /// `HEAD` of the test image's manifest.
    Manifest "manifest" Wire;
    /// The rate-limit headers of that answer.
    Quota "quota" Wire;
    /// A layer's first bytes, from whichever host the registry sends one to for them.
    Blob "blob" Wire;
    /// A real pull through containerd.
    Pull "pull" Pull;
}
