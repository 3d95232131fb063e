//! Routes: who handles what, and what is done when that fails.

use busway_event::Filter;

use super::{AtSection, Limits, Steps};
use crate::read::{Given, choice, section};
use crate::value::{Count, Level, Name, Time};

section! {
    /// A route: a filter and the handler of what it matches.
    Route, "a route" {
        /// The topics.
        filter: Given<Filter>,
        /// The handler, by the name under which the program has registered it.
        handler: Given<String>,
        /// Its name in the store: makes it durable, so that every event of streams is attempted until it is settled. Default: it is ephemeral, in memory.
        durable: Option<Given<Name>>,
        /// Puts it at a broker: its events come from there. Not with `durable` or `group`, which are of this bus. Default: it is of this bus.
        at: Option<AtSection>,
        /// Makes it a member of this group: members share the events, each goes to one of them. Ephemeral members have the same filter, durable ones the
        /// same `durable` name. Default: none.
        group: Option<Given<Name>>,
        /// Who of several free members is given an event that sticks to none. Default `round_robin`.
        group_rule: Option<Given<GroupSharing>>,
        /// Where a durable one, or one at a broker, begins that is not known there yet. Default `latest`.
        start_at: Option<Given<StartingAt>>,
        /// Its own limits.
        limits: Option<Limits>,
        /// How often a failing event is attempted. Default: durable 16 attempts, 200ms to 60s apart; ephemeral once.
        retry: Option<RetrySection>,
        /// A circuit breaker around the handler, one for each topic. Default: none.
        breaker: Option<BreakerSection>,
        /// Handles once what is asked for twice. Default: nothing is remembered.
        idempotency: Option<IdempotencySection>,
        /// What becomes of events that are given up; durable ones only. Default: they are kept for ever, up to 1000000.
        dead_letters: Option<DeadLettersSection>,
        /// How long an attempt may take; durable ones only. Default: for ever; at least 1ms.
        deadline: Option<Given<Time<1>>>,
        /// Settles each event before its handler starts, so that none is attempted twice, whatever happens; durable ones only. Default false: at least once.
        at_most_once: Option<Given<bool>>,
        /// Middleware around this handler alone, by stage.
        middleware: Option<Steps>,
    }
}

impl Route {
    /// Where it says that each event is settled before its handler starts.
    pub(crate) fn at_most_once(&self) -> Option<&Given<bool>> {
        self.at_most_once.as_ref().filter(|is_asked| *is_asked.value())
    }

    /// As whom it is judged by rules of access, also where a part of it is at a broker or in a group.
    pub(crate) fn identity<'a>(&'a self, name: &'a str) -> &'a str {
        self.durable.as_ref().map_or(name, |durable| durable.as_str())
    }
}

section! {
    /// How often a failing event is attempted, and how far apart.
    RetrySection, "retry" {
        /// Attempts in all, the first one included. Default 16, of ephemeral ones 3; at least 1.
        attempts: Option<Given<Level>>,
        /// The longest delay behind the first attempt; it doubles with each further one. Default 200ms; at least 1ms.
        first_delay: Option<Given<Time<1>>>,
        /// The longest delay of all. Default 60s; at least 1ms.
        longest_delay: Option<Given<Time<1>>>,
        /// These delays instead, one after the other; 1 to 16, each at least 1ms.
        delays: Vec<Given<Time<1>>>,
        /// How much of the traffic may be retries; not of handlers that take batches in memory or at a broker. Default: no bound.
        budget: Option<RetryBudgetSection>,
    }
}

section! {
    /// How much of a subscription's traffic may be retries.
    RetryBudgetSection, "a retry budget" {
        /// Retries for each hundred first attempts of the last ten seconds; at most 1000.
        percent: Given<Count<0, 1_000>>,
        /// Retries a second whatever the traffic. Default 1.
        per_second: Option<Given<Count<0, 1_000_000>>>,
    }
}

section! {
    /// A circuit breaker, one for each topic.
    BreakerSection, "a breaker" {
        /// Opens with this failure in a row. Default 4; at least 1.
        opens_after: Option<Given<Level>>,
        /// Opens also when a part of the calls failed. Default: not by a rate.
        rate: Option<FailureRateSection>,
        /// How long it is open before it is probed. Default 60s; at least 1ms.
        open_for: Option<Given<Time<1>>>,
        /// Each failed probe doubles the time that it is open, up to this. Default: as `open_for`.
        open_for_longest: Option<Given<Time<1>>>,
        /// Calls at once that probe it. Default 5; at least 1.
        max_probes: Option<Given<Level>>,
        /// Probes that have to succeed before it closes. Default 1; at least 1.
        required_successes: Option<Given<Level>>,
        /// What is done with an event whose call is refused. Default `pause`.
        fallback: Option<Given<BreakerFallback>>,
    }
}

