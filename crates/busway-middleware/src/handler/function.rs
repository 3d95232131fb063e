//! Plain functions as handlers: async ones, and sync ones behind [`blocking`] and [`inline`].

use std::fmt;

use super::call::{AsyncCall, Given, SyncCall};
use super::shape::{Arguments, AsyncForm, ReplyOf, Shape, SyncForm};
use super::{AnyHandler, Called, Run};
use crate::delivery::Delivery;
use crate::extract::ExtractError;
use crate::mode::Mode;
use crate::outcome::{Outcome, Reply};

/// A sync handler that may take long: it runs on threads of its subscription's own, as many as its concurrency, and never
/// holds up a task. It cannot be cancelled, only awaited.
pub const fn blocking<F>(f: F) -> Blocking<F> {
    Blocking(f)
}

/// A sync handler that runs inside `publish`, on the publisher's thread: for work so short that a queue would cost more.
///
/// It has no queue: nothing waits, no order between publishers is promised, and as many run at once as publish at
/// once. It delays its publisher, and a panic in it is contained like any other.
pub const fn inline<F>(f: F) -> Inline<F> {
    Inline(f)
}

/// See [`blocking`].
#[derive(Clone, Copy)]
pub struct Blocking<F>(F);

/// See [`inline`].
#[derive(Clone, Copy)]
pub struct Inline<F>(F);

impl<F> fmt::Debug for Blocking<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blocking({})", std::any::type_name::<F>())
    }
}

impl<F> fmt::Debug for Inline<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inline({})", std::any::type_name::<F>())
    }
}

/// Tells a future's type to the compiler: the reply of an async handler.
async fn reply_of<R: ReplyOf<AsyncForm>>(future: impl Future<Output = R>) -> Reply {
    future.await.into_replies_to(1)
}

macro_rules! shape_of_function {
    ($($value:ident: $arg:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<F, Fut, $($arg),*> Shape<AsyncForm, ($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut,
            Fut: Future,
        {
            type Function = F;
            type Reply = Fut::Output;
            type Future = Fut;

            fn erase<M>(self) -> AnyHandler<M>
            where
                M: Mode,
                F: Send + Sync + 'static,
                Fut: Send + 'static,
                Fut::Output: ReplyOf<AsyncForm>,
                ($($arg,)*): Arguments<M>,
            {
                let make = move |delivery: &Delivery| {
                    let ($($value,)*) = Arguments::<M>::take(delivery)?;
                    Ok(reply_of(self($($value),*)))
                };
                AnyHandler::new::<F, ($($arg,)*)>(Run::Async, AsyncCall { make })
            }
        }

        shape_of_sync_function!(Blocking, $($value: $arg),*);
        shape_of_sync_function!(Inline, $($value: $arg),*);
    };
}

macro_rules! shape_of_sync_function {
    ($wrapper:ident, $($value:ident: $arg:ident),*) => {
        #[diagnostic::do_not_recommend]
        impl<F, R, $($arg),*> Shape<SyncForm, ($($arg,)*)> for $wrapper<F>
        where
            F: Fn($($arg),*) -> R,
        {
            type Function = F;
            type Reply = R;
            type Future = ();

            fn erase<M>(self) -> AnyHandler<M>
            where
                M: Mode,
                F: Send + Sync + 'static,
                R: ReplyOf<SyncForm>,
                ($($arg,)*): Arguments<M>,
            {
                let f = self.0;
                let lends = !R::MAY_EMIT && <($($arg,)*) as Arguments<M>>::LENT;
                // One way into the function, so that its code is there once.
                let call = move |given: Given<'_>, reply: &mut Option<Reply>| -> Called {
                    let taken: Result<_, ExtractError> = match given {
                        Given::Delivery(delivery) => Arguments::<M>::take(delivery),
                        Given::Loan(loan) => match Arguments::<M>::take_lent(loan) {
                            Some(taken) => Ok(taken),
                            None => return Called::No,
                        },
                    };
                    let said = match taken {
                        Ok(($($value,)*)) => f($($value),*).into_replies_to(1),
                        Err(error) => Some(Outcome::from(error).into()),
                    };
                    if said.is_some() {
                        *reply = said;
                    }
                    Called::Yes
                };
                AnyHandler::new::<F, ($($arg,)*)>(Run::$wrapper, SyncCall { call }).lending(lends).emitting(R::MAY_EMIT)
            }
        }
    };
}

shape_of_function!();
shape_of_function!(a1: A1);
shape_of_function!(a1: A1, a2: A2);
shape_of_function!(a1: A1, a2: A2, a3: A3);
shape_of_function!(a1: A1, a2: A2, a3: A3, a4: A4);
shape_of_function!(a1: A1, a2: A2, a3: A3, a4: A4, a5: A5);
shape_of_function!(a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6);
shape_of_function!(a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7);
shape_of_function!(a1: A1, a2: A2, a3: A3, a4: A4, a5: A5, a6: A6, a7: A7, a8: A8);
