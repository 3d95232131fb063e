//! Transactions: table writes, events and settlements that are one commit of the store.
//!
//! | form | runs | reads | when another came first |
//! |---|---|---|---|
//! | [`Tx`], an extractor | the asynchronous handler, where handlers run | the last commit, and what it wrote itself | it runs again, and that is no attempt |
//! | the same, beside a `Batch` | the handler of batches, once for all events of a call | likewise | likewise |
//! | [`in_store`]`(f)`, a handler | on the thread of the store's writer, short | everything that was committed or is about to be | cannot be |
//! | [`Bus::transaction`](crate::Bus::transaction) | likewise, for producers | likewise | likewise |
//! | [`Bus::read`](crate::Bus::read) | where it is called | one moment, and writes nothing | – |
//!
//! What a handler writes, the events that it emits into streams, and the settlement of its event are stored together, or nothing of
//! them is: **exactly once, inside this store**. Events for topics that no stream captures are offered when the rest is stored; a
//! crash in between loses them. The outside world is not part of it: who calls a payment service in a handler passes it a key.
//!
//! # Crash points of a handler's commit
//!
//! | the process dies | then |
//! |---|---|
//! | before the commit's last write | nothing of it is there: the event is attempted again |
//! | behind it, before the subscription knows | all of it is there, the settlement too: the event is not attempted again |
//! | the attempt is cut short while its commit is under way | the commit goes on. If the event is attempted again in this process, its commit finds it settled, and nothing is stored twice |

mod batch_desk;
mod commit;
mod desk;
mod error;
mod in_store;
mod producer;
mod store_tx;
mod tx;

pub(crate) use self::batch_desk::{BatchDesk, CallMade};
pub(crate) use self::commit::{Committed, EventOf, Ground, commit};
pub(crate) use self::desk::TxDesk;
pub use self::error::TransactionError;
pub use self::in_store::{InStore, InStoreArgs, in_store};
pub use self::producer::Transacted;
pub use self::store_tx::StoreTx;
pub(crate) use self::tx::Record;
pub use self::tx::Tx;
