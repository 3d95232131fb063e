//! Logs: what is emitted with `tracing`, by busway and by the program, as lines for people or for a log store.
//!
//! ```
//! use busway_observability::{LogFormat, Logs, Redactor};
//!
//! let redactor = Redactor::usual().field("card.number");
//! let logs = Logs::new(LogFormat::Json).filter("info,busway=debug").redact(redactor).init()?;
//! tracing::info!(user = "ann", "ready");
//! // {"timestamp":"…","level":"INFO","target":"…","message":"ready","fields":{"user":"ann"}}
//!
//! logs.set_filter("warn")?; // while it runs
//! assert_eq!(logs.filter(), "warn");
//! # Ok::<(), busway_observability::LogsError>(())
//! ```
//!
//! # What a line promises
//! * One event is one line, written in one call. No text in it, whoever wrote it, ends the line, colours a terminal or turns the reading direction: such characters are written as their numbers.
//! * A field has at most 4,096 characters, after [redaction](crate::redact).
//! * Lines that are written while a handler runs say which event it has: `event_id`, `subscription`, `topic`, `attempt`, and of a traced event `trace_id` and `span_id`, whatever the filter
//!   lets pass. Fields of the event itself come before those of the spans around it, inner spans before outer ones.
//! * Audit lines pass the filter unless it names [their target](crate::audit::TARGET).
//! * Writing never panics and never fails who logs. A line that its writer refuses is lost, and [counted](LogControl::lost). A writer that waits makes who logs wait.
//!
//! # JSON
//! One object a line. The names at its top are [`FIELDS`] and no others, so that an index template can say what each is; all other fields of an event are within `fields`. A `count` or an `attempt` that is no number
//! lies there too. An index template and saved searches are in `docs/observability/logs`.

mod control;
mod fields;
mod filter;
mod layer;
mod line;
mod value;

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::Subscriber;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;

pub use self::control::{LogControl, LogsError};
pub use self::fields::{FIELDS, FieldKind, LogField};
pub use self::filter::DirectiveError;
use self::filter::Passing;
use self::layer::Lines;
use crate::redact::Redactor;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people: time, level, target, message, then `name=value`.
    Pretty,
    /// For log stores: an object a line.
    Json,
}

/// Whether lines for people have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Colour {
    /// On a terminal, unless the environment has a `NO_COLOR` that is not empty, or `TERM=dumb`. Lines that go to a writer of the program's have none.
    #[default]
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// Begins to write logs with the defaults of [`Logs`].
///
/// # Errors
/// [`LogsError::AlreadyInitialised`].
pub fn init(format: LogFormat) -> Result<LogControl, LogsError> {
    Logs::new(format).init()
}

/// How logs are written: see the [module](self) for what that promises. Setters never fail.
#[must_use = "nothing is written before init, or without its layer"]
pub struct Logs {
    format: LogFormat,
    colour: Colour,
    filter: String,
    redactor: Redactor,
    writer: Option<Box<dyn Write + Send>>,
}

impl Logs {
    /// Logs on the standard error stream, of level INFO and above, without [what mostly is a secret](Redactor::usual).
    pub fn new(format: LogFormat) -> Self {
        let redactor = Redactor::usual();
        Self { format, colour: Colour::Auto, filter: "info".to_owned(), redactor, writer: None }
    }

    /// Which lines are written: directives, separated by commas, each a level (`warn`), or a target with one (`busway=debug`: everything whose target begins like this), or with spans and their fields, as
    /// `tracing_subscriber`'s `EnvFilter` has them. The one that says most about a line holds. Default `info`.
    pub fn filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = directives.into();
        self
    }

    /// What is kept out of the lines, in the place of the default. Give the bus the same one: it makes texts of failures before they are logged.
    pub fn redact(mut self, redactor: impl Into<Redactor>) -> Self {
        self.redactor = redactor.into();
        self
    }

    /// Where the lines go: each is one call of `write_all`, and a `flush`. Default: the standard error stream.
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.writer = Some(Box::new(writer));
        self
    }

    /// Whether lines for people have colours. Default [`Colour::Auto`].
    pub const fn colour(mut self, colour: Colour) -> Self {
        self.colour = colour;
        self
    }

    /// Begins to write, for the whole process, until it ends.
    ///
    /// # Errors
    /// [`LogsError::Directive`] and [`LogsError::AlreadyInitialised`]: there is one subscriber a process.
    pub fn init(self) -> Result<LogControl, LogsError> {
        let (layer, control) = self.layer::<Registry>()?;
        let subscriber = Registry::default().with(layer);
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::AlreadyInitialised)?;
        Ok(control)
    }

    /// The logs as a layer of a subscriber that the program builds itself, beside others such as one of `tracing-opentelemetry`. Its filter is its own: others see what they like.
    ///
    /// # Errors
    /// [`LogsError::Directive`].
    pub fn layer<S>(self) -> Result<(impl Layer<S> + Send + Sync, LogControl), LogsError>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let is_coloured = self.is_coloured();
        let Self { format, filter, redactor, writer, .. } = self;
        let lost = Arc::default();
        let writer = writer.unwrap_or_else(|| Box::new(io::stderr()));
        let lines =
            Lines { format, is_coloured, redactor, writer: Mutex::new(writer), lost: Arc::clone(&lost) };
        let (passing, handle) = reload::Layer::new(Passing::parse(&filter)?);
        Ok((lines.with_filter(passing), LogControl::new(filter, handle, lost)))
    }

    fn is_coloured(&self) -> bool {
        let says = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match self.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let is_terminal = self.writer.is_none() && io::stderr().is_terminal();
                is_terminal && says("NO_COLOR").is_none() && says("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, filter, redactor, .. } = self;
        f.debug_struct("Logs")
            .field("format", format)
            .field("filter", filter)
            .field("redactor", redactor)
            .finish_non_exhaustive()
    }
}
