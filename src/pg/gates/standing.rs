//! Gates about the standby itself: whether it was fenced, whether the cluster is paused, and when it last heard of its
//! primary. Pure.

use super::{Availability, LocalView, Policy, Said};

pub(super) fn needs_check(local: &LocalView) -> Said {
    match &local.needs_check {
        Some(reason) => Said::refuse(format!(
            "this server was fenced ({reason}), and nobody has looked at its data since"
        ))
        .hint("pgbaton pg rebuild-standby; or, if its data is the right one: --force needs-check"),
        None => Said::pass("this server wasn't fenced"),
    }
}

pub(super) fn paused(local: &LocalView) -> Said {
    match &local.paused {
        Some(reason) => Said::refuse(format!(
            "the operator has paused the cluster ({reason}): the daemons change nothing, and no virtual IP moves"
        ))
        .hint("pgbaton cluster resume; or, to promote all the same: --force paused, and resume it afterwards"),
        None => Said::pass("the cluster isn't paused"),
    }
}

pub(super) fn last_contact(local: &LocalView, policy: &Policy) -> Said {
    match (local.last_heard, policy.max_silence) {
        (Some(heard), Some(most)) if heard > most => Said::refuse(format!(
            "the primary was last heard of {:.1} s ago; at most {:.1} s are allowed",
            heard.as_secs_f64(),
            most.as_secs_f64()
        ))
        .hint("did this standby stream until the primary fell silent? how much may be missing is unknown"),
        (Some(heard), _) => {
            Said::pass(format!("the primary was last heard of {:.1} s ago at most", heard.as_secs_f64()))
        }
        (None, Some(_)) if policy.availability == Availability::Hold || policy.strict => {
            Said::refuse("nothing tells when the primary was last heard of")
                .hint("has this standby streamed since it was started?")
        }
        (None, Some(_)) => Said::warn("nothing tells when the primary was last heard of"),
        (None, None) => Said::pass("no limit is set"),
    }
}
