//! The path from node to registry, from the inside of an error out.

use super::Rule;
use crate::model::Cause;

/// A proxy stands in the way. Asked before anything that the proxy's own dial or TLS may have said.
pub(super) const PROXY: &[Rule] = &[
    Rule::new(
        Cause::ProxyFailed,
        &[
            "proxyconnect",
            "proxy authentication {required|failed}",
            "407 {proxy|authentication|$}",
            "{status|statuscode|code|http|registry|returned} {: |}407",
            "{socks|socks5} connect",
            "{socks|socks5} {: |}{general|host|connection|network|authentication|server|unknown|no}",
            "{failed|unable|cannot|could not} {to|} connect to {the|} proxy",
            "connecting to {the|} {http|https|} proxy",
            "{http|https|connect} proxy {error|failed|refused|returned|denied}",
            "proxy {error|failed|refused|returned an|denied|responded|rejected|server refused|handshake|\
             tunnel}",
            "received http code <any> from proxy after connect",
            "{invalid|unexpected} response from proxy",
            "{erroringressproxy|err_cannot_forward|err_access_denied|err_connect_fail|err_dns_fail}",
            "tunnel connection failed",
            "proxy : {unknown|unsupported|no|invalid}",
        ],
    ),
    // Go gives the status of a refused CONNECT as the bare reason, where a registry's answer has a number or a code.
    Rule::new(
        Cause::ProxyFailed,
        &["<url> : {forbidden|bad gateway|service unavailable|gateway timeout|gateway time-out|method \
             not allowed|not found|bad request|internal server error|precondition failed|temporary \
             redirect|found|access denied|blocked|not allowed|filtered|connection established|request \
             timeout|unauthorized|access violation|unable to connect} $"],
    )
    .also(&[Cause::AccessDenied, Cause::Unavailable]),
];

/// The resolver. Asked before connection errors, which a query to port 53 carries as well.
pub(super) const RESOLVER: &[Rule] = &[
    Rule::new(
        Cause::DnsNotFound,
        &[
            "no such host",
            "nxdomain",
            "getaddrinfo enotfound",
            "name or service not known",
            "nodename nor servname provided",
            "no address associated with {hostname|name}",
            "host not found",
            "unknown host",
            "{could not|couldn't|cannot|unable to|failed to} {resolve|find} {host|hostname|the host|host \
             name}",
            "name does not {exist|resolve}",
            "no dns entries exist",
        ],
    )
    .also(&[Cause::DnsFailure]),
    Rule::new(
        Cause::DnsFailure,
        &[
            "lookup <any> {on|:}",
            "dial {tcp|udp} : lookup",
            "lookup <any> {try again|i/o timeout|server|timed out|no}",
            "server misbehaving",
            "servfail",
            "eai_again",
            "temporary failure in name resolution",
            "{temporary|transient} {error|failure} {resolving|in name resolution}",
            "{dial|read|write} {udp|tcp|udp4|udp6} {<any>|} <resolver>",
            "{dial|read|write} udp",
            "no answer from dns server",
            "cannot unmarshal dns message",
            "{dns|name} {resolution|lookup|query|resolve|server} {failed|failure|error|timed out|timeout|\
             refused|problem}",
            "{dns|name} {resolution|lookup|query} … {failed|failure|timed out|timeout}",
            "resolving {timed out|failed|host}",
            "while resolving",
            "no dns servers",
        ],
    ),
];

