//! Writing lines.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use busway_event::Timestamp;
use busway_middleware::chain::attempt::{TARGET, TRACED};
use parking_lot::Mutex;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer;
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::fields::inherited;
use super::line::{Context, Gather, Head, Line};
use crate::redact::Redactor;

/// Where lines go: one at a time, each in one call.
pub(super) type Writer = Mutex<Box<dyn Write + Send>>;

/// Makes a line of each event, and keeps of spans what their lines have of them.
pub(super) struct Lines {
    pub(super) format: LogFormat,
    pub(super) is_coloured: bool,
    pub(super) redactor: Redactor,
    pub(super) writer: Writer,
    /// Lines that were not written.
    pub(super) lost: Arc<AtomicU64>,
}

impl<S> layer::Layer<S> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut kept = Context::default();
        let keep = |name, value| kept.keep(name, &value);
        attributes.record(&mut self.gather(is_inherited, is_own(span.metadata()), keep));
        span.extensions_mut().replace(kept);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: layer::Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // Gathered before the span is locked: values say what they are by code of the program's.
        let mut recorded = Vec::new();
        let keep = |name, value| recorded.push((name, value));
        values.record(&mut self.gather(is_inherited, is_own(span.metadata()), keep));
        if let Some(kept) = span.extensions_mut().get_mut::<Context>() {
            recorded.iter().for_each(|(name, value)| kept.keep(name, value));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: layer::Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut self.gather(|_| true, false, |name, value| line.keep(name, value)));
        // The span of an attempt says where its event was published. Should the attempt have a place of its own in a trace, a span around says that, and it is that of the line.
        for is_last in [false, true] {
            for span in context.event_scope(event).into_iter().flatten() {
                if let Some(kept) = span.extensions().get::<Context>() {
                    line.inherit(kept, is_last || span.metadata().target() != TARGET);
                }
            }
        }
        let metadata = event.metadata();
        let head = Head { time: now(), level: *metadata.level(), target: metadata.target() };
        self.write(&line, &head);
    }
}

impl Lines {
    const fn gather<F>(&self, wants: fn(&str) -> bool, is_own: bool, keep: F) -> Gather<'_, F> {
        Gather { redactor: &self.redactor, wants, is_own, keep }
    }

    fn write(&self, line: &Line, head: &Head<'_>) {
        let mut text = TEXT.take();
        text.clear();
        line.write(&mut text, head, self.format, self.is_coloured);
        if !self.hand_over(text.as_bytes()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        if text.capacity() <= TEXT_BYTES_KEPT {
            TEXT.set(text);
        }
    }

    /// Gives a line to the writer, in one call. What that logs itself would wait for it, and is lost; so is what makes it panic.
    fn hand_over(&self, line: &[u8]) -> bool {
        if WRITES.replace(true) {
            return false;
        }
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut writer = self.writer.lock();
            writer.write_all(line).and_then(|()| writer.flush()).is_ok()
        }));
        WRITES.set(false);
        written.unwrap_or(false)
    }
}

fn is_inherited(name: &str) -> bool {
    inherited(name).is_some()
}

/// Whether busway made the span: around an attempt.
fn is_own(span: &Metadata<'_>) -> bool {
    [TARGET, TRACED].contains(&span.target())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a line is stamped when it is written, whatever clock the bus has"
)]
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

thread_local! {
    /// Whether this thread is in the middle of writing a line.
    static WRITES: Cell<bool> = const { Cell::new(false) };
    /// The text of the line, for one after the other.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A line that is longer than most is not kept for.
const TEXT_BYTES_KEPT: usize = 16 * 1024;
