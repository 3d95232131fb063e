//! Extractors: what a handler's arguments are taken from.
//!
//! A handler is a plain function; each argument says by its type what it wants. Order does not matter, up to eight.
//!
//! | argument | is |
//! |---|---|
//! | [`Payload<T>`] | the value, shared, decoded when the event was not published as a `T` here |
//! | [`Event<T>`](busway_event::Event) | the value with its header |
//! | [`AnyEvent`](busway_event::AnyEvent) | the event as it is, never decoded |
//! | [`Meta`] | producer, version, trace, free pairs |
//! | [`Topic`](busway_event::Topic) | the concrete topic |
//! | [`Delivery`] | attempt, offset, replay, lag |
//! | [`State<S>`] | a clone of what the bus was built with |
//! | [`Extension<V>`] | a clone of what a middleware left |
//!
//! The engine adds those that need it: `Publisher`, `Stopping`.

pub(crate) mod loan;
mod payload;
mod state;

use std::any::{TypeId, type_name};

use busway_event::DecodeError;

use crate::delivery::Delivery;
use crate::mode::Mode;
use crate::outcome::{BoxError, Outcome};
use crate::scope::Scope;

pub use self::loan::Loan;
pub use self::payload::{Meta, Payload};
pub use self::state::{Extension, State};

/// A type that a handler of mode `M` may take as an argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler on this subscription ({M})",
    label = "not an extractor here",
    note = "take `Payload<T>`, `Event<T>`, `AnyEvent`, `Meta`, `Topic`, `Delivery`, `State<S>`, `Extension<V>`, `Publisher` or `Stopping`",
    note = "a payload type `T` is taken as `Payload<T>`, a value of the application as `State<S>`",
    note = "`Tx`, a transaction of the store, is for durable subscriptions: `.durable(name)`"
)]
pub trait FromDelivery<M: Mode>: Sized + Send + 'static {
    /// Takes the argument.
    ///
    /// # Errors
    /// [`ExtractError`] when this delivery cannot give it; the handler is not called then.
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError>;

    /// Whether it needs the event alone, and [gives it back](Self::from_loan). Default: no.
    const LENT: bool = false;

    /// Takes the argument out of an event that is the caller's own, for a handler that is called at once and takes nothing else: moved, where
    /// [`from_delivery`](Self::from_delivery) counts a reference. When the argument is dropped within the call, the caller has the event again; one that is kept
    /// is the handler's. Asked only when it is [`LENT`](Self::LENT).
    ///
    /// `None`, the default, when this takes a delivery, or another event; what was not taken stays the caller's, who makes a delivery of it. With `Some` an event that was
    /// not taken is let go of behind the call. Taken without an argument is a failure of the attempt. Only a [`Payload`] brings the event back when it is dropped: an
    /// extractor that has one inside of it makes that by its `from_loan`; any other that takes the event has a new one made for the next publish.
    #[inline]
    fn from_loan(loan: Loan<'_>) -> Option<Self> {
        let _ = loan;
        None
    }

    /// Says what must be there before the first delivery; checked by `.to(…)`.
    fn require(requirements: &mut Requirements) {
        let _ = requirements;
    }
}

/// An extractor that needs no single delivery, but what all of a subscription share.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a batch handler on this subscription ({M})",
    label = "not an extractor of batch handlers",
    note = "a batch handler takes `Batch<T>` first, then up to four of `State<S>`, `Publisher`, `Stopping`; on a durable subscription also `Tx`"
)]
pub trait FromScope<M: Mode>: FromDelivery<M> {
    /// Takes the argument.
    ///
    /// # Errors
    /// [`ExtractError`] when the subscription cannot give it.
    fn from_scope(scope: &Scope) -> Result<Self, ExtractError>;
}

