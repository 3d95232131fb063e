//! Which lines are written: directives, and what passes whatever they say.

use busway_middleware::chain::attempt::{TARGET, TRACED};
use thiserror::Error;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber, span};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Context, Filter};

use crate::audit;

/// A directive of a filter that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{}\" is no directive of a filter ({reason}): write a level, or target=level, such as busway=debug, separated by commas", directive.escape_debug())]
#[non_exhaustive]
pub struct DirectiveError {
    /// The directive.
    pub directive: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The directives, and what passes them all: the spans of the bus, or the lines within them would not say what event they are of, and audit lines, unless
/// a directive names their target.
#[derive(Debug)]
pub(super) struct Passing {
    directives: EnvFilter,
    audits: bool,
}

impl Passing {
    pub(super) fn parse(text: &str) -> Result<Self, DirectiveError> {
        let wrong =
            |directive: &str, reason: String| DirectiveError { directive: directive.to_owned(), reason };
        if text.len() > FILTER_BYTES_MAX {
            let start: String = text.chars().take(32).collect();
            return Err(wrong(&start, format!("it has more than {FILTER_BYTES_MAX} bytes")));
        }
        let said: Vec<&str> = text.split(',').map(str::trim).collect();
        let directives = EnvFilter::builder().parse(said.join(",")).map_err(|error| {
            let is_wrong = |directive: &&&str| EnvFilter::builder().parse(directive).is_err();
            wrong(said.iter().find(is_wrong).unwrap_or(&text), error.to_string())
        })?;
        Ok(Self { directives, audits: !said.iter().any(|directive| directive.starts_with(audit::TARGET)) })
    }

    fn passes(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        match metadata.is_span() {
            true => (target == TARGET || target == TRACED) && *metadata.level() <= Level::INFO,
            false => self.audits && target == audit::TARGET,
        }
    }
}

impl<S: Subscriber> Filter<S> for Passing {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.passes(metadata) || Filter::enabled(&self.directives, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked in any case: it notes which spans its directives are about.
        let interest = Filter::<S>::callsite_enabled(&self.directives, metadata);
        match self.passes(metadata) {
            true => Interest::always(),
            false => interest,
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.directives).map(|level| level.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        Filter::on_new_span(&self.directives, attributes, id, context);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        Filter::on_record(&self.directives, id, values, context);
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::on_enter(&self.directives, id, context);
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        Filter::on_exit(&self.directives, id, context);
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        Filter::on_close(&self.directives, id, context);
    }
}

/// Each line is compared with each directive.
const FILTER_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directive_that_is_wrong_is_named() {
        let error = Passing::parse("busway=info,hyper=loud,tokio=warn").unwrap_err();
        assert_eq!(error.directive, "hyper=loud");
        assert!(error.to_string().starts_with("\"hyper=loud\" is no directive"), "{error}");
        assert!(Passing::parse(&"a".repeat(5_000)).is_err());
        for text in ["", "info", "busway=debug,warn", "busway[process{topic=a}]=trace", "off"] {
            assert!(Passing::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn audit_lines_pass_unless_they_are_named() {
        assert!(Passing::parse("error").unwrap().audits);
        assert!(!Passing::parse("error, busway::audit=off").unwrap().audits);
    }
}
