//! The verbs on the other majors: a compact list of scenarios, each on each. The whole suite runs on the system's own.
//!
//! The programs come from `tests/majors/fetch`, which a test runs when they aren't there.

macro_rules! suite {
    ($module:ident, $major:literal) => {
        mod $module {
            use crate::support::pg::on_major;
            use crate::{pg, rebuild};

            #[test]
            fn promote() {
                on_major($major);
                pg::promote::a_standby_whose_primary_died_becomes_the_primary_of_a_new_timeline();
            }

            #[test]
            fn promote_with_an_archive() {
                on_major($major);
                pg::promote_verb::an_archive_that_is_gone_isn_t_asked_during_a_promotion();
            }

            #[test]
            fn synchronous_epoch() {
                on_major($major);
                pg::promote::an_epoch_counts_only_when_it_is_acknowledged();
            }

            #[test]
            fn unique_timeline() {
                on_major($major);
                pg::promote_verb::with_the_peers_histories_a_promotion_makes_a_timeline_of_its_own();
            }

            #[test]
            fn fence() {
                on_major($major);
                pg::fence::a_fenced_primary_is_gone_and_comes_back_only_as_a_standby();
            }

            #[test]
            fn fetch_history() {
                on_major($major);
                pg::fetch_history::the_replication_protocol_tells_who_a_server_is_and_gives_the_file_s_own_octets();
                pg::fetch_history::a_standby_that_only_restores_from_an_archive_follows_a_failover_by_this_verb_alone();
            }

            #[test]
            fn timeline_fork() {
                on_major($major);
                rebuild::a_former_primary_with_writes_of_its_own_is_rewound_and_they_are_listed();
            }

            #[test]
            fn unclean_target() {
                on_major($major);
                rebuild::a_crashed_primary_is_recovered_and_rewound();
            }

            #[test]
            fn recycled_wal() {
                on_major($major);
                rebuild::a_former_primary_that_recycled_its_log_is_copied();
            }

            #[test]
            fn two_promotions_at_one_lsn() {
                on_major($major);
                rebuild::two_promotions_at_one_position_are_not_taken_for_one();
            }

            #[test]
            fn cascade() {
                on_major($major);
                rebuild::scenarios::in_a_cascade_the_middle_one_follows_the_one_below_it();
            }

            #[test]
            fn stuck_old_timeline() {
                on_major($major);
                rebuild::scenarios::a_standby_that_is_stuck_on_an_old_timeline_is_rewound();
            }

            #[test]
            fn recovered_far_from_its_checkpoint() {
                on_major($major);
                rebuild::scenarios::a_crashed_primary_s_own_recovery_leaves_the_log_that_the_rewind_reads();
            }

            #[test]
            fn received_ahead_of_its_pages() {
                on_major($major);
                rebuild::scenarios::what_a_standby_has_received_need_not_come_from_the_primary_again();
            }

            #[test]
            fn waiting_segments() {
                on_major($major);
                rebuild::scenarios::segments_that_wait_for_their_use_are_not_kept();
            }

            #[test]
            fn rewind_refused() {
                on_major($major);
                rebuild::scenarios::a_rewind_that_pg_rewind_refuses_has_written_nothing();
            }

            #[test]
            fn source_is_a_standby() {
                on_major($major);
                rebuild::what_must_not_be_touched_is_refused();
            }

            #[test]
            fn vote() {
                on_major($major);
                rebuild::vote::a_node_keeps_its_own_vote_and_names_through_a_rewind_and_a_copy();
            }
        }
    };
}

suite!(v14, 14);
suite!(v16, 16);
suite!(v17, 17);
suite!(v18, 18);