/// The handshake and the chain.
pub(super) const TLS: &[Rule] = &[
    Rule::new(
        Cause::TlsTimeout,
        &[
            "tls handshake timeout",
            "{tls|ssl} handshake … {timeout|timed out|deadline exceeded}",
            "handshake {timeout|timed out}",
        ],
    ),
    Rule::new(
        Cause::TlsProtocol,
        &[
            "gave http response to https client",
            "first record does not look like a tls handshake",
            "client sent an http request to an https server",
            "http request was sent to https port",
            "handshake failure",
            "protocol version not supported",
            "{tls|ssl} : no supported versions",
            "unsupported protocol version",
            "wrong version number",
            "wrong_version_number",
            "oversized record",
            // Plain HTTP was spoken to a TLS port, which answered with an alert.
            "malformed http response <tls>",
            "looked like an http/1.1 header",
            "unrecognized name",
            "no cipher suite supported",
            "no application protocol",
            "server selected unsupported",
            "insufficient security level",
            "{tls|ssl} {handshake|} {error|failed|failure|alert}",
            "{ssl|tls} routines",
            "inappropriate fallback",
        ],
    ),
    Rule::new(
        Cause::TlsExpired,
        &[
            "certificate has expired",
            "certificate {is|} expired",
            "{is|certificate is} not yet valid",
            "certificate {is|} not valid {yet|before|until|after}",
            "certificate_expired",
            "cert_has_expired",
            "expired certificate",
            "cert {has|is} expired",
            "tls : certificate expired",
        ],
    ),
    Rule::new(
        Cause::TlsNameMismatch,
        &[
            "certificate is valid for",
            "certificate is not valid for",
            "not valid for any names",
            "err_tls_cert_altname_invalid",
            "{doesn't|does not} contain any ip sans",
            "legacy common name",
            "x509 : cannot validate certificate for",
            "{hostname|host name|certificate name|name|host} mismatch",
            "{hostname|host|name} {doesn't|does not} match",
            "no alternative certificate subject name",
            "certificate {doesn't|does not} match",
            "not valid for {the|} {requested|} {name|host|hostname}",
            "certificate common name",
        ],
    ),
    Rule::new(
        Cause::TlsUntrusted,
        &[
            "signed by unknown authority",
            "{unknown|untrusted} {certificate authority|ca|issuer|root}",
            "unknown_ca",
            "{depth_zero_self_signed_cert|self_signed_cert_in_chain|unable_to_verify_leaf_signature}",
            "self-signed certificate",
            "self signed certificate",
            "self-signed",
            "certificate is not trusted",
            "{unable|failed} to get {local|} issuer certificate",
            "{certificate|cert} verify failed",
            "certificate verification failed",
            "certificate is not standards compliant",
            "certificate {has been|was|is} revoked",
            "{failed|unable|cannot|could not} {to|} verify certificate",
            "not authorized to sign other certificates",
            "x509",
            "unable to verify the first certificate",
        ],
    ),
    Rule::new(Cause::CredentialsMissing, &["tls : certificate required"]).also(&[Cause::TlsProtocol]),
    Rule::new(
        Cause::TlsProtocol,
        &[
            "tls : {bad|certificate|access|unexpected|internal|illegal|decode|decrypt|unsupported|unknown|\
         protocol|handshake|failed|server|no|invalid|missing|client|remote|received|oversized|\
         bad_certificate}",
            "remote error : tls",
            "local error : tls",
        ],
    )
    .also(&[Cause::ConnectionReset]),
];

