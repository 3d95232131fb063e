//! The metrics of a bus: each by name, unit and meaning, in one place.

use metrics::Unit;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    Counter,
    Gauge,
    Histogram,
}

/// A metric: its name, what it is, its unit and its meaning.
pub(super) type Family = (&'static str, Is, Unit, &'static str);

pub(super) const PUBLISHED: &str = "busway_events_published_total";
pub(super) const REFUSED: &str = "busway_publishes_refused_total";
pub(super) const UNROUTED: &str = "busway_events_unrouted_total";
pub(super) const UNSTORED: &str = "busway_events_unstored_total";
pub(super) const OFFERED: &str = "busway_events_offered_total";
pub(super) const DELIVERED: &str = "busway_events_delivered_total";
pub(super) const DROPPED: &str = "busway_events_dropped_total";
pub(super) const EXPIRED: &str = "busway_events_expired_total";
pub(super) const ABANDONED: &str = "busway_events_abandoned_total";
pub(super) const LOST: &str = "busway_events_lost_total";
pub(super) const RETRIED: &str = "busway_attempts_retried_total";
pub(super) const LATE: &str = "busway_results_late_total";
pub(super) const CONFLICTS: &str = "busway_transaction_conflicts_total";
pub(super) const DEAD_LETTERS: &str = "busway_dead_letters_total";
pub(super) const DEAD_LETTER_DEPTH: &str = "busway_dead_letter_depth";
pub(super) const DEAD_LETTERS_WAITING: &str = "busway_dead_letters_waiting";
pub(super) const DEDUP: &str = "busway_dedup_total";
pub(super) const QUEUE_DEPTH: &str = "busway_queue_depth";
pub(super) const QUEUE_CAPACITY: &str = "busway_queue_capacity";
pub(super) const RUNNING: &str = "busway_handlers_running";
pub(super) const PARKED: &str = "busway_parked_events";
pub(super) const PARKED_FULL: &str = "busway_parked_full";
pub(super) const HUNG: &str = "busway_handlers_hung";
pub(super) const PENDING: &str = "busway_pending_events";
pub(super) const OLDEST: &str = "busway_oldest_unsettled_age_seconds";
pub(super) const BREAKER_STATE: &str = "busway_breaker_state";
pub(super) const BREAKER_REFUSED: &str = "busway_breaker_refused_total";
pub(super) const BREAKER_OPENED: &str = "busway_breaker_opened_total";
pub(super) const BREAKER_WAITING: &str = "busway_breaker_waiting_events";
pub(super) const FALLBACKS: &str = "busway_fallbacks_total";
pub(super) const ALARMS: &str = "busway_alarms_total";
pub(super) const HANDLER: &str = "busway_handler_duration_seconds";
pub(super) const END_TO_END: &str = "busway_end_to_end_duration_seconds";
pub(super) const PUBLISH: &str = "busway_publish_duration_seconds";
pub(super) const COMMIT: &str = "busway_commit_duration_seconds";
pub(super) const COMMIT_REQUESTS: &str = "busway_commit_requests";
pub(super) const COMMIT_EVENTS: &str = "busway_commit_events";
pub(super) const STORE_BYTES: &str = "busway_store_bytes";
pub(super) const STORE_MAP: &str = "busway_store_map_bytes";
pub(super) const STORE_COMMITS: &str = "busway_store_commits_total";
pub(super) const STORE_READERS: &str = "busway_store_readers";
pub(super) const OLDEST_READER: &str = "busway_store_oldest_reader_age_seconds";
pub(super) const STORE_FAULTED: &str = "busway_store_faulted";
pub(super) const RELOADS: &str = "busway_config_reloads_total";
pub(super) const RELOAD: &str = "busway_config_reload_duration_seconds";
pub(super) const CONFIG_REFUSED: &str = "busway_config_refused";
pub(super) const TENANT: &str = "busway_tenant_events_total";
pub(super) const SUBSCRIPTION: &str = "busway_subscription_info";
pub(super) const BUILD: &str = "busway_build_info";

