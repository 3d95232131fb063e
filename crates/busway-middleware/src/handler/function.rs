//! Plain functions as handlers: async ones, and sync ones behind [`blocking`] and [`inline`].

use std::fmt;

use super::call::{AsyncCall, SyncCall};
use super::{AnyHandler, IntoHandler, Run};
use crate::delivery::Delivery;
use crate::extract::{ExtractError, FromDelivery, Requirements};
use crate::mode::Mode;
use crate::outcome::{IntoReply, Outcome, Reply};

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
async fn reply_of<R: IntoReply>(future: impl Future<Output = R>) -> Reply {
    future.await.into_reply()
}

macro_rules! requirements_of {
    ($mode:ident, $($arg:ident),*) => {{
        let collect: &[fn(&mut Requirements)] = &[$(<$arg as FromDelivery<$mode>>::require),*];
        let mut requirements = Requirements::default();
        collect.iter().for_each(|require| require(&mut requirements));
        requirements
    }};
}

macro_rules! handler_of_function {
    ($($arg:ident),*) => {
        impl<M, F, Fut, R, $($arg),*> IntoHandler<M, (AsyncForm, $($arg,)*)> for F
        where
            M: Mode,
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = R> + Send + 'static,
            R: IntoReply + 'static,
            $($arg: FromDelivery<M>,)*
        {
            fn into_handler(self) -> AnyHandler<M> {
                let make = move |_delivery: &Delivery| -> Result<_, ExtractError> {
                    Ok(reply_of((self)($($arg::from_delivery(_delivery)?),*)))
                };
                AnyHandler::new::<F>(Run::Async, requirements_of!(M, $($arg),*), AsyncCall { make })
            }
        }

        handler_of_sync_function!(Blocking, $($arg),*);
        handler_of_sync_function!(Inline, $($arg),*);
    };
}

macro_rules! handler_of_sync_function {
    ($wrapper:ident, $($arg:ident),*) => {
        impl<M, F, R, $($arg),*> IntoHandler<M, (SyncForm, $($arg,)*)> for $wrapper<F>
        where
            M: Mode,
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: IntoReply + 'static,
            $($arg: FromDelivery<M>,)*
        {
            fn into_handler(self) -> AnyHandler<M> {
                let f = self.0;
                let attempt = move |_delivery: &Delivery| -> Result<Reply, ExtractError> {
                    Ok(f($($arg::from_delivery(_delivery)?),*).into_reply())
                };
                let call = move |delivery: &Delivery| {
                    attempt(delivery).unwrap_or_else(|error| Outcome::from(error).into())
                };
                AnyHandler::new::<F>(Run::$wrapper, requirements_of!(M, $($arg),*), SyncCall { call })
            }
        }
    };
}

/// Marks implementations for async functions.
#[derive(Debug)]
pub enum AsyncForm {}
/// Marks implementations for sync functions.
#[derive(Debug)]
pub enum SyncForm {}

handler_of_function!();
handler_of_function!(A1);
handler_of_function!(A1, A2);
handler_of_function!(A1, A2, A3);
handler_of_function!(A1, A2, A3, A4);
handler_of_function!(A1, A2, A3, A4, A5);
handler_of_function!(A1, A2, A3, A4, A5, A6);
handler_of_function!(A1, A2, A3, A4, A5, A6, A7);
handler_of_function!(A1, A2, A3, A4, A5, A6, A7, A8);
