//! Pressure: what happens when events come faster than a subscription takes them.
//!
//! A subscription's queue is bounded twice, in events (its capacity) and in bytes (its [`ByteBudget`]). When
//! either is used up, the subscription's written [`Overflow`] policy says who pays, and [`on_full`] turns it
//! into one action. Nothing is lost unseen: whatever was offered to a subscription is in its [`Tally`],
//! either settled in one of four ways or still waiting.

mod byte_budget;
mod overflow;
mod tally;

pub use byte_budget::{ByteBudget, OverBudget, WEIGHT_FLOOR_BYTES};
pub use overflow::{FullAction, MayWait, Overflow, on_full};
pub use tally::Tally;