/// All of them.
pub(super) const FAMILIES: [Family; 48] = [
    (PUBLISHED, Is::Counter, Unit::Count, "Publishes that were accepted."),
    (
        REFUSED,
        Is::Counter,
        Unit::Count,
        "Publishes that were refused; their events went back to their owners.",
    ),
    (UNROUTED, Is::Counter, Unit::Count, "Accepted publishes that no subscription was offered."),
    (UNSTORED, Is::Counter, Unit::Count, "Events that were accepted in memory for a stream, and lost there."),
    (OFFERED, Is::Counter, Unit::Count, "Events that an ephemeral subscription was offered."),
    (
        DELIVERED,
        Is::Counter,
        Unit::Count,
        "Attempts by their outcome: done, failed and to be attempted again, dead (given up), or skipped.",
    ),
    (DROPPED, Is::Counter, Unit::Count, "Events that the overflow policy of a subscription dropped."),
    (EXPIRED, Is::Counter, Unit::Count, "Events whose time to live was over before they were handled."),
    (ABANDONED, Is::Counter, Unit::Count, "Events that were waiting when their subscription ended."),
    (LOST, Is::Counter, Unit::Count, "Events that a stream at its cap dropped before they were handled."),
    (
        RETRIED,
        Is::Counter,
        Unit::Count,
        "Attempts that failed and were followed, or are to be, by another one.",
    ),
    (
        LATE,
        Is::Counter,
        Unit::Count,
        "Results of handlers that were hung: ignored, their attempts had failed.",
    ),
    (
        CONFLICTS,
        Is::Counter,
        Unit::Count,
        "Attempts made again because what their transaction read had changed.",
    ),
    (
        DEAD_LETTERS,
        Is::Counter,
        Unit::Count,
        "Events that were given up: kept as dead letters, or let go where that is said.",
    ),
    (DEAD_LETTER_DEPTH, Is::Gauge, Unit::Count, "Dead letters that are kept now."),
    (
        DEAD_LETTERS_WAITING,
        Is::Gauge,
        Unit::Count,
        "Events that are to be given up and wait, their lanes with them, because as many dead letters are kept as may be.",
    ),
    (DEDUP, Is::Counter, Unit::Count, "Steps of idempotency: who knew a key, and what became of it."),
    (QUEUE_DEPTH, Is::Gauge, Unit::Count, "Events that wait for a handler in memory now."),
    (QUEUE_CAPACITY, Is::Gauge, Unit::Count, "Events that may wait for a handler in memory."),
    (RUNNING, Is::Gauge, Unit::Count, "Handlers at work now."),
    (
        PARKED,
        Is::Gauge,
        Unit::Count,
        "Events that failed and wait in the store for another attempt, or behind such an event.",
    ),
    (
        PARKED_FULL,
        Is::Gauge,
        Unit::Count,
        "1 while as many events are parked as may be, and nothing more is read; else 0.",
    ),
    (HUNG, Is::Gauge, Unit::Count, "Handlers that have overrun their deadline and still run."),
    (PENDING, Is::Gauge, Unit::Count, "Unsettled events of a subscription: its lag."),
    (
        OLDEST,
        Is::Gauge,
        Unit::Seconds,
        "How long ago the oldest unsettled event was stored; 0 when there is none.",
    ),
    (BREAKER_STATE, Is::Gauge, Unit::Count, "Channels of a subscription whose circuit is in this state."),
    (BREAKER_REFUSED, Is::Counter, Unit::Count, "Calls that a breaker refused."),
    (BREAKER_OPENED, Is::Counter, Unit::Count, "Times that a breaker opened."),
    (BREAKER_WAITING, Is::Gauge, Unit::Count, "Events that wait for a breaker now."),
    (FALLBACKS, Is::Counter, Unit::Count, "Events that were dealt with in the place of a refused call."),
    (
        ALARMS,
        Is::Counter,
        Unit::Count,
        "What somebody should look at: hung handlers, full dead letters, full parking.",
    ),
    (
        HANDLER,
        Is::Histogram,
        Unit::Seconds,
        "How long handlers of durable subscriptions took, their middleware included.",
    ),
    (
        END_TO_END,
        Is::Histogram,
        Unit::Seconds,
        "From an event's time to the end of the handler that was done with it, by the wall clocks of both; attempts that failed are not among them.",
    ),
    (PUBLISH, Is::Histogram, Unit::Seconds, "How long durable publishes waited for their durability."),
    (COMMIT, Is::Histogram, Unit::Seconds, "How long commits of the store took, the sync included."),
    (COMMIT_REQUESTS, Is::Histogram, Unit::Count, "Requests that shared a commit; a batch is one."),
    (COMMIT_EVENTS, Is::Histogram, Unit::Count, "Events that a commit has stored."),
    (STORE_BYTES, Is::Gauge, Unit::Bytes, "Bytes of the store's file that are in use."),
    (STORE_MAP, Is::Gauge, Unit::Bytes, "Bytes that the store's file may have before its map grows."),
    (STORE_COMMITS, Is::Counter, Unit::Count, "Commits of the store."),
    (STORE_READERS, Is::Gauge, Unit::Count, "Readers of the store at work now."),
    (
        OLDEST_READER,
        Is::Gauge,
        Unit::Seconds,
        "For how long the oldest reader has been at work: what was freed since is not used again.",
    ),
    (STORE_FAULTED, Is::Gauge, Unit::Count, "1 when the store has failed and acknowledges nothing more."),
    (
        RELOADS,
        Is::Counter,
        Unit::Count,
        "Configurations that came while the bus ran, by outcome: applied or refused.",
    ),
    (RELOAD, Is::Histogram, Unit::Seconds, "How long it took to put a configuration in force."),
    (
        CONFIG_REFUSED,
        Is::Gauge,
        Unit::Count,
        "1 while the last configuration is refused and an older one is in force.",
    ),
    (
        SUBSCRIPTION,
        Is::Gauge,
        Unit::Count,
        "1 while the subscription of a name has this filter, 0 after that.",
    ),
    (BUILD, Is::Gauge, Unit::Count, "1, with the version of busway."),
];

