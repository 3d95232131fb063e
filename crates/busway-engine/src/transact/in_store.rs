//! Handlers that run on the thread of the store's writer.

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use busway_middleware::{
    AnyHandler, Delivery, Durable, ExtractError, FromDelivery, IntoHandler, IntoReply, Outcome, Reply,
    Requirements,
};

use super::{StoreTx, TxDesk};

/// A short sync handler that runs on the thread of the store's writer, inside the transaction that settles its event: what it does through
/// its last argument, `&mut `[`StoreTx`], the events that it returns, and the settlement are one commit. **Exactly once, inside this
/// store**; nothing that it reads can change under it.
///
/// The arguments before are extractors, up to seven. A handler that fails or panics stores nothing; the attempt is charged as
/// anywhere. It may be run more than once for one attempt (when the store has to grow), and only the last run counts. While it runs nothing else is
/// stored: after 100 ms of work, or five seconds by the clock, its calls fail, the attempt fails, and nothing of it is stored.
///
/// The handler is over when its commit is synced. Many events share a commit when the subscription's concurrency lets them.
///
/// ```
/// use busway_engine::{StoreTx, in_store};
/// use busway_event::Raw;
/// use busway_middleware::{AnyHandler, Durable, IntoHandler, Payload};
/// use busway_persistence::{ReadTables, Table, TxError, WriteTables};
///
/// const COUNTS: Table<String, u64> = Table::new("counts");
///
/// fn count(_: Payload<Raw>, tx: &mut StoreTx<'_>) -> Result<(), TxError> {
///     let before = tx.get(&COUNTS, "orders")?.unwrap_or(0);
///     tx.put(&COUNTS, "orders", &(before + 1))
/// }
///
/// let handler: AnyHandler<Durable> = in_store(count).into_handler();
/// assert!(handler.info().requirements.needs_transaction());
/// ```
pub const fn in_store<F>(f: F) -> InStore<F> {
    InStore(f)
}

/// See [`in_store`].
#[derive(Clone, Copy)]
pub struct InStore<F>(F);

impl<F> fmt::Debug for InStore<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in_store({})", type_name::<F>())
    }
}

/// Tells the implementations for so many arguments apart.
#[derive(Debug)]
pub struct InStoreArgs<Args>(PhantomData<fn(Args)>);

/// What a handler in the store is given from its delivery, there and then: it may run more than once.
struct Given<Args> {
    delivery: Delivery,
    desk: Arc<TxDesk>,
    args: PhantomData<fn(Args)>,
}

impl<Args> Given<Args> {
    async fn run(
        self,
        mut call: impl FnMut(&Delivery, &mut StoreTx<'_>) -> Result<Reply, ExtractError> + Send + 'static,
    ) -> Outcome {
        let Self { delivery, desk, .. } = self;
        let handler = move |tx: &mut StoreTx<'_>| {
            call(&delivery, tx).unwrap_or_else(|error| Outcome::from(error).into())
        };
        desk.run_in_store(handler).await
    }
}

macro_rules! in_store_handlers {
    ($($arg:ident),*) => {
        impl<$($arg: FromDelivery<Durable>),*> FromDelivery<Durable> for Given<($($arg,)*)> {
            fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
                let desk = Arc::clone(TxDesk::of(delivery)?);
                Ok(Self { delivery: delivery.clone(), desk, args: PhantomData })
            }

            fn require(requirements: &mut Requirements) {
                requirements.transaction();
                $($arg::require(requirements);)*
            }
        }

        #[diagnostic::do_not_recommend]
        impl<F, R, $($arg),*> IntoHandler<Durable, InStoreArgs<($($arg,)*)>> for InStore<F>
        where
            F: Fn($($arg,)* &mut StoreTx<'_>) -> R + Send + Sync + 'static,
            R: IntoReply,
            $($arg: FromDelivery<Durable>,)*
        {
            fn into_handler(self) -> AnyHandler<Durable> {
                let f = Arc::new(self.0);
                let handler = move |given: Given<($($arg,)*)>| {
                    let f = Arc::clone(&f);
                    given.run(move |_delivery, tx| Ok(f($($arg::from_delivery(_delivery)?,)* tx).into_reply()))
                };
                IntoHandler::<Durable, _>::into_handler(handler).named_after::<F>()
            }
        }
    };
}

in_store_handlers!();
in_store_handlers!(A1);
in_store_handlers!(A1, A2);
in_store_handlers!(A1, A2, A3);
in_store_handlers!(A1, A2, A3, A4);
in_store_handlers!(A1, A2, A3, A4, A5);
in_store_handlers!(A1, A2, A3, A4, A5, A6);
in_store_handlers!(A1, A2, A3, A4, A5, A6, A7);
