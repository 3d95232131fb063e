//! How a busway event bus is set: one typed file, its schema, what differs from what is in force, and applying that while the bus runs.
//!
//! A file names what a program has registered: handlers by [`BusBuilder::handler`](busway_engine::BusBuilder::handler), kinds of middleware by
//! [`BusBuilder::middleware_factory`](busway_engine::BusBuilder::middleware_factory). It is **not** where anything is decided or done: it tells the engine.
//!
//! ```
//! use busway_config::{Config, Format};
//!
//! let error = Config::parse("busway.yaml", "routes:\n  stock: { filter: orders.#, handlr: reserve }\n", Format::Yaml).unwrap_err();
//! assert_eq!(error.problems().len(), 2);
//! let shown = error.to_string();
//! assert!(shown.contains("busway.yaml:2:30: unknown field \"handlr\" of a route"), "{shown}");
//! assert!(shown.contains("= help: did you mean \"handler\"?"), "{shown}");
//! ```
//!
//! # Guarantee
//! A configuration that is wrong changes nothing, and all that is wrong is said at once. One that differs is applied without losing or doubling an event;
//! what does not differ is not touched.
//!
//! # Use
//!
//! | to … | write |
//! |---|---|
//! | read | [`Config::load`], [`Config::parse`]; the environment lies over it: `BUSWAY__SECTION__KEY` |
//! | start | [`Config::configure`] on the bus's builder |
//! | change | [`Config::apply`]; a dry run: [`Config::pending`], [`Config::diff`] |
//! | watch | [`Watcher::of`] |
//! | check elsewhere | [`Config::schema`], [`Config::check`] |
//!
//! # Modules
//! `source`, `node`, `parse` and `overlay` make a tree of values that know their places; `read` and `model` make typed settings of it, `check` looks at them
//! together, `problem` says what is wrong. `convert` tells the engine, `diff` compares, `live` applies, `watch` watches, `access` judges, `secret` hides. `schema` and
//! `reference` are made from the model.

mod access;
mod check;
mod convert;
mod declare;
mod diff;
mod index;
mod live;
mod load;
mod model;
mod node;
mod overlay;
mod parse;
mod problem;
mod read;
mod reference;
mod schema;
mod secret;
mod show;
mod source;
mod step;
mod value;
mod watch;

pub use crate::diff::{Applies, Diff, FieldChange};
pub use crate::live::on_log_filter;
pub use crate::model::*;
pub use crate::parse::Format;
pub use crate::problem::{ConfigError, Problem};
pub use crate::read::{Given, Named};
pub use crate::source::{FILE_BYTES_MAX, Place};
pub use crate::value::{Bytes, Count, Lasting, Level, Name, Parameters, Time};
pub use crate::watch::{Reload, WatchBuilder, WatchStatus, Watcher};

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
