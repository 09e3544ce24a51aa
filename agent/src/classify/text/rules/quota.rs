//! Limits on pulls.

use super::Rule;
use crate::model::Cause;

/// The kubelet's own limit.
pub(super) const KUBELET: &[Rule] = &[Rule::new(Cause::KubeletThrottled, &["pull qps exceeded"])];

/// Quotas that time alone does not refill. They come behind codes of their own or behind `denied` and
/// `toomanyrequests`, so they are asked first.
pub(super) const USED_UP: &[Rule] = &[
    // Google's quotas are requests per minute, though worded as a quota.
    Rule::new(
        Cause::RateLimited,
        &[
            "quota exceeded for quota {metric|group} … per {minute|second|100}",
            "quota exceeded for quota {metric|group}",
            "{requests|queries} per {minute|second|project|user}",
        ],
    ),
    Rule::new(
        Cause::QuotaExceeded,
        &[
            "traffic quota",
            "traffic limit",
            "{bandwidth|storage|transfer|egress|usage} {quota|limit} {exceeded|reached|has been|is}",
            "{exceeded|exceeds|over|reached} {its|your|the|} {bandwidth|storage|data|transfer|egress|\
             usage|monthly} {bandwidth|storage|data|transfer|egress|usage|} {quota|limit|allowance}",
            "{monthly|month's} {quota|limit|allowance|bandwidth|transfer}",
            "{quota|limit|download|pull|pulls} … {current month|this month|per month}",
            "{exceed|exceeds|exceeded} the configured upper limit",
            "payment required",
            "{exceed|exceeds|exceeded|exceeding} {the|your|its|} {storage|bandwidth|transfer|download|\
             traffic|project|organization|account} {quota|limit|allowance}",
            "{data|network} transfer {exceeded|limit}",
            "{requires billing|billing to be enabled|billing account|billing is disabled|billing disabled|\
             billing has been}",
            "{subscription|plan|trial} {has expired|expired|limit|is over|has ended}",
            "{data|transfer} {transfer|data} {limit|quota}",
            "insufficient {credit|credits|balance|funds}",
            "{overdue|arrears|unpaid} {payment|balance|invoice|invoices|}",
            "{account|service} … {overdue|arrears}",
            "spending limit",
            "{status|statuscode|code|http|registry|returned} {: |}402",
        ],
    )
    .also(&[Cause::RateLimited]),
];

/// Requests per window of time.
pub(super) const RATE: &[Rule] = &[
    Rule::new(
        Cause::RateLimited,
        &[
            "{reached|exceeded} your {unauthenticated|authenticated|anonymous|} pull rate limit",
            "increase-rate-limit",
        ],
    )
    .hint(
        "Wait for the window to pass (6 hours on Docker Hub), log in with an account that has a \
         higher limit (an imagePullSecret), or put a pull-through cache in front.",
    ),
    Rule::new(
        Cause::RateLimited,
        &[
            "toomanyrequests",
            "too_many_requests",
            "too many requests",
            "hap429",
            "pull rate limit",
            "rate limit {exceeded|reached|hit}",
            "{exceeded|reached|hit|over} {the|your|its|a|} {rate|request|api|pull} {rate|} limit",
            "rate exceeded",
            "rate {limited|limiting|limit-exceeded}",
            "{throttlingexception|throttled|throttling}",
            "request {limit|rate} exceeded",
            "{status|statuscode|code|http|registry|returned|got|response|error} {: |}429",
            "429 {$|:}",
        ],
    ),
    Rule::new(
        Cause::QuotaExceeded,
        &[
            "quota {exceeded|has been exceeded|is exceeded|reached|exhausted}",
            "{exceeded|exceeds} {the|your|its|} quota",
            "quotaexceeded",
            "over quota",
            "resource_exhausted",
        ],
    )
    .also(&[Cause::RateLimited]),
];
