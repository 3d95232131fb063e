//! What surrounds handling on a busway event bus: handlers, extractors, outcomes, middleware and the chain of them.
//!
//! It is **not** where events come from: it routes nothing, stores nothing, spawns nothing and owns no timer. Depend
//! on this crate alone to write middleware or extractors for others to use.
//!
//! ```
//! use busway_middleware::{Delivery, Flow, Outcome, SyncMiddleware};
//!
//! /// Skips what was delivered before.
//! struct LiveOnly;
//!
//! impl SyncMiddleware for LiveOnly {
//!     fn before(&self, delivery: &mut Delivery) -> Flow {
//!         if delivery.is_replay() { Flow::Stop(Outcome::Skip) } else { Flow::Continue }
//!     }
//! }
//! ```
//!
//! # Guarantee
//! Each delivery passes the chain that was in force when it started, ordered by [`Stage`]. A panic of a node or of the
//! handler, and a failure of a node's own, is an [`Outcome`] that names it, and touches no other delivery. The
//! handler's own error is the outcome's error as it is.
//!
//! # Modules
//! [`outcome`] and [`handler`] are what users write, [`extract`] what handlers take, [`middleware`] and [`chain`] what
//! surrounds them, [`publish`] what surrounds publishing, [`builtin`] what comes ready.
//!
//! # Features
//! `tower`: `TowerMiddleware`, a `tower::Layer` as a middleware.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod builtin;
pub mod chain;
mod delivery;
pub mod extract;
mod failure;
pub mod handler;
pub mod middleware;
mod mode;
pub mod outcome;
mod passing;
pub mod publish;
mod scope;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;

pub use crate::chain::{Chain, ChainTrace, Next, Node, NodeTime, Progress, Registry, RegistryError, Stage};
pub use crate::delivery::{Delivery, Gap, Position, Replay};
pub use crate::extract::{
    Extension, ExtractError, FromBatch, FromDelivery, FromScope, Loan, Meta, Payload, Requirements, State,
};
pub use crate::failure::Failure;
pub use crate::handler::{
    AnyHandler, Batch, BatchHandler, Blocking, HandlerInfo, Inline, IntoBatchReply, IntoHandler, Invocation,
    Run, batch, blocking, inline,
};
pub use crate::middleware::{Flow, IntoStep, Middleware, Step, SyncMiddleware};
pub use crate::mode::{Durable, Ephemeral, Mode, ModeKind};
pub use crate::outcome::{BoxError, Emit, IntoReply, Outcome, Permanent, Reply};
pub use crate::passing::{Pass, PassMiddleware};
pub use crate::publish::{PublishMiddleware, PublishRefused, PublishRegistry, PublishStage};
pub use crate::scope::{Identity, Scope, States};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