/// The TCP connection.
pub(super) const CONNECT: &[Rule] = &[
    Rule::new(
        Cause::ConnectRefused,
        &[
            "connection refused",
            "actively refused",
            "econnrefused",
            "connection was refused",
            "refused to connect",
            "refused the connection",
        ],
    ),
    Rule::new(
        Cause::Unreachable,
        &[
            "no route to host",
            "{network|host} is {unreachable|down}",
            "{network|host|destination|port} unreachable",
            "unreachable {network|host}",
            "ehostunreach",
            "enetunreach",
            "cannot assign requested address",
            "connect : {invalid argument|permission denied|operation not permitted|network is down|\
             address family}",
            "address family not supported",
            "connect : no such device",
            "no suitable address",
        ],
    ),
    Rule::new(Cause::ConnectTimeout, &["dial {tcp|tcp4|tcp6} : i/o timeout"]).also(&[Cause::DnsFailure]),
    // A connection that was made and fell silent.
    Rule::new(
        Cause::TransferTimeout,
        &[
            "{read|write} {tcp|tcp4|tcp6} … {i/o timeout|timed out|deadline exceeded}",
            "read : connection timed out",
        ],
    ),
    Rule::new(
        Cause::ConnectTimeout,
        &[
            "dial {tcp|tcp4|tcp6} {<any>|<any> <any>} : {connect : |connectex : |}{i/o timeout|connection \
             timed out|operation timed out|timed out|context deadline exceeded|timeout}",
            "dial {tcp|tcp4|tcp6} … {i/o timeout|timed out|did not properly respond|deadline exceeded}",
            "{connect|getsockopt|connectex} : {connection|operation} timed out",
            "did not properly respond after a period of time",
            "{connect|connection} {attempt|to <any>|} {timed out|timeout}",
            "{connecttimeout|etimedout}",
            "timed out {while|} {connecting|waiting for connection}",
            "failed to connect … {timed out|timeout}",
        ],
    ),
    Rule::new(
        Cause::ConnectTimeout,
        &["canceled while waiting for connection", "while waiting for connection"],
    )
    .also(&[Cause::TransferTimeout]),
];

/// The exchange over a connection that was made.
pub(super) const TRANSFER: &[Rule] = &[
    Rule::new(
        Cause::TransferTimeout,
        &[
            "no progress",
            "client.timeout exceeded",
            "client.timeout or context cancellation",
            "while awaiting headers",
            "while reading body",
            "{timeout|timed out} {awaiting|waiting for|while waiting for|reading} {response|headers|\
             response headers|body|answer|server|data}",
            "http2 : timeout",
        ],
    ),
    Rule::new(
        Cause::ConnectionReset,
        &[
            "connection {was|} reset",
            "econnreset",
            "broken pipe",
            "epipe",
            "forcibly closed",
            "software caused connection abort",
            "connection {was|has been|} {aborted|closed|lost|terminated|dropped|broken}",
            "closed network connection",
            "closed {the|idle} connection",
            "server closed",
            "transport connection broken",
            "goaway",
            "stream error",
            "stream {was|id} … {reset|closed|internal_error|protocol_error|refused_stream}",
            "stream terminated by rst_stream",
            "rst_stream",
            "connection unexpectedly closed",
            "unexpectedly {closed|terminated}",
            "socket hang up",
            "malformed chunked encoding",
            "empty reply from server",
            "remote end hung up",
        ],
    ),
    Rule::new(
        Cause::ConnectionReset,
        &["unexpected eof", "short read", "unexpected end of {file|stream|data}"],
    )
    .also(&[Cause::ContentInvalid]),
    Rule::new(Cause::ConnectionReset, &[": eof", "eof $", "eof occurred"]),
    Rule::new(
        Cause::TransferTimeout,
        &[
            "context deadline exceeded",
            "deadline exceeded",
            "deadlineexceeded desc context",
            "{request|pull|download|operation|transfer|pulling} {has|} {timed out|timeout}",
            "{status|statuscode|code|http} {: |}408",
            "408 request",
        ],
    ),
    Rule::new(Cause::ConnectTimeout, &["i/o timeout"]).also(&[Cause::TransferTimeout]),
];

/// A bare word behind a URL that no other rule knows: the proxy's own.
pub(super) const PROXY_GENERAL: &[Rule] =
    &[Rule::new(Cause::ProxyFailed, &["<url> : <any> $", "{get|head|post} https : <name> : <any> $"])
        .also(&[Cause::Unknown])
        .weak()];

/// What only says that nothing came of it.
pub(super) const TIMEOUT_GENERAL: &[Rule] = &[
    Rule::new(
        Cause::ConnectTimeout,
        &["{unable|failed|cannot|could not} {to|} connect to {<name>|<url>|<resolver>}"],
    )
    .also(&[Cause::ConnectRefused])
    .weak(),
    Rule::new(Cause::TransferTimeout, &["timed out", "{timeout|timedout}"])
        .also(&[Cause::ConnectTimeout])
        .weak(),
];
