//! Transports: what carries events between processes.
//!
//! A transport is a broker's client behind four small traits, made for batches: what is to be sent is handed over by the dozen, what comes
//! in is fetched by the dozen, and so is what became of it. Which of its promises a transport keeps is a value,
//! [`Capabilities`], that is asked for before anything begins; what a broker cannot do is said and never worked around in silence.
//!
//! | trait | it |
//! |---|---|
//! | [`Transport`] | names the broker, says what it can do, makes streams and the two below |
//! | [`Sender`] | sends events, and says of each when the broker has taken it |
//! | [`Receiver`] | is a member of a named subscription: receives events, and is told what became of each |
//!
//! This is **not** where handlers are called, attempts are counted or back-offs reckoned: a receiver hands over what was delivered, and does what it is told.
//! `busway-testkit` has the suite that a transport must pass, for transports of others too.
//!
//! # What each transport promises
//! - Sending: `Ok` of an event means that the broker has taken it, with the [`Durability`] of the answer. An error that is
//!   [refused](SendError::is_refused) means that it has not and will not; any other may be sent again, under the same id. Events of one key that
//!   are sent in order are received in order.
//! - Receiving: at least once. What was delivered and not [settled](Receiver::settle) is delivered again: when its member is gone, or when its
//!   [`ack_wait`](Reception::ack_wait) is over and nobody [renewed](Receiver::renew) it.
//! - Nothing is skipped in silence: what cannot be read as an event arrives as [`Unreadable`], with its bytes.
//!
//! # Cancel safety
//! Dropping the future of a send leaves open which of its events were sent. Dropping that of [`receive`](Receiver::receive) loses nothing: what had come is handed
//! over by the next call or delivered again.

mod capabilities;
mod error;
mod local;
mod received;
mod reception;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use busway_event::{AnyEvent, Durability};
use busway_persistence::Stream;

pub use self::capabilities::{Ability, Capabilities, Capability};
pub use self::error::{SendError, TransportError};
pub(crate) use self::local::AS_LONG_AS_IT_TAKES;
pub use self::local::LocalTransport;
pub use self::received::{DeliveryId, Letter, Received, Unreadable, Verdict};
pub use self::reception::Reception;

/// What a transport's verbs give back: a future that need not know which transport it is of.
pub type TransportFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A broker, and this process's way to it. See the [module](self) for what it promises.
pub trait Transport: Debug + Send + Sync + 'static {
    /// What it is, one word of few: `nats`, `kafka`, `redis`, `local`. For metrics and messages.
    fn kind(&self) -> &'static str;

    /// What it can do. The same for as long as it is connected: found out when it was.
    fn capabilities(&self) -> Capabilities;

    /// What it can do for subscriptions of this stream, as far as that depends on the stream: a broker may keep the order of keys among members in some streams and not in others. What it
    /// can do at all, unless a transport says otherwise. Whoever wraps a transport passes this on.
    fn capabilities_of(&self, stream: &str) -> Capabilities {
        _ = stream;
        self.capabilities()
    }

    /// Makes streams that are not there, and checks those that are.
    ///
    /// # Errors
    /// [`TransportError::Incompatible`] for the first stream whose settings contradict what is declared: it is left as it is. [`TransportError::Unmappable`]
    /// when a filter cannot be said in the broker's words.
    fn prepare<'a>(&'a self, streams: &'a [Stream]) -> TransportFuture<'a, Result<(), TransportError>>;

    /// A way to send. Several may be had; the order of events is that of one of them.
    fn sender(&self) -> TransportFuture<'_, Result<Arc<dyn Sender>, TransportError>>;

    /// Becomes a member of a subscription, which is made if the broker does not know it, and checked if it does.
    ///
    /// # Errors
    /// [`TransportError::Incompatible`] when it is there with other filters, [`TransportError::Missing`] when it asks for what this transport cannot do.
    fn receiver<'a>(
        &'a self,
        reception: &'a Reception,
    ) -> TransportFuture<'a, Result<Arc<dyn Receiver>, TransportError>>;

    /// Removes a subscription from the broker, with all that it keeps of it: where it stands, and what was delivered and is not settled. One that is not there is removed already. Nobody
    /// may be a member of it: those that are lose what they have in hand, unless the broker refuses it while they are there.
    ///
    /// # Errors
    /// [`TransportError`]. Some of it may be removed then; called again it goes on. [`TransportError::Missing`] where the broker alone removes subscriptions, in its own time.
    fn remove<'a>(
        &'a self,
        stream: &'a str,
        name: &'a str,
    ) -> TransportFuture<'a, Result<(), TransportError>>;

    /// Sends what is on its way and lets go of the connection. Receivers had better be [closed](Receiver::close) before.
    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>>;
}

/// A way to send events.
pub trait Sender: Debug + Send + Sync + 'static {
    /// Sends events, in order, and says of each what became of it, in the same order. All are on their way before the first answer is waited
    /// for.
    fn send(&self, events: Vec<AnyEvent>) -> TransportFuture<'_, Vec<Result<Sent, SendError>>>;
}

/// The broker's word for an event that it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// What it has reached.
    pub durability: Durability,
    /// Whether the broker had it before, under the same id: it is there once.
    pub duplicate: bool,
    /// Its place in the broker's stream, where the broker says so.
    pub offset: Option<u64>,
}

impl Sent {
    /// Taken, for the first time as far as the broker says.
    #[must_use]
    pub const fn new(durability: Durability) -> Self {
        Self { durability, duplicate: false, offset: None }
    }

    /// The same with its place.
    pub const fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same for one that was there before.
    pub const fn duplicate(mut self, duplicate: bool) -> Self {
        self.duplicate = duplicate;
        self
    }
}

/// A member of a subscription.
pub trait Receiver: Debug + Send + Sync + 'static {
    /// Waits for events and hands over those that are there, `max` at most and one at least. One caller at a time.
    ///
    /// # Errors
    /// [`TransportError::Closed`] when there will be no more. After one that [is transient](TransportError::is_transient) it may be called again: the receiver
    /// comes back by itself.
    fn receive(&self, max: usize) -> TransportFuture<'_, Result<Vec<Received>, TransportError>>;

    /// Tells the broker what became of deliveries, and says of each whether the broker has heard it. Settled is what `Ok` was said of: it is never
    /// delivered again. All others may be.
    fn settle(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> TransportFuture<'_, Vec<Result<(), TransportError>>>;

    /// Says that deliveries are still worked on, so that they are not given to another member. One that is [`Gone`](TransportError::Gone) is an error, and keeps nothing
    /// from the others.
    fn renew<'a>(&'a self, deliveries: &'a [DeliveryId]) -> TransportFuture<'a, Result<(), TransportError>>;

    /// Leaves the subscription, which stays. What was delivered to it and is not settled goes to other members, or to who comes next, without waiting for
    /// [`ack_wait`](Reception::ack_wait) where the broker can do that.
    fn close(&self) -> TransportFuture<'_, Result<(), TransportError>>;
}
