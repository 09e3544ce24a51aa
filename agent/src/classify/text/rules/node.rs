//! The node's disk, runtime and store.

use super::Rule;
use crate::model::Cause;

/// What the runtime was told of registries cannot be used.
pub(super) const CONFIGURATION: &[Rule] = &[Rule::new(
    Cause::RuntimeConfig,
    &[
        "{unable|failed} to {read|load|parse|add|open|append} {ca|the ca|client|root|registry} {cert|\
         certs|certificate|certificates|file|pem|key}",
        "{failed|unable} to {decode|parse|load|read|unmarshal} {hosts.toml|certs.d|host config|hosts \
         config|registry config|registry host|registries.conf|hosts file}",
        "{failed|unable} to {load|read|parse} {x509 key pair|x509 keypair|cert file|key file|certificate \
         pair|client cert}",
        "hosts.toml",
        "{open|read|stat|reading|parsing|loading|decoding} <settings> :",
        "<settings> : {no such file or directory|permission denied|is a directory|toml}",
        "{loading|parsing|reading} {registries|registry|registries.conf} {configuration|config|}",
        "loading registries configuration",
        "invalid {host|hosts} tree",
        "unsupported protocol scheme",
        "missing protocol scheme",
        "tls : failed to find any pem data",
        "private key does not match public key",
        "{failed|unable} to parse {server|registry|mirror|endpoint|proxy} {url|host|address}",
        "invalid proxy {url|address}",
        "{invalid|bad} {endpoint|mirror} {url|address}",
        "invalid url port",
        "config_path",
        "cannot be set when",
        "invalid cri {image|registry|} config",
        "missing client certificate",
        "error loading {registries|trust} {configuration|policy}",
    ],
)];

/// The runtime's socket, or what speaks behind it.
pub(super) const RUNTIME: &[Rule] = &[Rule::new(
    Cause::RuntimeUnavailable,
    &[
        "dial unix",
        "error while dialing",
        "connect endpoint",
        "make sure you are running as root",
        "failed to connect : context deadline exceeded",
        "error during connect",
        "desc transport error",
        "{containerd|cri-o|crio|docker|dockerd|container runtime|runtime} {daemon|service|} {is not|isn't|\
         not} {running|ready|responding|available|reachable}",
        "{is|are} the {docker|containerd} daemon running",
        "{cannot|can't|could not|unable to|failed to} connect to {the|} {docker|containerd|cri-o|crio|\
         container|podman} {daemon|runtime|socket|service|}",
        "container runtime is {down|not|unavailable}",
        "runtime {network|service} not ready",
        "unknown service {runtime.v1.imageservice|runtime.v1alpha2.imageservice|runtime.v1.runtimeservice|\
         runtime.v1alpha2.runtimeservice}",
        "{validate|determine} {service|cri v1|container runtime} {connection|image api|api version}",
        "transport is closing",
        "connection error : desc",
        "error reading from server : eof",
        "error reading server preface",
        "closing transport due to",
        "before server preface received",
        "all subconns are in transientfailure",
        "latest {connection|balancer} error",
        "ttrpc : closed",
        "server is not initialized yet",
        "{containerd|runtime|server|daemon} is shutting down",
        "grpc : the client connection is closing",
        "code unavailable desc {error|transport|connection|name|keepalive}",
    ],
)];

/// The runtime's process, or the node, has no more of what every request takes. It stands before what it is told of:
/// without a descriptor a name cannot be looked up, and no resolver is to blame.
pub(super) const EXHAUSTED: &[Rule] = &[Rule::new(
    Cause::RuntimeUnavailable,
    &[
        "too many open files",
        "cannot allocate memory",
        "{fork/exec|clone|fork|newosproc|start} … resource temporarily unavailable",
    ],
)
.hint(
    "Look at what containerd's process may have and what it holds: `systemctl show containerd -p LimitNOFILE -p \
     TasksMax -p MemoryMax`, `ls /proc/$(pidof containerd)/fd | wc -l`; then raise the limit or restart it.",
)];

/// The file system under the store.
pub(super) const DISK: &[Rule] = &[
    Rule::new(Cause::DiskFull, &["disk quota exceeded", "edquot"])
        .also(&[Cause::QuotaExceeded, Cause::UnpackFailed]),
    Rule::new(
        Cause::DiskFull,
        &[
            "no space left",
            "enospc",
            "not enough {space|free space|disk space|disk|storage|room}",
            "insufficient {space|disk|disk space|storage|free space}",
            "disk is full",
            "{disk|device|filesystem|volume|storage} {is|} full",
            "out of {disk space|disk|space}",
            "free data blocks which is less than",
            "no free space",
            "low on resource : {ephemeral-storage|imagefs|nodefs}",
            "{disk|low} {pressure|disk space}",
            "{no|out of} {free|} inodes",
        ],
    )
    .also(&[Cause::UnpackFailed])
    .hint(
        "Free space on the node's image file system, or enlarge it: `df -h PATH; df -i PATH` tells \
     bytes from inodes, `crictl rmi --prune` removes unused images.",
    ),
    Rule::new(
        Cause::DiskError,
        &[
            "read-only file system",
            "{readonly|read-only} {database|filesystem|file system}",
            "input/output error",
            "i/o error",
            "structure needs cleaning",
            "stale {file handle|nfs file handle}",
            "{database|bolt|metadata|boltdb} … {corrupt|corrupted|invalid|closed|not open|is locked}",
            "database disk image is malformed",
            "transport endpoint is not connected",
            "no such device or address",
            "locked : unavailable",
            "<name> locked",
            "{locating item|layer not known|image data corruption|storage corruption}",
            "{corrupt|corrupted} {image|local|content|container|layer|} {store|storage}",
            "bad message",
            "uncorrectable",
            "remote i/o error",
            "medium error",
        ],
    )
    .also(&[Cause::UnpackFailed])
    .hint("Look for disk errors on the node (`dmesg -T | tail`, `mount | grep ' ro,'`), at PATH."),
];

