//! The promises, one by one.

mod beginning;
mod members;
mod messages;
mod network;
mod order;
mod redelivery;
mod trouble;

use busway_engine::transport::Capability as Can;

use super::Case;

/// A case of a function.
macro_rules! case {
    ($name:literal, [$($need:expr),*], $($path:ident)::+) => {
        Case { name: $name, needs: &[$($need),*], needs_network: false, run: |world| Box::pin($($path)::+(world)) }
    };
}

/// The same, while the network fails.
macro_rules! over_a_network {
    ($name:literal, [$($need:expr),*], $($path:ident)::+) => {
        Case { needs_network: true, ..case!($name, [$($need),*], $($path)::+) }
    };
}

/// All cases, in the order in which they had better be made to pass. Names begin with different words.
pub const CASES: &[Case] = &[
    case!("publish and subscribe", [], messages::publish_and_subscribe),
    case!("metadata goes round", [], messages::metadata_goes_round),
    case!("empty and big payloads", [], messages::empty_and_big_payloads),
    case!("oversized messages are refused", [], messages::oversized_messages_are_refused),
    case!("wildcards", [Can::Wildcards], messages::wildcards),
    case!("idempotent publish", [Can::IdempotentSend], messages::idempotent_publish),
    case!("order of a stream and of keys", [Can::OrderPerKey], order::order_per_key),
    case!("concurrency across keys", [], order::concurrency_across_keys),
    case!("settled is settled", [Can::Resume], redelivery::settled_is_settled),
    case!("again after a while", [Can::DelayedRetry], redelivery::again_after_a_while),
    case!("back at once", [], redelivery::back_at_once),
    case!("dead letters are not delivered again", [Can::DeadLetters], redelivery::dead_letters),
    case!("crash of a member", [Can::RedeliveryAfterCrash], redelivery::crash_of_a_member),
    case!("timeout of a delivery", [Can::RedeliveryAfterTimeout], redelivery::timeout_of_a_delivery),
    case!("renewal", [Can::Renewal, Can::RedeliveryAfterTimeout], redelivery::renewal),
    case!("resume", [Can::Resume], beginning::resume),
    case!("earliest", [Can::ReplayFromOffset], beginning::earliest),
    case!("replay from an offset", [Can::ReplayFromOffset], beginning::replay_from_an_offset),
    case!("time to begin at", [Can::ReplayFromTime], beginning::replay_from_a_time),
    case!(
        "removed subscriptions begin anew",
        [Can::ReplayFromOffset, Can::Removal],
        beginning::removed_subscriptions_begin_anew
    ),
    case!("groups share", [Can::Groups], members::groups_share),
    case!("members join and leave", [Can::Groups, Can::Resume], members::members_join_and_leave),
    case!(
        "keys keep their order in a group",
        [Can::Groups, Can::OrderPerKeyInGroup, Can::Resume],
        members::keys_keep_their_order
    ),
    case!("subscriptions are apart", [], members::subscriptions_are_apart),
    case!("slow consumers hold nobody", [], trouble::slow_consumers_hold_nobody),
    case!("pressure on the processors", [Can::OrderPerKey], trouble::pressure_on_the_processors),
    case!("closing with events in flight", [Can::Resume], trouble::closing_with_events_in_flight),
    case!("dropped receives lose nothing", [], trouble::dropped_receives_lose_nothing),
    case!("broker restarts", [Can::SurvivesRestart], trouble::broker_restarts),
    over_a_network!("cut network", [Can::OrderPerKey], network::cut),
    over_a_network!("silent network", [Can::OrderPerKey], network::silent),
    over_a_network!("half-closed network", [Can::OrderPerKey], network::half_closed),
    over_a_network!("late network", [Can::OrderPerKey], network::late),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_cases_begin_with_words_of_their_own() {
        let first: BTreeSet<_> = CASES.iter().filter_map(|case| case.name.split(' ').next()).collect();
        assert_eq!(first.len(), CASES.len());
    }
}