section! {
    /// So many of the calls in a window.
    FailureRateSection, "a failure rate" {
        /// The part that failed; 1 to 100.
        percent: Given<Count<1, 100>>,
        /// Calls that there were at least; at least 1.
        calls: Given<Level>,
        /// The time that is looked at; 1ms to 1d.
        window: Given<Time<1>>,
    }
}

section! {
    /// Handles once what is asked for twice.
    IdempotencySection, "idempotency" {
        /// What makes two events one.
        by: Given<KeyFrom>,
        /// Names of metadata, or pointers into the payload (`/order/id`), that make up the key together.
        fields: Vec<Given<String>>,
        /// For how long a key that is done is remembered. Default 24h; at least 1ms.
        ttl: Option<Given<Time<1>>>,
        /// Keys that are remembered in the store; durable ones only. Default 1000000; 1 to 16777216.
        keys_max: Option<Given<Count<1, 16_777_216>>>,
        /// Keys that are remembered in memory; ephemeral ones only. Default 10000; at least 1.
        local_capacity: Option<Given<Level>>,
        /// For how long they are. Default 60s; at least 1ms.
        local_ttl: Option<Given<Time<1>>>,
        /// What becomes of an event without a key. Default `give_up`.
        on_no_key: Option<Given<WithoutKey>>,
        /// How often one key may be attempted again; durable ones only. Default: as `retry` says.
        retry_rate: Option<RateSection>,
        /// A store of keys that several processes share, by the name under which the program has registered it. Default: the bus's own for a durable route, memory for others and at a broker.
        store: Option<Given<String>>,
        /// Longest lease of a key in `store`. Default 30s; 1ms to 1d.
        lease: Option<Given<Time<1>>>,
        /// What becomes of events while `store` cannot be reached. Default `delay`.
        on_unreachable: Option<Given<WhileUnreachable>>,
    }
}

section! {
    /// So many in so much time.
    RateSection, "a rate" {
        /// As many; at least 1.
        events: Given<Level>,
        /// In so much time. Default 1s; at least 1ms.
        per: Option<Given<Time<1>>>,
        /// As many at once. Default 1; at least 1.
        burst: Option<Given<Level>>,
    }
}

section! {
    /// What becomes of events that are given up.
    DeadLettersSection, "dead letters" {
        /// Whether they are kept. Default `keep`.
        policy: Option<Given<DeadLetterKeeping>>,
        /// As many as are kept; when there are as many, lanes stop. Default 1000000; at least 1.
        capacity: Option<Given<Count<1, 1_000_000_000>>>,
        /// For how long each is kept. Default: for ever; at least 1s.
        expire_after: Option<Given<Time<1_000>>>,
        /// Whether events whose time to live is over are kept too; else they are settled and counted. Default false.
        with_expired: Option<Given<bool>>,
    }
}

choice! {
    /// Who of several free members is given an event.
    GroupSharing {
        /// In turn.
        RoundRobin = "round_robin",
        /// Whoever has the least to do.
        LeastLoaded = "least_loaded",
    }
}

choice! {
    /// Where a subscription begins that the store, or the broker, does not know yet.
    StartingAt {
        /// With what is published from now on.
        Latest = "latest",
        /// With the oldest event that is kept.
        Earliest = "earliest",
    }
}

choice! {
    /// What is done with an event whose call a breaker refuses.
    BreakerFallback {
        /// It waits.
        Pause = "pause",
        /// It is acknowledged, and handled later; its lane goes on without it.
        AckAndRetryLater = "ack_and_retry_later",
        /// It becomes a dead letter.
        DeadLetter = "dead_letter",
    }
}

choice! {
    /// What makes two events one.
    KeyFrom {
        /// Their id.
        Id = "id",
        /// Fields of their metadata.
        Metadata = "metadata",
        /// Values in their payload, which is JSON.
        Payload = "payload",
    }
}

choice! {
    /// What becomes of an event without a key.
    WithoutKey {
        /// It is given up: a dead letter.
        GiveUp = "give_up",
        /// It fails as any attempt does.
        Retry = "retry",
    }
}

choice! {
    /// What becomes of events while a store of keys cannot be reached.
    WhileUnreachable {
        /// They wait.
        Delay = "delay",
        /// They are handled without protection, and counted.
        Pass = "pass",
    }
}

choice! {
    /// Whether dead letters are kept.
    DeadLetterKeeping {
        /// They are kept.
        Keep = "keep",
        /// They are let go, and counted.
        Discard = "discard",
    }
}
