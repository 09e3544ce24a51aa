//! Credentials and permissions.

use super::Rule;
use crate::model::Cause;

/// The kubelet's own way to credentials broke: it sends none.
pub(super) const CREDENTIAL_PLUGIN: &[Rule] = &[Rule::new(
    Cause::CredentialsMissing,
    &[
        "credential provider plugin",
        "external registry credential provider",
        "{unable|failed} to retrieve {some|} image pull {secrets|secret}",
        "failedtoretrieveimagepullsecret",
        "{failed|unable} to {get|fetch|find|load|retrieve} {image|registry|pull|the|} {pull|} \
         {credentials|secret|secrets} {for|from}",
        "error getting credentials",
        "getting username and password",
        "docker-credential-helper",
    ],
)
.also(&[Cause::Unknown])
.hint(
    "Look at the kubelet's log and its --image-credential-provider-config on the node: without the \
 plugin's answer the pull is anonymous.",
)];

/// What the token service answered. Its 5xx and 429 are not about credentials and are read elsewhere.
pub(super) const TOKEN_SERVICE: &[Rule] = &[
    Rule::new(
        Cause::CredentialsRejected,
        &[
            "oauth token : … {400|401|403} {bad request|unauthorized|forbidden|$|:}",
            "oauth token … {invalid_grant|invalid_client|invalid username|incorrect username}",
            "{refresh|identity} token … {400|401|403} {bad request|unauthorized|forbidden|$|:}",
        ],
    ),
    Rule::new(
        Cause::CredentialsMissing,
        &[
            "anonymous token : … {401|403} {unauthorized|forbidden|$|:}",
            "anonymous token : … {unauthorized|forbidden|denied} $",
        ],
    )
    .also(&[Cause::DeniedOrAbsent]),
];

/// Wordings that leave little doubt.
pub(super) const EXACT: &[Rule] = &[
    // Google's text guesses at both; what it knows is the permission.
    Rule::new(Cause::AccessDenied, &["have the needed permissions … may have invalid credentials"])
        .also(&[Cause::CredentialsMissing, Cause::CredentialsRejected]),
    Rule::new(
        Cause::CredentialsRejected,
        &[
            "{authorization|access|authentication|auth|security|session|registry|bearer|identity|refresh|\
             personal|} token {has|is|was|} {expired|revoked|invalid}",
            "{authorization|access|authentication|auth|security|session|registry|bearer|identity|refresh|\
             api|personal} token {has|is|was|} {been|} {expired|revoked|invalid}",
            "token {has|is|was} {been|} {expired|revoked|invalid}",
            "{expired|revoked|invalid} {authorization|access|authentication|auth|security|bearer|jwt|\
             oauth|identity|refresh|personal|api|} {access|} {token|key|jwt}",
            "token … {expired|revoked} $",
            "token included in the request is {expired|invalid}",
        ],
    )
    .hint(
        "Renew the password or token in the pull secret: cloud registries' tokens live for hours (ECR: \
     12), so a secret made by hand must be renewed by a job or a credential provider.",
    ),
    Rule::new(
        Cause::CredentialsRejected,
        &[
            "{incorrect|invalid|wrong|bad|unknown} {username|user|user name|login|credentials|credential|\
             password|account} {or|and|} {password|secret|name|}",
            "{incorrect|invalid|wrong|bad} username/password",
            "{username|user|password|credentials|login} {or password|and password|or token|} {is|are|was|\
             were} {incorrect|invalid|wrong|not valid|rejected|not correct}",
            "password or token is {incorrect|invalid}",
            "{wrong|invalid} {clientid|client id|client secret}",
            "{bad|invalid} {credentials|credential}",
            "http basic : access denied",
            "{authentication|login|logon} {failed|failure|was rejected|has failed|unsuccessful|attempt \
             failed}",
            "failed {authentication|login}",
            "{cannot|could not|can't|unable to} be authenticated",
            "login attempt … 401",
            "authentication is not valid",
            "personal access token",
            "{unrecognizedclientexception|expiredtokenexception|expiredtoken|invalidclienttokenid|\
             invalidsignatureexception|signaturedoesnotmatch}",
            "application not registered with aad",
            "could not find robot",
            "{account|user} {is|has been} {locked|disabled|blocked|suspended}",
            "{invalid_grant|invalid_client|invalid_token|invalid_credentials|bad_credentials}",
            "props authentication token not found",
            "unknown user",
            "please use {personal|a personal} access token",
        ],
    ),
    Rule::new(
        Cause::AccessDenied,
        &[
            "not authorized to perform",
            "no {resource-based|identity-based|permissions boundary|session} policy allows",
            "with an explicit deny",
        ],
    )
    .also(&[Cause::CredentialsRejected])
    .hint(
        "Have this identity (the message names it) allowed the action that the message names, on this \
     repository.",
    ),
    Rule::new(
        Cause::CredentialsMissing,
        &[
            "no basic auth credentials",
            "unauthenticated {request|requests|user|users|access}",
            "{authorize|authorization} header {needed|required|is missing|missing|not found|is required}",
            "{missing|no} {authorization|authentication|auth} {header|credentials|token|info|information}",
            "{anonymous|unauthenticated} {access|pull|pulls|user|users|downloads} {is|are|} {disabled|not \
             allowed|denied|forbidden|not permitted|rejected}",
            "{not|must be|need to be|be} logged in",
            "{login|sign-in|signin|log in} {is|} required",
            "{please|must|need to|first} {log in|login|sign in}",
            "basic auth required",
            "no {credentials|authentication|auth} {were|was|} {provided|found|supplied|given|configured|\
             available|sent}",
            "credentials {not found|missing|are required|required|were not provided|not provided}",
            "no credential found",
            "tls : certificate required",
        ],
    )
    .also(&[Cause::CredentialsRejected]),
    Rule::new(
        Cause::DeniedOrAbsent,
        &[
            "repository does not exist or may require",
            "may require {authorization|authentication|docker login}",
            "does not exist or no pull access",
            "{does not exist|not found|doesn't exist} or {you|} {may not|do not|don't|no|insufficient|may|\
             lack} {have|} {permission|permissions|access|pull|require|be}",
            "denied : requested access to the resource is denied … unauthorized : authentication required",
            "pull access denied",
            "{does not exist|not found|doesn't exist} or you have no {permission|permissions|access}",
        ],
    )
    .also(&[Cause::RepositoryNotFound, Cause::AccessDenied, Cause::CredentialsMissing])
    .hint(
        "Check the repository's name first (IMAGE); if it is right, the pull needs credentials that may \
     read it: give the pod an imagePullSecret for this registry.",
    ),
];

