//! What is said on a busway event bus: events, topics, filters, metadata, codecs, and the rules that make them valid.
//!
//! It is **not** a bus: there is no async, no clock and no I/O here. Depend on this crate alone to define the events of a
//! domain, or to read and write them elsewhere.
//!
#![cfg_attr(feature = "derive", doc = "```")]
#![cfg_attr(not(feature = "derive"), doc = "```ignore")]
//! use busway_event::{Event, EventType, Filter};
//!
//! #[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
//! #[event(name = "order-created", version = 1)]
//! struct OrderCreated { order_id: String }
//!
//! let draft = Event::new("orders.created", OrderCreated { order_id: "A-1".into() }).key("A-1");
//! let topic = draft.head().topic().expect("a valid topic");
//! assert!(Filter::new("orders.#")?.matches(topic));
//! # Ok::<(), busway_event::FilterError>(())
//! ```
//!
//! # Guarantee
//! An [`Event`] is always valid and within its limits: only a [`Draft`] may not be, and [`Draft::finish`] either makes an
//! event of it or gives it back with the rule that it breaks. No input makes this crate panic.
//!
//! # Modules
//! [`topic`] and [`filter`] name things, [`event`] and [`draft`] say them, [`event_type`] and [`codec`] turn payloads into
//! bytes, [`metadata`] and [`trace`] travel beside them, [`cloudevents`] speaks to the world outside. [`check_round_trip`]
//! belongs into the tests of each event type.
//!
//! # Features
//! `derive` (default): `#[derive(EventType)]`. `prost`: `Proto`. `schemars`: `Contract` with its JSON Schema.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod check;
pub mod cloudevents;
pub mod codec;
#[cfg(feature = "schemars")]
mod contract;
pub mod draft;
mod durability;
pub mod event;
pub mod event_type;
pub mod filter;
mod id;
mod key;
pub mod metadata;
mod priority;
#[cfg(feature = "prost")]
mod proto;
mod raw;
mod timestamp;
pub mod topic;
pub mod trace;
mod type_name;

#[cfg(feature = "derive")]
#[cfg_attr(docsrs, doc(cfg(feature = "derive")))]
pub use busway_macros::EventType;

pub use crate::check::{RoundTripError, check_round_trip};
pub use crate::cloudevents::CloudEventError;
pub use crate::codec::{Codec, CodecId, DecodeError, EncodeError};
#[cfg(feature = "schemars")]
#[cfg_attr(docsrs, doc(cfg(feature = "schemars")))]
pub use crate::contract::Contract;
pub use crate::draft::{AnyDraft, DELAY_MAX, Draft, DraftHead, Due, IntoTopic, Invalid, LeftOut, Stamp};
pub use crate::durability::Durability;
pub use crate::event::{AnyEvent, Empty, Envelopes, Event, Form, Header, Moment, Parts, Spent};
pub use crate::event_type::{Encoded, EventType};
pub use crate::filter::{Filter, FilterError};
pub use crate::id::{EventId, EventIdError};
pub use crate::key::{KEY_BYTES_MAX, Key, KeyError};
pub use crate::metadata::{Metadata, MetadataDraft, MetadataError};
pub use crate::priority::{Priority, PriorityError};
#[cfg(feature = "prost")]
#[cfg_attr(docsrs, doc(cfg(feature = "prost")))]
pub use crate::proto::Proto;
pub use crate::raw::Raw;
pub use crate::timestamp::{Timestamp, TimestampError};
pub use crate::topic::{Topic, TopicError};
pub use crate::trace::{TraceContext, TraceContextError};
pub use crate::type_name::TypeName;

/// The README's code compiles and runs.
#[cfg(all(doctest, feature = "derive"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
