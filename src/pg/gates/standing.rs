//! Gates about the standby itself: whether it was fenced, whether the cluster is paused, and when it last heard of its
//! primary, or is known to be on the better side of a cut. Pure.

use super::{Availability, Gateway, LocalView, Policy, Said};

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

/// What the gateway's answer is worth, where nothing better is known of the silent nodes.
pub(super) fn cut_off(policy: &Policy, gateway: Gateway, unproven: &str) -> Option<Said> {
    match (policy.availability, gateway) {
        (Availability::Prefer, _) | (_, Gateway::None) => None,
        (_, Gateway::Silent) => Some(
            Said::refuse(format!(
                "nothing proves that the old primary is dead ({unproven}), and the gateway doesn't answer here either"
            ))
            .hint("is this node's own cable, port or switch dead? `pgbaton vrrp status` shows its link"),
        ),
        (_, Gateway::Early { bound }) => Some(Said::refuse(format!(
            "{unproven}; the gateway answers here: a primary that is cut off from it stops within {} ms",
            bound.as_millis()
        ))),
        (_, Gateway::Answers) => Some(Said::warn(format!(
            "{unproven}; weak proof: the gateway answers here, and a primary that it doesn't answer has stopped by now. A \
             network that is cut between the two nodes alone would look the same"
        ))),
    }
}
