//! What is wrong with the pod's image line, or with what it names.

use super::Rule;
use crate::model::Cause;

/// The kubelet or the runtime refuses the line itself: no registry was asked.
pub(super) const IMAGE_LINE: &[Rule] = &[
    Rule::new(
        Cause::NeverPull,
        &[
            "errimageneverpull",
            "not present with pull policy of never",
            "{pull|image} policy {is|of|:} never",
            "imagepullpolicy : never",
        ],
    ),
    Rule::new(Cause::NeverPull, &["no such image : <name>", "<name> : image not known"])
        .also(&[Cause::ManifestNotFound]),
    Rule::new(
        Cause::InvalidReference,
        &[
            "invalidimagename",
            "invalid {image|docker|} reference",
            "invalid {image|repository} name",
            "invalid reference format",
            "{couldn't|could not|cannot|can't|unable to|failed to|error} {parse|parsing|normalize} {image|\
             docker|the image|} {reference|name}",
            "parsing {image|named|} reference",
            "parse {image|named} reference",
            "error parsing {image name|reference}",
            "{parsing|parse} {image|repository} name",
            "not a valid repository/tag",
            "repository name must be {lowercase|canonical}",
            "repository name must {not|have|be}",
            "repository name {component|can|is not canonical}",
            "invalid {tag|digest|checksum digest} {format|length|value}",
            "invalid checksum digest",
            "invalid {namespace|repository} name",
            "unsupported digest {algorithm|format}",
            "{object|hostname|repository} required",
            "tag invalid",
            "name invalid",
            "name_invalid",
            "short-name {<any>|} did not resolve",
            "short-name resolution",
            "short name … {did not resolve|ambiguous|enforced}",
            "no registries configured",
            "no image {specified|provided|name}",
            "{image|image name|reference} is empty",
            "tag_invalid",
            "manifest tag did not match",
            "no unqualified-search registries",
            "cannot specify 64-byte hexadecimal",
            "must be {specified|a full|fully} {qualified|image name}",
            "unqualified image",
            "docker references with both a tag and digest",
            "missing {tag|digest|repository} in {image|reference}",
            "{image|name} … {is not a|isn't a|not a} valid {image|docker} {reference|name}",
        ],
    ),
];

/// Something on purpose keeps the image away.
pub(super) const POLICY: &[Rule] = &[Rule::new(
    Cause::RejectedByPolicy,
    &[
        "signaturevalidationfailed",
        "source image rejected",
        "running image {<name>|} is rejected by policy",
        "rejected by policy",
        "a signature was required",
        "{no valid|no matching|invalid|missing} signature {found|was found|for|on}",
        "no signatures found",
        "no matching signatures",
        "{invalid|unknown|bad} {gpg|pgp} signature",
        "signature {verification|validation} {failed|error}",
        "{failed|unable|could not|cannot} {to|} {verify|validate} {image|the image|the|} {signature|\
         signatures}",
        "{image|artifact} … not signed",
        "not signed by {cosign|notation|notary}",
        "image verifier … {blocked|rejected}",
        "verifier <any> rejected",
        "{is|are} blocked in <name>",
        "registry <any> is blocked",
        "remote trust data does not exist",
        "does not have trust data",
        "no trust data",
        "notary … {trust|signed}",
        "projectpolicyviolation",
        "project_policy_violation",
        "{configured|download|security|image|blocking|vulnerability|xray|pull} policy … {block|blocked|\
         blocks|blocking|prevents|denies|running|violated|violation}",
        "cannot be pulled due to",
        "due to {the|a|} {download|configured|security|curation|} {blocking|} policy",
        "{blocked|denied|rejected|prevented|forbidden|disallowed} {by|due to} {the|a|an|} {image|security|\
         admission|configured|curation|organization|vulnerability|content|} policy",
        "prevent images with vulnerability",
        "{current image|image|artifact} with {<any>|} vulnerabilities",
        "without vulnerability scanning",
        "violates … policy",
        "policy violation",
        "image policy webhook",
        "admission webhook … denied",
        "imagepolicywebhook",
        "{blocked|rejected} by {xray|curation|admission|<name>}",
        "{download|blocking|curation|xray} policy",
        "failed signature verification",
        "manifest_unverified",
        "{status|statuscode|code|http|registry|returned} {: |}412",
        "412 precondition failed",
        "quarantined",
        "image is {blocked|quarantined|not allowed}",
        "registry {is|} not {allowed|permitted|whitelisted|allow-listed}",
    ],
)];

