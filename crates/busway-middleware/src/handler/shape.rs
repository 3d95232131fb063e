//! What makes a value a handler, in parts that the compiler checks one by one.
//!
//! One blanket implementation of [`IntoHandler`] serves all handlers. The [`Shape`] of a value (an async function of so many
//! arguments, a wrapped sync one, a batch) alone settles what its arguments and its reply are. So when one of those does
//! not fit, the compiler names that one, and not the handler as a whole.

use std::marker::PhantomData;

use busway_event::EventType;

use super::{AnyHandler, IntoHandler};
use crate::delivery::Delivery;
use crate::extract::{ExtractError, FromBatch, FromDelivery, Loan, Requirements};
use crate::mode::Mode;
use crate::outcome::{IntoReply, Reply};

/// The outside of a handler: how it is called, with what, and what comes of it. When a value has none, the compiler says what
/// stands on [`IntoHandler`].
pub trait Shape<F: Form, Args>: Sized {
    /// The user's function.
    type Function;
    /// What it returns in the end.
    type Reply;
    /// What runs until then.
    type Future;

    /// Erases the handler.
    fn erase<M>(self) -> AnyHandler<M>
    where
        M: Mode,
        Self::Function: Send + Sync + 'static,
        Self::Future: Send + 'static,
        Self::Reply: ReplyOf<F>,
        Args: Arguments<M>;
}

impl<M, H, F, Args> IntoHandler<M, (F, Args)> for H
where
    M: Mode,
    F: Form,
    H: Shape<F, Args>,
    H::Function: Send + Sync + 'static,
    H::Future: Send + 'static,
    H::Reply: ReplyOf<F>,
    Args: Arguments<M>,
{
    fn into_handler(self) -> AnyHandler<M> {
        self.erase()
    }
}

/// How many events a handler takes at a time, and how it is called.
pub trait Form {
    /// What its return value becomes.
    type Replies;
}

/// One event, in a future.
#[derive(Debug)]
pub enum AsyncForm {}
/// One event, at once.
#[derive(Debug)]
pub enum SyncForm {}
/// Many events, in a future.
#[derive(Debug)]
pub enum BatchForm {}

impl Form for AsyncForm {
    type Replies = Reply;
}

impl Form for SyncForm {
    /// `None`: it is done, and says no more.
    type Replies = Option<Reply>;
}

impl Form for BatchForm {
    type Replies = Vec<Reply>;
}

/// What a handler of a form may return.
pub trait ReplyOf<F: Form> {
    /// Whether there may be events to publish in it.
    const MAY_EMIT: bool = true;

    /// The replies to `events` events.
    fn into_replies_to(self, events: usize) -> F::Replies;
}

impl<R: IntoReply> ReplyOf<AsyncForm> for R {
    fn into_replies_to(self, _events: usize) -> Reply {
        self.into_reply()
    }
}

impl<R: IntoReply> ReplyOf<SyncForm> for R {
    const MAY_EMIT: bool = R::MAY_EMIT;

    #[inline]
    fn into_replies_to(self, _events: usize) -> Option<Reply> {
        self.beyond_done()
    }
}

/// The arguments of a handler, taken together.
pub trait Arguments<M: Mode>: Sized {
    /// Takes them.
    ///
    /// # Errors
    /// [`ExtractError`] of the first that cannot be taken.
    fn take(delivery: &Delivery) -> Result<Self, ExtractError>;

    /// Takes them for all events of a call, of which there is at least one.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn take_for_all(deliveries: &[&Delivery]) -> Result<Self, ExtractError> {
        Self::take(deliveries.first().ok_or_else(|| ExtractError::Other("there is no event".into()))?)
    }

    /// Whether they need the event alone, and give it back, see [`FromDelivery::LENT`].
    const LENT: bool = false;

    /// Takes them out of an event that is the caller's own; `None` when they need more, or another one.
    #[inline]
    fn take_lent(_loan: Loan<'_>) -> Option<Self> {
        None
    }

    /// Says what they need.
    fn require(requirements: &mut Requirements);
}

/// The arguments of a handler of batches of `T`, beside the batch: they belong to no single event.
#[derive(Debug)]
pub struct BesideBatch<T, Args>(pub(super) Args, PhantomData<fn(T)>);

pub(super) fn requirements_of<M: Mode, Args: Arguments<M>>() -> Requirements {
    let mut requirements = Requirements::default();
    Args::require(&mut requirements);
    requirements
}

macro_rules! arguments {
    ($($arg:ident),* $(; $($own:tt)*)?) => {
        impl<M: Mode, $($arg: FromDelivery<M>),*> Arguments<M> for ($($arg,)*) {
            fn take(_delivery: &Delivery) -> Result<Self, ExtractError> {
                Ok(($($arg::from_delivery(_delivery)?,)*))
            }

            fn require(_requirements: &mut Requirements) {
                $($arg::require(_requirements);)*
            }

            $($($own)*)?
        }
    };
}

macro_rules! arguments_beside_batch {
    ($($arg:ident),*) => {
        impl<M: Mode, T: EventType, $($arg: FromBatch<M>),*> Arguments<M> for BesideBatch<T, ($($arg,)*)> {
            fn take(delivery: &Delivery) -> Result<Self, ExtractError> {
                <Self as Arguments<M>>::take_for_all(&[delivery])
            }

            fn take_for_all(_deliveries: &[&Delivery]) -> Result<Self, ExtractError> {
                Ok(Self(($(<$arg as FromBatch<M>>::from_batch(_deliveries)?,)*), PhantomData))
            }

            fn require(requirements: &mut Requirements) {
                requirements.payload(T::NAME);
                $(<$arg as FromBatch<M>>::require(requirements);)*
            }
        }
    };
}

arguments!();
arguments! { A1;
    const LENT: bool = A1::LENT;

    #[inline]
    fn take_lent(loan: Loan<'_>) -> Option<Self> {
        Some((A1::from_loan(loan)?,))
    }
}
arguments!(A1, A2);
arguments!(A1, A2, A3);
arguments!(A1, A2, A3, A4);
arguments!(A1, A2, A3, A4, A5);
arguments!(A1, A2, A3, A4, A5, A6);
arguments!(A1, A2, A3, A4, A5, A6, A7);
arguments!(A1, A2, A3, A4, A5, A6, A7, A8);

arguments_beside_batch!();
arguments_beside_batch!(A1);
arguments_beside_batch!(A1, A2);
arguments_beside_batch!(A1, A2, A3);
arguments_beside_batch!(A1, A2, A3, A4);
