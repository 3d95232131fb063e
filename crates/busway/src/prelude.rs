//! What most programs need: `use busway::prelude::*`.
//!
//! Names that could be mistaken for something else (`Error`, `Result`, `Settings`) stay behind `busway::`.

#[cfg(feature = "prost")]
#[doc(no_inline)]
pub use crate::Proto;
#[doc(no_inline)]
pub use crate::schedule::Missed;
#[doc(no_inline)]
pub use crate::{
    AnyEvent, Batch, BoxError, Breaker, Bus, Delivery, Draft, Durability, Emit, Event, EventType, Extension,
    Fallback, Filter, Flow, Idempotency, Key, Meta, Middleware, Next, Order, Outcome, Overflow, Payload,
    Permanent, Priority, Publisher, RateLimit, Raw, ReadTables, Receipt, Retry, ShutdownReport, Stage,
    StartAt, State, Stopping, StoreTx, Stream, Subscription, SyncMiddleware, Table, Timeout, Topic, Tx,
    TxError, WriteTables, batch, blocking, in_store, inline,
};
