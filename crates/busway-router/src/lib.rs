//! Who is meant: the subscription table of the busway event bus, and the rules by which its members share.
//!
//! A [`Router`] answers one question, on every publish: which targets does this topic reach? It holds filters and
//! targets of any type, matches `+` and `#`, and is built for many readers and few writers: an immutable snapshot swapped
//! atomically, and in each thread a memory of its latest matches, so that a warm topic costs half of a hash lookup.
//! [`Router::lookup_with`] lends the targets to a closure, the fast way; [`Router::lookup`] hands out a list to keep.
//!
//! Beside it stand two small rules without state of their own in the table: [`Share`], by which the priorities of a
//! subscription share its capacity, and [`choose`], by which the members of a group share its events.
//!
//! # What it is not
//!
//! It delivers nothing: no queues, no handlers, no async, no clock, no storage. A target is whatever the caller makes of
//! it.
//!
//! # Guarantee
//!
//! A topic reaches every route whose filter matches, once each, in the order of insertion. Once [`Router::insert`] or
//! [`Router::remove`] has returned, every lookup that begins afterwards shows it, on every thread. Lookups never wait for
//! writers, and writers never for lookups.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use busway_event::{Filter, Topic};
//! use busway_router::Router;
//!
//! let router = Router::new();
//! router.insert(&Filter::new("sensors.+.heat")?, Arc::new("thermostat"));
//! router.insert(&Filter::new("sensors.#")?, Arc::new("archive"));
//!
//! let targets = router.lookup(&Topic::new("sensors.kitchen.heat")?);
//! assert_eq!(targets.iter().map(|target| **target).collect::<Vec<_>>(), ["thermostat", "archive"]);
//! assert!(router.lookup(&Topic::new("doors.front")?).is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules, in reading order
//!
//! `router` holds it together, `generation` says why a remembered match can be trusted, `match_cache` is that memory.
//! `targets`, `lent` and `reached` are results, owned, on loan and borrowed; `found` is what a walk gathers and the merge that orders it.
//! `snapshot` is the table: `hash_trie` its persistent map, `wildcard_trie` the filters with wildcards, `terminal` and
//! `bucket` what stands at the end of a path, `text_hash` the hash that leads there. [`share`] and [`group`] are the rules.

mod router;

mod generation;
mod lent;
mod match_cache;
mod reached;
mod targets;

mod bucket;
mod found;
mod hash_trie;
mod route;
mod snapshot;
mod terminal;
mod text_hash;
mod wildcard_trie;

pub mod group;
pub mod share;

pub use generation::Generation;
pub use group::{GroupRule, KeyHash, MemberId, MemberLoad, Rotation, choose};
pub use lent::Lent;
pub use reached::{Reached, ReachedIter};
pub use route::RouteId;
pub use router::Router;
pub use share::Share;
pub use targets::Targets;

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