/// The answer came, and this node or runtime cannot use it.
pub(super) const FORM: &[Rule] = &[
    Rule::new(
        Cause::PlatformMismatch,
        &[
            "no match for platform",
            "no matching {manifest|image|platform} {for|in}",
            "no {image|manifest|child} found {in|for} … {architecture|platform}",
            "no {image|manifest} {for|matching} {platform|architecture}",
            "does not match the {specified|detected|expected} {platform|host}",
            "{was found but|found but} does not match",
            "cannot be used on this platform",
            "{platform|architecture|operating system|os} … {is not supported|not supported|unsupported|\
             mismatch}",
            "unsupported {platform|architecture|os|operating system}",
            "does not provide {the specified|the} platform",
            "does not support {platform|architecture}",
            "no supported platform",
            "is incompatible with",
            "operating system {does not|doesn't} match",
            "incompatible {platform|architecture}",
        ],
    ),
    Rule::new(
        Cause::NotARegistry,
        &[
            "media type {text/html|text/plain} {<any>|}",
            "mediatype {text/html|text/plain}",
            "unknown type : {text/html|text/plain}",
            "type {text/html|text/plain}",
            "{unsupported|unexpected|unknown|unrecognized} {media type|mediatype|manifest|content type|\
             content-type} {: |type |}text/html",
        ],
    )
    .also(&[Cause::UnsupportedManifest]),
    Rule::new(Cause::NotARegistry, &["mediatype must be set", "target.mediatype must be set"])
        .also(&[Cause::ContentInvalid, Cause::Unknown]),
    Rule::new(
        Cause::UnsupportedManifest,
        &[
            "is no longer supported since",
            "manifest version 2 schema 1",
            "schema {1|v1} … {deprecated|removed|disabled|unsupported|not supported|no longer supported}",
            "{unsupported|unexpected|unknown|unrecognized|unhandled|invalid} {docker|oci|image|config|\
             layer|manifest|} {v2s1|v2s2|v1|v2|schema1|schema2|} {media type|mediatype|media-type}",
            "unsupported schema version",
            "{unsupported|unknown|invalid|unrecognized} {schemaversion|manifest version|manifest schema|\
             image format|manifest format|manifest type}",
            "unsupported manifest",
            "{unexpected|invalid} {manifest|config} {mediatype|media type|format|type}",
            "{manifest|image|layer|config} {media type|mediatype} {<name>|} {is not|not|isn't} supported",
            "mediatype in manifest should be",
            "media type {<name>|} … {not supported|unsupported|no longer supported}",
            "with mediatype {<name>|}",
            "mediatype <name>",
            "unexpected media type",
            "no processor for media-type",
            "not a {container|docker|runnable|valid} image",
            "not an image manifest",
            "payload does not match any of the supported image formats",
            "target is unknown",
            "no signatures $",
            "missing signature key",
            "manifest invalid",
            "manifest_invalid",
            "manifest {is|seems} {invalid|malformed|empty|too large}",
            "invalid manifest",
            "{cannot|failed to|unable to|error} {unmarshal|unmarshalling|decode|parsing|parse} {image|} \
             manifest",
            "image … {is encrypted|encrypted}",
            "missing private key needed for decryption",
            "unsupported {layer|image} {compression|encryption}",
            "docker image format v1",
            "image has no layers",
            "no layers found",
            "{encountered unknown type|reference for unknown type}",
            "unsupported {artifact|image}",
            "{unsupported|unexpected|unrecognized|unknown} {manifest|} mime {type|types}",
            "unsupported image-specific operation",
            "encountered remote <name>",
            "invalid rootfs in image configuration",
            "artifact type",
        ],
    ),
];

/// The registry says what it does not have.
pub(super) const NOT_FOUND: &[Rule] = &[
    Rule::new(
        Cause::RepositoryNotFound,
        &[
            "{repository|project|namespace|registry} {<any>|} has been deleted",
            "repositorynotfoundexception",
            "name unknown",
            "name_unknown",
            "name is unknown",
            "repository name not known",
            "no such repository",
            "{repository|project|namespace} {<any>|} {is not found|not found|was not found|cannot be \
             found|could not be found}",
            "{repository|project|namespace} {with name|named} <any> {does not exist|doesn't exist|not found}",
            "{project|namespace} {<any>|} {does not exist|doesn't exist}",
            "unknown repository",
            "{repository|repo} … does not exist in the registry",
        ],
    ),
    Rule::new(Cause::RepositoryNotFound, &["{repository|repo} {<any>|} {does not exist|doesn't exist}"])
        .also(&[Cause::DeniedOrAbsent]),
    Rule::new(
        Cause::ManifestNotFound,
        &[
            "manifest unknown",
            "manifest_unknown",
            "manifest {for|of} <any> {not found|was not found|is not found|does not exist}",
            "manifest {<any>|} {not found|was not found|is not found|does not exist|is unknown|not known}",
            "manifest tagged by <any> is not found",
            "no such {manifest|tag}",
            "unknown {manifest|tag}",
            "tag {<any>|} {not found|was not found|is not found|does not exist|doesn't exist|unknown|not \
             exist}",
            "tag {<any>|} was deleted or has expired",
            "{image|artifact|reference} {<any>|} {not found|was not found|is not found|does not exist|\
             could not be found|cannot be found|doesn't exist|unknown}",
            "requested {image|entity|artifact|manifest} {was|} not found",
            "failed to fetch <name> from request",
            "imagenotfoundexception",
            "named manifest is not known",
            "not found : manifest",
            "<manifest> : {not found|404}",
            "manifests <any> : 404",
            "could not find {image|manifest|tag}",
            "resource not found",
        ],
    ),
];

/// Not found, whatever it is.
pub(super) const NOT_FOUND_GENERAL: &[Rule] = &[
    Rule::new(
        Cause::ManifestNotFound,
        &[
            "404 not found",
            "{status|statuscode|code|http|registry|returned|got|response|error} {: |}404",
            "<url> : 404",
            "<name> : not found",
            "410 gone",
            "{status|statuscode|code|http} {: |}410",
        ],
    ),
    Rule::new(
        Cause::ManifestNotFound,
        &["<name> not found", ": not found $", "not found : not found", "file not found"],
    )
    .weak(),
];
