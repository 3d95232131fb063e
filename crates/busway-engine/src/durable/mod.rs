//! Durable subscriptions: named, with a stored cursor, at least once.
//!
//! What is decided and what is done are apart. `window` decides which events are in hand and which may start, `verdict` what is
//! to become of an event, `settlements` what the store is told; none of them has a clock or a task. A subscription has two kinds
//! of tasks: one `pump`, which fetches pages of the log, brings back parked events when they are due and gives settlements to
//! the store, and up to its concurrency of `worker`s, which run handlers. They share the window under a lock that is held
//! for moments only.
//!
//! Its handlers are its `member`s: one, or those of a `group`. Workers belong to a member, lanes and cursor to the subscription. A member may have no handler, and be somebody
//! who takes events and says later what became of them: `taking`.
//!
//! The log is the queue: nothing is fetched while the window has no room, and nothing is lost by that.

mod at_most_once;
mod attempt;
mod batch;
mod batch_gate;
mod builder;
mod caution;
mod core;
mod cursor;
mod deadline;
mod ending;
mod flow;
mod gaps;
mod group;
mod guarded;
mod hand;
mod handle;
mod idempotent;
mod inherit;
mod lane;
mod member;
mod name_taken;
mod once;
mod patience;
mod pump;
mod recovery;
mod registry;
mod replays;
mod seek;
mod settlements;
mod start_at;
mod stats;
mod taking;
mod time_to_live;
mod traced;
mod verdict;
mod watch;
mod window;
mod worker;

pub use self::builder::DurableBuilder;
pub(crate) use self::core::DurableCore;
pub(crate) use self::cursor::stored;
pub use self::cursor::{CursorError, CursorHandle, PartitionStanding, Standing};
pub use self::handle::DurableSubscription;
pub(crate) use self::lane::Lanes;
pub(crate) use self::member::Member;
pub(crate) use self::registry::{Durables, StreamShare, Turn};
pub(crate) use self::replays::ReplayWatch;
pub use self::start_at::{LogEnds, StartAt};
pub use self::stats::{DurableStats, Lag, Pace};
pub(crate) use self::taking::{Fate, Taking};
pub(crate) use self::verdict::shortened_to;
