//! The numbers that stages read, one row each: the metric that shows it, its unit and its help.

macro_rules! readings {
    ($($variant:ident $metric:literal $label:expr, $help:literal;)+) => {
        /// A number that a stage read. Units are in the metric's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reading {
            $(#[doc = $help] $variant,)+
        }

        impl Reading {
            /// Every reading.
            pub const ALL: &'static [Reading] = &[$(Reading::$variant,)+];

            /// The metric's name without the prefix.
            pub const fn metric(self) -> &'static str {
                match self { $(Reading::$variant => $metric,)+ }
            }

            /// A label that the reading itself brings, beside those of its subject.
            pub const fn label(self) -> Option<(&'static str, &'static str)> {
                match self { $(Reading::$variant => $label,)+ }
            }

            /// The metric's help text.
            pub const fn help(self) -> &'static str {
                match self { $(Reading::$variant => $help,)+ }
            }
        }
    };
}

readings! {
    TlsNotAfter "tls_not_after_timestamp_seconds" None,
        "When the first certificate of the chain expires, in seconds since 1970.";
    ContentSize "disk_size_bytes" Some(("role", "content")),
        "Size of the file system that holds containerd's data.";
    ContentFree "disk_free_bytes" Some(("role", "content")),
        "Free bytes, for unprivileged writers, of the file system that holds containerd's data.";
    ContentInodes "disk_inodes" Some(("role", "content")),
        "Inodes of the file system that holds containerd's data; 0 where it has no fixed number.";
    ContentInodesFree "disk_inodes_free" Some(("role", "content")),
        "Free inodes of the file system that holds containerd's data.";
    SnapshotsSize "disk_size_bytes" Some(("role", "snapshots")),
        "Size of the file system that holds containerd's data.";
    SnapshotsFree "disk_free_bytes" Some(("role", "snapshots")),
        "Free bytes, for unprivileged writers, of the file system that holds containerd's data.";
    SnapshotsInodes "disk_inodes" Some(("role", "snapshots")),
        "Inodes of the file system that holds containerd's data; 0 where it has no fixed number.";
    SnapshotsInodesFree "disk_inodes_free" Some(("role", "snapshots")),
        "Free inodes of the file system that holds containerd's data.";
}
