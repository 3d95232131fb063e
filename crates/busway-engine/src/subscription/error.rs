//! Why a subscription did not begin.

use std::fmt;
use std::time::Duration;

use busway_event::FilterError;
use busway_middleware::{RegistryError, Run};
use busway_persistence::{RequestError, STREAM_NAME_BYTES_MAX};
use busway_reliability::{BreakerProblem, IdempotencyProblem, RetryProblem};

use crate::bus::list;

/// Why a subscription did not begin: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeError {
    pub(crate) subscription: String,
    pub(crate) problems: Vec<SubscribeProblem>,
}

impl SubscribeError {
    /// All problems.
    #[must_use]
    pub fn problems(&self) -> &[SubscribeProblem] {
        &self.problems
    }

    /// Whether the same subscription may begin later without a change: when nothing is wrong but that its group is ending.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.problems.iter().all(|problem| matches!(problem, SubscribeProblem::GroupEnding))
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscription \"{}\" did not begin: ", self.subscription.escape_debug())?;
        list(f, &self.problems)
    }
}

impl std::error::Error for SubscribeError {}

/// One thing that is wrong with a subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeProblem {
    /// The filter breaks a rule.
    #[error("{0}")]
    Filter(FilterError),
    /// The handler takes a state that nobody provided.
    #[error(
        "its handler takes State<{type_name}>, which nobody provided: give one with .state(…) when the bus is built"
    )]
    StateMissing {
        /// The Rust type.
        type_name: &'static str,
    },
    /// The handler takes more than one transaction.
    #[error(
        "its handler takes {count} transactions: one event has one; a handler in the store takes it last, as &mut StoreTx<'_>, and no Tx"
    )]
    Transactions {
        /// As many.
        count: u32,
    },
    /// Another subscription bears the name.
    #[error("the name is taken: choose another one, or let both be members of a .group(…)")]
    NameTaken,
    /// A middleware could not be added.
    #[error("{0}")]
    Middleware(RegistryError),
    /// An inline handler has no queue, so it cannot share one.
    #[error("an inline handler cannot be a member of a group: it has no queue to share")]
    InlineInGroup,
    /// What is settled before its handler starts cannot be settled with what the handler does.
    #[error(
        "it is to be handled at most once, settled before its handler starts, and {with} is stored with the settlement behind it: leave one of them out"
    )]
    AtMostOnce {
        /// What it cannot have.
        with: &'static str,
    },
    /// What makes it idempotent is wrong.
    #[error("{0}")]
    Idempotency(IdempotencyProblem),
    /// Members of an ephemeral group would each remember their own keys.
    #[error(
        "members of an ephemeral group have no keys in common: give .idempotent(…) a shared store, or make the group durable"
    )]
    IdempotentInGroup,
    /// Keys in a shared store lie under the name of their subscription: without one, those of all subscriptions to the filter would be one's.
    #[error("keys in a shared store lie under the subscription's name: give it one with .name(…)")]
    IdempotentUnnamed,
    /// What an inline handler returns is published behind it, by who publishes its event: its key would be done before.
    #[error(
        "an inline handler that returns events cannot be idempotent, since its key would be done though they may be refused: make it an async fn, or let it publish them itself"
    )]
    IdempotentInline,
    /// A lease that runs out before the handler must be done, or just then.
    #[error(
        "a lease of {lease:?} leaves no time to ask for it before the deadline of {deadline:?}, and a duplicate might be handled beside its first: give .idempotent(…) a longer .lease(…), or .deadline(…) less"
    )]
    LeaseTooShort {
        /// The lease in the shared store.
        lease: Duration,
        /// What an attempt may take.
        deadline: Duration,
    },
    /// Attempts in memory are made under one key and not asked for.
    #[error(
        ".retry_rate(…) bounds attempts that come back from a store: it is of durable subscriptions, and would bound nothing here"
    )]
    RetryRateInMemory,
    /// The store has keys of it that cannot be read.
    #[error("its idempotency keys cannot be read, and without them effects might be repeated: {reason}")]
    DoneKeys {
        /// What the store says.
        reason: String,
    },
    /// A member of a group must want what the others have.
    #[error(
        "group \"{group}\" has {setting} = {existing}, this member wants {wanted}: members share their settings"
    )]
    GroupMismatch {
        /// The group.
        group: String,
        /// The setting that differs.
        setting: &'static str,
        /// What the group has.
        existing: String,
        /// What this member wants.
        wanted: String,
    },
    /// The last member of its group is stopping.
    #[error("the last member of its group is stopping: join again when its stop() has returned")]
    GroupEnding,
    /// A durable subscription needs a store.
    #[error("this bus lives in memory: a durable subscription needs Bus::open(path) and a stream")]
    NoStore,
    /// No stream captures what it wants.
    #[error(
        "no stream captures topics of {filter}: declare one with .stream(…), or subscribe without .durable(…)"
    )]
    NoStream {
        /// Its filter.
        filter: String,
    },
    /// The name breaks the rule for names that are stored.
    #[error(
        "the name of a durable subscription has 1 to {STREAM_NAME_BYTES_MAX} characters of [A-Za-z0-9_-]"
    )]
    DurableName,
    /// It was set on a subscription before it was made durable, and is for ephemeral ones.
    #[error("{setting} is for ephemeral subscriptions: a durable one waits in the log")]
    NotDurable {
        /// What was set.
        setting: &'static str,
    },
    /// It was set on a subscription before it was put at a transport, where it means nothing.
    #[error(
        "{setting} is for subscriptions of this bus: at a transport, members of one name share its events, and they wait at the broker"
    )]
    NotRemote {
        /// What was set.
        setting: &'static str,
    },
    /// Its way of retrying cannot be meant.
    #[error("{0}")]
    Retry(RetryProblem),
    /// A handler that is not attempted again.
    #[error(
        "{run} handlers of ephemeral subscriptions are attempted once: nobody may wait there; make it durable, or another kind of handler"
    )]
    RetryNotPossible {
        /// Where the handler runs.
        run: Run,
    },
    /// No handler would ever be in time.
    #[error("a deadline of {deadline:?} cancels every attempt: it is at least 1ms")]
    DeadlineTooShort {
        /// The deadline.
        deadline: Duration,
    },
    /// An inline handler has no queue, so nothing can be offered to it again.
    #[error(
        "ack_and_retry_later needs a queue to retry from, and an inline handler has none: take another kind of handler or fallback"
    )]
    InlineRetry,
    /// An event that is put aside has ended for its idempotency, which would take the retry for a duplicate.
    #[error(
        "an ephemeral subscription that is idempotent cannot have the fallback ack_and_retry_later, whose retries would be skipped as duplicates: take another fallback, or make it durable"
    )]
    IdempotentRetryLater,
    /// Its breaker cannot work.
    #[error("{0}")]
    Breaker(BreakerProblem),
    /// The store did not register it.
    #[error("{0}")]
    Store(RequestError),
    /// The bus is shutting down.
    #[error("the bus is shutting down")]
    Closed,
}