/// Of users that name tenants.
pub(super) const TENANT_FAMILY: Family = (
    TENANT,
    Is::Counter,
    Unit::Count,
    "Attempts that have ended, by tenant and outcome; tenants that were not named are \"other\".",
);

/// Upper bounds of durations that a bus has once, in seconds: publishes take microseconds to milliseconds, commits milliseconds, reloads up to seconds. Those from
/// 5 ms to 10 s are of OpenTelemetry's conventions for messaging. Histograms of the program's own that are named `…_seconds` have these too.
pub(super) const SECONDS: [f64; 22] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
    10.0,
    60.0,
];

/// Upper bounds of what handlers take, in seconds. Each subscription has these lines, so they are two a decade of [`SECONDS`]: from a handler that looks into a
/// table to one that waits for another service until that is given up.
pub(super) const HANDLER_SECONDS: [f64; 15] = [
    0.000_001,
    0.000_002_5,
    0.000_01,
    0.000_025,
    0.000_1,
    0.000_25,
    0.001,
    0.002_5,
    0.01,
    0.025,
    0.1,
    0.25,
    1.0,
    5.0,
    60.0,
];

/// Upper bounds from an event's time to the end of its handler, in seconds. What is stored takes tens of microseconds at least, and a subscription that is behind
/// is minutes behind. The objective of `docs/observability` counts on 5 s.
pub(super) const END_TO_END_SECONDS: [f64; 13] =
    [0.000_01, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 60.0, 600.0];

/// Upper bounds of numbers that share something.
pub(super) const SHARED: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0];