/// A blob that was fetched is gone from the node's own store.
pub(super) const CONTENT_STORE: &[Rule] = &[
    // The database has it and the folder does not (content/local of containerd 1.6 to 2.1).
    Rule::new(Cause::DiskError, &["blob <name> expected at <name>", "expected at <name> : blob not found"])
        .also(&[Cause::UnpackFailed]),
    Rule::new(
        Cause::UnpackFailed,
        &[
            "content digest <name> : not found",
            "failed to get reader from content store",
            "lease {<any>|} {does not exist|not found}",
            "parent snapshot <name> does not exist",
        ],
    )
    .also(&[Cause::DiskError, Cause::ContentInvalid]),
];

/// From a blob to a file system.
pub(super) const UNPACK: &[Rule] = &[
    // A pull that is called off while it unpacks was called off.
    Rule::new(Cause::PullCancelled, &["{extract|unpack|apply|register|commit|prepare} … : context canceled"])
        .also(&[Cause::TransferTimeout]),
    Rule::new(
        Cause::UnpackFailed,
        &[
            "failed to register layer",
            "error {processing|applying|creating|extracting|unpacking} {tar|layer|tar file|tar stream|\
             diff|archive}",
            "{error|failed} {while applying|to apply} {layer|the layer|diff}",
            "{failed to|unable to|cannot|error} {mount|unmount|unpack|extract|extracting|untar|decompress|\
             unpigz|chown|lchown}",
            "{failed to|unable to|cannot|error} {apply|commit|prepare|rename|convert} {the|} {layer|\
             snapshot|rootfs|extraction|<name>}",
            "failed to {stat parent|create prepare snapshot|create temp dir|get usage|lchown|mknod|\
             setxattr|utimes}",
            "{apply|applying} layer",
            "applylayer",
            "{storing|committing|adding|creating|registering|writing} {layer|read-write layer|layer with \
             blob}",
            "adding layer",
            "start unpacking",
            "untar",
            "untarring",
            "unpigz",
            "archive/tar",
            "invalid tar header",
            "{gzip|zlib|flate|zstd|bzip2|xz} : {invalid|corrupt|unexpected|magic|decompression|<any>}",
            "invalid {gzip|zstd|tar} {header|data|stream}",
            "{corrupt|corrupted} {gzip|zstd|tar|input} {stream|data|archive|before}",
            "insufficient uids or gids",
            "hcsshim",
            "re-exec error",
            "{snapshotter|snapshot} … {not loaded|was not found|not found|does not exist|already exists|\
             failed|unknown}",
            "operation not supported … {overlay|mount|xattr}",
            // The shape of Go's path errors: operation, path, what the kernel said.
            "{open|openat|read|write|stat|lstat|statfs|readlink|truncate|fsync|copy|create} <name> \
             {<name>|} : {no such file or directory|permission denied}",
            "{mkdir|mkdirat|mkparent|mknod|link|symlink|rename|remove|unlink|unlinkat} <name> {<name>|} : \
             {no such file or directory|permission denied}",
            "{chmod|chown|lchown|chtimes|utimes|utimensat|setxattr|lsetxattr} <name> {<name>|} : {no such \
             file or directory|permission denied}",
            "{mount|unmount|umount} <name> {<name>|} : {no such file or directory|permission denied|no \
             such device}",
            "<name> : {invalid argument|operation not permitted|operation not supported|file exists|not a \
             directory|is a directory}",
            "<name> : {directory not empty|device or resource busy|file name too long|too many links|no \
             data available}",
            "<name> : {invalid cross-device link|text file busy}",
            "{lchown|chown|mknod|setxattr|mkdir|symlink|link|chmod} <name> … {invalid argument|operation \
             not permitted|permission denied}",
            "{creating|mounting|making} {overlay|aufs|zfs|btrfs|bind|snapshot|erofs} {mount|snapshot|\
             volume|}",
            "unpack {destination|target}",
            "driver <any> failed to {create|get|init|mount}",
            "wrong {snapshot|layer} state",
            "unsupported {compression|snapshotter}",
            "windows base layer",
        ],
    )
    .also(&[Cause::DiskError, Cause::ContentInvalid]),
];

/// Called off from this side.
pub(super) const CANCELLED: &[Rule] = &[Rule::new(
    Cause::PullCancelled,
    &[
        "context canceled",
        "context cancelled",
        "request canceled",
        "{operation|pull|download|request|transfer} {was|} {canceled|cancelled|aborted|interrupted}",
        "{cancelled|canceled} {by|due to}",
        "{signal|interrupted} : {interrupt|killed|terminated}",
        "signal : killed",
    ],
)
.also(&[Cause::TransferTimeout])];