/// A registry's general words and statuses.
pub(super) const GENERAL: &[Rule] = &[
    Rule::new(
        Cause::AccessDenied,
        &[
            "{permission|permissions} … denied",
            "permission_denied",
            "{does not|doesn't|do not|don't|did not|not} have {the|needed|required|sufficient|enough|any|\
             pull|read|} {needed|required|necessary|} {permission|permissions|access|rights|privilege|\
             privileges|pull access}",
            "{insufficient|missing|lacks|lacking|required} {permission|permissions|privileges|scope|\
             scopes|rights|access}",
            "{not|isn't|is not} {permitted|allowed|authorized|entitled} {to|access|for}",
            "insufficient_scope",
            "accessdeniedexception",
            "accessdenied",
            "access denied",
            "access {is|was|to … is|has been} {denied|forbidden|not authorized|blocked|restricted}",
            "access forbidden",
            "access to the requested resource is not authorized",
            "{is|are} not authorized",
            "not authorized",
            "no pull access",
            "unauthorized to access",
            "{does not|doesn't} match {bearer token|expected scopes|the expected}",
            "not allowed access",
            "unauthorized : the client does not have permission",
            "has been {suspended|disabled|blocked|banned|deactivated}",
            "403 {forbidden|permission|access|$|:}",
            "{status|statuscode|code|http|registry|returned|got|response|error} {: |}403",
            "{status|statuscode|code|http|registry|returned} {: |}451",
            "api has not been used in project",
            "firewall to grant access",
        ],
    )
    .also(&[Cause::DeniedOrAbsent, Cause::CredentialsRejected, Cause::CredentialsMissing]),
    Rule::new(
        Cause::CredentialsMissing,
        &[
            "{authentication|authorization} {is|} {required|needed}",
            "401 {unauthorized|authorization required|authentication required|$|:}",
            "{status|statuscode|code|http|registry|returned|got|response|error} {: |}401",
            "requires {authentication|authorization|login|credentials}",
            "unauthenticated",
        ],
    )
    .also(&[Cause::CredentialsRejected]),
    Rule::new(Cause::CredentialsRejected, &["{authentication|authorization} {failed|failure|error}"]).weak(),
    Rule::new(Cause::AccessDenied, &["denied : …", "denied $", "forbidden", "denied message", "denied"])
        .also(&[Cause::CredentialsRejected, Cause::DeniedOrAbsent])
        .weak(),
    Rule::new(Cause::CredentialsMissing, &["unauthorized"])
        .also(&[Cause::CredentialsRejected, Cause::AccessDenied])
        .weak(),
];
