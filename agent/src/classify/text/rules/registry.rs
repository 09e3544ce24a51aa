//! The registry's own fault.

use super::Rule;
use crate::model::Cause;

/// What it sent is not what it promised.
pub(super) const CONTENT: &[Rule] = &[Rule::new(
    Cause::ContentInvalid,
    &[
        "unexpected commit {digest|size}",
        "{verifying|validating|checking} {<any>|} {digest|checksum|hash}",
        "{expected digest|expected <name>} {<name>|} {but|and|} got",
        "provided {digest|length} did not match",
        "failed size validation",
        "{digest|digests|checksum|size|hash} {did not|does not|do not|doesn't|didn't} match",
        "{digest|checksum|size|hash|diffid} mismatch",
        "{mismatched|mismatching} {digest|checksum|size|image rootfs}",
        "does not match config's diffid",
        "does not match {expected|the expected|its|provided|the provided} {manifest|} {digest|size|\
         checksum|<name>}",
        "{digest|size|checksum} {<any>|} {did not|does not|doesn't} match",
        "wrong diff id",
        "layers from manifest don't match",
        "{layer|config|manifest|content|digest|image|image config} verification failed",
        "verification failed for digest",
        "blob {<any>|} {unknown|not found|is unknown|was not found|does not exist|missing}",
        "blob_unknown",
        "blob unknown",
        "unknown blob",
        "{layer|config} {<any>|} {not found|does not exist} {in|on|$|:}",
        "could not fetch content descriptor … not found",
        // What follows the manifest by tag: the registry does not serve a digest that it has just named.
        "{httpreadseeker|httpreaderseeker} : failed open : … {not found|404}",
        "content at <blob> not found",
        "<blob> : {not found|404}",
        "<blob> : … 404 {not found|$}",
        "{fetching|reading|downloading|copying|writing} {blob|config|layer} … {404|not found}",
        "{invalid|bad} {size|digest} for",
        "416 {requested|range|$}",
        "size_invalid",
        "digest_invalid",
        "{unexpected|incorrect|wrong} {content size|content length|size|checksum|digest|length}",
        "corrupt {blob|layer|manifest}",
    ],
)
.also(&[Cause::ManifestNotFound])];

/// An answer that is no HTTP, or none of a registry. Asked before the broken connection that Go makes of it.
pub(super) const NO_HTTP: &[Rule] = &[Rule::new(
    Cause::NotARegistry,
    &["malformed http {response|version|status}", "server response headers exceeded"],
)
.also(&[Cause::Unavailable])];

/// Server errors, and statuses whose body was no registry's.
pub(super) const STATUS: &[Rule] = &[
    Rule::new(
        Cause::Unavailable,
        &[
            "5xx {internal server error|bad gateway|service unavailable|service temporarily unavailable|\
             gateway timeout|gateway time-out|server error}",
            "{status|statuscode|code|http|registry|returned|got|response|error} {: |}5xx",
            "manifests <any> : 5xx",
            "<url> : 5xx",
            "5xx {$|:}",
            "{internal server error|internal error|bad gateway|service unavailable|service temporarily \
             unavailable|gateway timeout|gateway time-out|server is busy|server too busy}",
            "temporarily unavailable",
            "{under|for|down for} maintenance",
            "{is|repo <any> is} {offline|blacked out}",
            "{status|statuscode|code|http} {: |}{520|521|522|523|524|525|526|529|530}",
            "slowdown",
            "{reduce your request rate|please try again later}",
        ],
    ),
    Rule::new(
        Cause::Unavailable,
        &["error parsing http 400 response body", "anonymous token … 404", "oauth token … 404"],
    )
    .also(&[Cause::NotARegistry, Cause::Unknown]),
    Rule::new(
        Cause::AccessDenied,
        &[
            "http 403 response body",
            "{status|statuscode|code|http} {: |}403 … <html>",
            "403 forbidden … <html>",
        ],
    )
    .also(&[Cause::NotARegistry, Cause::DeniedOrAbsent]),
    Rule::new(Cause::CredentialsMissing, &["http 401 response body"])
        .also(&[Cause::CredentialsRejected, Cause::NotARegistry]),
    Rule::new(Cause::NotARegistry, &["http 404 response body … <html>"])
        .also(&[Cause::ManifestNotFound, Cause::RepositoryNotFound]),
    Rule::new(Cause::ManifestNotFound, &["http 404 response body"])
        .also(&[Cause::NotARegistry, Cause::RepositoryNotFound]),
    Rule::new(
        Cause::NotARegistry,
        &[
            "looking for beginning of {value|object}",
            "unexpected end of json input",
            "cannot unmarshal",
            "<html>",
            "pinging {container|docker} registry … 404",
            "login attempt … 404",
            "{missing|empty} content-type",
            "not a {docker|container|v2|valid|} registry",
            "talk to a v1",
            "{doesn't|does not} {appear|seem} to be a {docker|container|} registry",
            "unexpected content type",
            "stopped after 10 redirects",
            "too many redirects",
            "{status|statuscode|code|http} {: |}{200|301|302|303|307|308|405}",
            "200 ok",
            "<url> : {200|3xx}",
            "405 method not allowed",
            "missing docker-distribution-api-version",
        ],
    )
    .also(&[Cause::Unavailable]),
];

/// The reason that only CRI-O gives, and only for what its own text says better.
pub(super) const GENERAL: &[Rule] = &[
    Rule::new(Cause::Unavailable, &["400 bad request"]).also(&[Cause::NotARegistry, Cause::Unknown]).weak(),
    Rule::new(
        Cause::Unavailable,
        &[
            "{registryunavailable|errregistryunavailable}",
            "registry {is|} {unavailable|not available|unreachable|down}",
            "could not reach any registry endpoint",
            "unknown : unknown error",
            "unavailable $",
        ],
    )
    .also(&[Cause::ConnectRefused])
    .weak(),
];