/// What a batch handler may take beside its batch: an extractor that needs no single delivery ([`FromScope`]), or one that is for all
/// events of a call together, as a transaction of the store is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a batch handler on this subscription ({M})",
    label = "not an extractor of batch handlers",
    note = "a batch handler takes `Batch<T>` first, then up to four of `State<S>`, `Publisher`, `Stopping`; on a durable subscription also `Tx`"
)]
pub trait FromBatch<M: Mode>: Sized + Send + 'static {
    /// Takes the argument. `deliveries` are those of the events that are in the batch, in their order; there is at least one.
    ///
    /// # Errors
    /// [`ExtractError`] when it cannot be given; the handler is not called then.
    fn from_batch(deliveries: &[&Delivery]) -> Result<Self, ExtractError>;

    /// Says what must be there before the first delivery; checked by `.to(…)`.
    fn require(requirements: &mut Requirements) {
        let _ = requirements;
    }
}

impl<M: Mode, T: FromScope<M>> FromBatch<M> for T {
    fn from_batch(deliveries: &[&Delivery]) -> Result<Self, ExtractError> {
        let first = deliveries.first().ok_or_else(|| ExtractError::Other("there is no event".into()))?;
        Self::from_scope(first.scope())
    }

    fn require(requirements: &mut Requirements) {
        <Self as FromDelivery<M>>::require(requirements);
    }
}

impl<M: Mode> FromDelivery<M> for Delivery {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        Ok(delivery.clone())
    }
}

/// Why an argument could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The payload is not what the handler asks for.
    #[error("the payload does not fit the handler")]
    Decode(#[from] DecodeError),
    /// Nobody provided a state of this type.
    #[error("no state of type {type_name}: give one with .state(…) when the bus is built")]
    StateMissing {
        /// The Rust type.
        type_name: &'static str,
    },
    /// No middleware left a value of this type.
    #[error("no middleware left a value of type {type_name}")]
    ExtensionMissing {
        /// The Rust type.
        type_name: &'static str,
    },
    /// Another extractor's own reason.
    #[error("the argument could not be taken")]
    Other(#[source] BoxError),
}

impl From<ExtractError> for Outcome {
    /// A payload that does not fit never will: dead. All else may pass.
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::Decode(error) => Self::Dead(error.into()),
            error => Self::Failed(error.into()),
        }
    }
}

/// What a handler needs, collected from its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    payloads: Vec<&'static str>,
    states: Vec<(TypeId, &'static str)>,
    transactions: u32,
    is_durable: bool,
}

impl Requirements {
    /// A payload of the type with this event name.
    pub fn payload(&mut self, name: &'static str) {
        self.payloads.push(name);
    }

    /// A state of type `S`.
    pub fn state<S: 'static>(&mut self) {
        let state = (TypeId::of::<S>(), type_name::<S>());
        if !self.states.contains(&state) {
            self.states.push(state);
        }
    }

    /// A transaction of the store.
    pub fn transaction(&mut self) {
        self.transactions = self.transactions.saturating_add(1);
    }

    /// A durable subscription, whatever for. An extractor that is one for [`Durable`](crate::Durable) alone says so here: handlers that are registered by
    /// name have no mode, and are kept from routes in memory by this.
    pub const fn durable(&mut self) {
        self.is_durable = true;
    }

    /// Whether the handler needs a durable subscription: for a transaction, or for what an extractor says.
    #[must_use]
    pub const fn needs_durable(&self) -> bool {
        self.is_durable || self.needs_transaction()
    }

    /// Event names of the payloads that the handler takes.
    #[must_use]
    pub fn payloads(&self) -> &[&'static str] {
        &self.payloads
    }

    /// The states that the handler takes, each once: id and Rust name of each type.
    #[must_use]
    pub fn states(&self) -> &[(TypeId, &'static str)] {
        &self.states
    }

    /// How many transactions the handler takes. One event has one: more are a mistake.
    #[must_use]
    pub const fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Whether the handler takes a transaction.
    #[must_use]
    pub const fn needs_transaction(&self) -> bool {
        self.transactions > 0
    }
}
