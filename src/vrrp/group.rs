//! Virtual routers that are Active together or not at all.
//!
//! Pure: the members' states go in, what has to be done to each comes out. A member never becomes Active by
//! itself ([`Config::grouped`](super::config::Config::grouped)): it says that it wants to, and rises with the
//! others when all do. When one leaves, the others follow.

use super::types::State;

/// What a group knows of one of its virtual routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its state.
    pub state: State,
    /// Whether it would be Active by now if it were alone.
    pub wants: bool,
    /// Whether something that it needs itself is missing.
    pub fault: bool,
    /// Whether the group keeps it out of the election.
    pub kept_out: bool,
}

/// What has to be done to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Out of the election, because another can't be in it.
    KeepOut,
    /// Into the election again.
    LetIn,
    /// Become Active.
    Rise,
    /// Become Backup.
    Fall,
}

/// What a group is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whole {
    /// Every member is Active.
    Active,
    /// Every member is in the election, not all are Active.
    Backup,
    /// At least one is out of the election.
    Fault,
}

/// Decides what is to be done to each member; `None` is one that doesn't run.
pub fn steps(members: &[Option<Member>]) -> Vec<Step> {
    let broken = members.iter().any(|member| member.is_none_or(|member| member.fault));
    let all = |fits: &dyn Fn(&Member) -> bool| members.iter().all(|member| member.as_ref().is_some_and(fits));
    let any = |fits: &dyn Fn(&Member) -> bool| members.iter().any(|member| member.as_ref().is_some_and(fits));
    let step = |choose: &dyn Fn(&Member) -> Step| -> Vec<Step> {
        members.iter().map(|member| member.as_ref().map_or(Step::Stay, choose)).collect()
    };
    if broken {
        // The broken one too: it comes back with the others, not as soon as it is mended itself.
        return step(&|member| if member.kept_out { Step::Stay } else { Step::KeepOut });
    }
    if any(&|member| member.kept_out) {
        return step(&|member| if member.kept_out { Step::LetIn } else { Step::Stay });
    }
    if any(&|member| member.state == State::Active) {
        if all(&|member| member.state == State::Active) {
            return step(&|_| Step::Stay);
        }
        return step(&|member| if member.state == State::Active { Step::Fall } else { Step::Stay });
    }
    if all(&|member| member.state == State::Backup && member.wants) {
        return step(&|_| Step::Rise);
    }
    step(&|_| Step::Stay)
}

/// Returns what the group is as a whole.
pub fn whole(members: &[Option<Member>]) -> Whole {
    let out = |member: &Member| member.fault || member.kept_out;
    if members.iter().any(|member| member.as_ref().is_none_or(out)) {
        Whole::Fault
    } else if members.iter().all(|member| member.is_some_and(|member| member.state == State::Active)) {
        Whole::Active
    } else {
        Whole::Backup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKUP: Member = Member { state: State::Backup, wants: false, fault: false, kept_out: false };
    const WANTS: Member = Member { wants: true, ..BACKUP };
    const ACTIVE: Member = Member { state: State::Active, ..BACKUP };
    const FAULT: Member = Member { state: State::Initialize, fault: true, ..BACKUP };
    const OUT: Member = Member { state: State::Initialize, kept_out: true, ..BACKUP };

    #[test]
    fn all_rise_when_all_want_to_and_fall_when_one_has() {
        for (members, expected) in [
            ([BACKUP, WANTS], [Step::Stay, Step::Stay]),
            ([WANTS, WANTS], [Step::Rise, Step::Rise]),
            ([ACTIVE, ACTIVE], [Step::Stay, Step::Stay]),
            ([ACTIVE, BACKUP], [Step::Fall, Step::Stay]),
            ([ACTIVE, WANTS], [Step::Fall, Step::Stay]),
            ([ACTIVE, FAULT], [Step::KeepOut, Step::KeepOut]),
            ([OUT, FAULT], [Step::Stay, Step::KeepOut]),
            ([OUT, Member { kept_out: true, ..FAULT }], [Step::Stay, Step::Stay]),
            ([OUT, BACKUP], [Step::LetIn, Step::Stay]),
            ([OUT, OUT], [Step::LetIn, Step::LetIn]),
        ] {
            assert_eq!(steps(&members.map(Some)), expected, "{members:?}");
        }
        assert_eq!(steps(&[Some(ACTIVE), None]), [Step::KeepOut, Step::Stay]);
    }

    #[test]
    fn a_group_is_what_its_weakest_member_is() {
        for (members, expected) in [
            ([ACTIVE, ACTIVE], Whole::Active),
            ([ACTIVE, BACKUP], Whole::Backup),
            ([WANTS, BACKUP], Whole::Backup),
            ([ACTIVE, FAULT], Whole::Fault),
            ([OUT, BACKUP], Whole::Fault),
        ] {
            assert_eq!(whole(&members.map(Some)), expected, "{members:?}");
        }
        assert_eq!(whole(&[Some(ACTIVE), None]), Whole::Fault);
    }
}
