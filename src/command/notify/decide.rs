//! What a hook of keepalived is to do, from what is so now. Pure.
//!
//! What keepalived told is only the occasion to look: whether it is MASTER *now* is a fact of its own.

use crate::cli::State;

/// What the local server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// A primary; with the reason if another node's data is of a newer term.
    Primary {
        /// Why it isn't the current primary.
        outdated: Option<String>,
    },
    /// A standby.
    Standby,
    /// Nothing answers; whether any process of it is alive.
    Down {
        /// Whether any process of it is alive.
        alive: bool,
    },
}

/// What is so at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether keepalived is MASTER here.
    pub(super) active: bool,
    /// Whether a virtual IP of the cluster is here that isn't keepalived's to move.
    pub(super) vip_here: bool,
    /// The local server.
    pub(super) role: Role,
    /// Why the operator has paused the cluster, if it is paused.
    pub(super) paused: Option<String>,
}

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// Nothing, and why.
    Nothing(String),
    /// Nothing yet: something has to change first.
    Wait(String),
    /// Ask for the promotion; put the virtual IP up when it has succeeded.
    Ask,
    /// Put the virtual IP up, or renew its lease.
    Serve,
    /// Take the virtual IP down.
    DropVip(String),
    /// Take the virtual IP down and stop the server for sure.
    Fence(String),
}

/// Decides. `told` is `None` for a look that nobody has asked for.
pub(super) fn decide(seen: &Seen, told: Option<State>) -> Move {
    if let Some(why) = &seen.paused {
        // Maintenance: what serves goes on serving, and nothing else is done.
        return match &seen.role {
            Role::Primary { outdated: None } if seen.vip_here => Move::Serve,
            _ => Move::Wait(format!("the cluster is paused: {why}")),
        };
    }
    let leaving = told.filter(|state| state.is_leaving() && !seen.active);
    match (&seen.role, leaving) {
        (Role::Primary { outdated: Some(why) }, _) => Move::Fence(why.clone()),
        (Role::Primary { .. } | Role::Down { alive: true }, Some(state)) => {
            Move::Fence(format!("keepalived says {state} on this node"))
        }
        (Role::Primary { .. }, None) if seen.active || seen.vip_here => Move::Serve,
        (Role::Primary { .. }, None) => {
            Move::Nothing("the server is the primary, and keepalived isn't MASTER here".to_owned())
        }
        (Role::Standby, _) if seen.vip_here => {
            Move::DropVip("the server is a standby: the virtual IP isn't its".to_owned())
        }
        (Role::Standby, _) if seen.active => Move::Ask,
        (Role::Standby, _) => {
            Move::Nothing("the server is a standby, and keepalived isn't MASTER here".to_owned())
        }
        (Role::Down { alive: false }, _) if seen.vip_here => {
            Move::DropVip("PostgreSQL doesn't run here".to_owned())
        }
        (Role::Down { alive }, _) => {
            let why = if *alive { "PostgreSQL doesn't answer" } else { "PostgreSQL doesn't run here" };
            if seen.active { Move::Wait(why.to_owned()) } else { Move::Nothing(why.to_owned()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: Role = Role::Primary { outdated: None };

    fn seen(active: bool, vip_here: bool, role: Role) -> Seen {
        Seen { active, vip_here, role, paused: None }
    }

    fn all() -> impl Iterator<Item = (Seen, Option<State>)> {
        let roles = [
            PRIMARY,
            Role::Primary { outdated: Some("newer".to_owned()) },
            Role::Standby,
            Role::Down { alive: true },
            Role::Down { alive: false },
        ];
        let told = [None, Some(State::Master), Some(State::Backup), Some(State::Fault), Some(State::Stop)];
        roles.into_iter().flat_map(move |role| {
            told.into_iter().flat_map(move |told| {
                let role = role.clone();
                [(false, false), (false, true), (true, false), (true, true)]
                    .map(move |(active, vip)| (seen(active, vip, role.clone()), told))
            })
        })
    }

    #[test]
    fn only_a_node_that_is_master_now_asks_whatever_it_was_told() {
        for (seen, told) in all() {
            if decide(&seen, told) == Move::Ask {
                assert!(seen.active && seen.role == Role::Standby, "{seen:?} {told:?}");
            }
        }
        assert_eq!(
            decide(&seen(true, false, Role::Standby), Some(State::Backup)),
            Move::Ask,
            "a late BACKUP"
        );
        assert!(
            matches!(decide(&seen(false, false, Role::Standby), Some(State::Master)), Move::Nothing(_)),
            "a late MASTER"
        );
    }

    #[test]
    fn only_a_current_primary_is_given_the_virtual_ip() {
        for (seen, told) in all() {
            if decide(&seen, told) == Move::Serve {
                assert_eq!(seen.role, PRIMARY, "{seen:?} {told:?}");
            }
            if seen.vip_here && seen.role == Role::Standby {
                assert!(matches!(decide(&seen, told), Move::DropVip(_)), "{seen:?} {told:?}");
            }
        }
    }

    #[test]
    fn a_server_is_fenced_when_it_is_outdated_or_its_node_leaves_and_never_a_standby() {
        for (seen, told) in all() {
            let fenced = matches!(decide(&seen, told), Move::Fence(_));
            let outdated = matches!(seen.role, Role::Primary { outdated: Some(_) });
            let leaves = told.is_some_and(State::is_leaving) && !seen.active;
            let lives = matches!(seen.role, Role::Primary { .. } | Role::Down { alive: true });
            assert_eq!(fenced, outdated || (leaves && lives), "{seen:?} {told:?}");
        }
    }

    #[test]
    fn while_the_cluster_is_paused_nothing_is_promoted_stopped_or_taken_down() {
        for (seen, told) in all() {
            let paused = Seen { paused: Some("upgrade".to_owned()), ..seen };
            let decided = decide(&paused, told);
            assert!(matches!(decided, Move::Serve | Move::Wait(_)), "{paused:?} {told:?}");
            assert!(decided != Move::Serve || paused.vip_here, "{paused:?} {told:?}");
        }
    }

    #[test]
    fn a_primary_that_keepalived_starts_beside_or_that_loses_an_election_goes_on() {
        assert_eq!(decide(&seen(false, true, PRIMARY), Some(State::Backup)), Move::Serve);
        assert!(matches!(decide(&seen(false, false, PRIMARY), Some(State::Backup)), Move::Nothing(_)));
        assert_eq!(decide(&seen(true, false, PRIMARY), Some(State::Stop)), Move::Serve, "a late STOP");
    }
}
