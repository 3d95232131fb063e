//! A subscription: a filter, a handler (or several, in a group) and a policy.

mod begin;
mod builder;
mod control;
mod core;
mod entry;
mod error;
mod handle;
mod heritage;
mod inline;
mod into_filter;
mod left;
mod member;
mod owed;
mod place;
mod takeover;

pub use self::builder::SubscribeBuilder;
pub(crate) use self::core::SubscriptionCore;
pub(crate) use self::entry::Entry;
pub use self::error::{SubscribeError, SubscribeProblem};
pub use self::handle::{ScopedSubscription, Subscription};
pub use self::heritage::Heritage;
pub(crate) use self::inline::Begun;
pub use self::into_filter::IntoFilter;
pub(crate) use self::member::{ChainCache, Member};
