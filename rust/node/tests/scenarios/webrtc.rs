//! The scenarios of the other modules, over WebRTC: the same is said, whatever carries it.
//!
//! Those are left out where it shows: a stream of its own can be reset, so the end of a request is told; on shared streams it
//! is not. And an offer of a banned peer is refused by a reason of the existing node's, which has none for that.

use mina_p2p::TransportKind;

use crate::common::over;

macro_rules! over_webrtc {
    ($($module:ident: $($test:ident),* $(,)?;)*) => {$(
        mod $module {
            $(
                #[test]
                fn $test() {
                    super::over(super::TransportKind::WebRtc, crate::$module::$test);
                }
            )*
        }
    )*};
}

over_webrtc! {
    requests:
        the_library_answers_what_it_holds,
        peers_are_named_by_the_address_at_which_they_were_dialed,
        the_user_answers_the_rest,
        what_the_library_does_not_hold_the_user_may,
        an_answer_that_cannot_be_one_is_an_error_value,
        a_staged_ledger_comes_in_parts_each_when_the_last_was_taken,
        several_requests_are_answered_in_any_order,
        five_requests_are_served_at_once_64_wait_and_more_are_refused,
        a_cancelled_staged_ledger_ends_at_both_ends,
        requests_that_wait_fail_before_their_peer_is_reported_gone,
        an_answer_to_a_peer_that_has_gone_is_an_error_value,
        the_longest_block_is_an_answer,
        without_a_peer_named_the_one_that_offered_the_item_is_asked,
        requests_above_the_rate_wait,
        what_the_user_leaves_unanswered_is_answered_with_nothing;
    pools:
        every_item_reaches_every_node_of_a_ring_with_its_bytes,
        hundreds_of_items_converge,
        a_node_without_a_tip_gets_the_pools_of_one_with_a_tip,
        what_a_peer_gave_is_not_offered_back_to_it,
        an_item_that_is_in_the_pool_is_not_reported,
        an_item_that_changed_is_offered_again,
        what_was_removed_is_neither_offered_nor_answered,
        a_peer_that_was_away_gets_what_it_missed_and_nothing_else,
        a_user_that_takes_no_events_gets_one_permits_worth_of_them,
        commitments_come_whole_and_once;
    blocks:
        a_tip_reaches_a_connected_peer_with_its_bytes,
        a_peer_that_connects_later_gets_the_current_tip_alone,
        the_permit_is_renewed_only_when_the_event_was_taken,
        tips_are_relayed_along_a_line_of_nodes_and_back_comes_nothing,
        recent_tips_can_be_fetched_by_their_state_hash,
        the_longest_block_travels_as_a_tip_and_a_longer_one_is_refused;
    compact:
        a_block_is_rebuilt_from_the_pool_byte_for_byte_without_a_question,
        what_the_pool_lacks_is_fetched_with_one_question,
        with_an_empty_pool_a_block_costs_little_more_than_itself,
        what_the_sender_never_offered_comes_with_the_list,
        a_fork_is_rebuilt_from_the_items_of_the_block_before,
        an_accepted_header_runs_ahead_of_the_body_and_an_ignored_one_ends,
        a_rejected_header_ends_the_connection_to_who_relayed_it,
        a_peer_without_compact_blocks_gets_and_gives_them_whole,
        a_peer_that_connects_later_gets_the_tip_compactly,
        a_block_from_several_peers_is_told_of_once_and_permits_go_on,
        a_user_that_takes_its_events_is_told_of_block_after_block;
    extensions:
        a_method_is_served_by_the_user,
        an_answer_of_32_mib_comes_whole,
        an_answer_that_the_caller_does_not_accept_is_refused_to_its_giver_alone,
        what_is_not_served_is_answered_without_the_user;
    peers:
        a_full_node_does_not_dial,
        a_connected_peer_is_not_dialed_again,
        disconnecting_ends_the_connection_at_both_ends,
        a_second_node_with_the_same_key_is_refused_while_the_first_lives,
        a_busy_peer_is_not_taken_for_dead;
    closing:
        a_closed_node_says_so_to_its_peers_and_its_caller,
        dropping_the_last_handle_closes,
        a_node_can_be_closed_in_the_middle_of_a_transfer;
    crossed:
        crossed_dials_end_in_one_connection_in_200_of_200_tries;
    dials:
        an_initial_peer_that_was_disconnected_is_dialed_again,
        an_initial_peer_may_dial_first;
}
