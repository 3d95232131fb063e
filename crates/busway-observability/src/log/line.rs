//! A line: gathered from an event and the spans that it is in, then written as JSON or for people.

use std::fmt;

use busway_event::Timestamp;
use tracing::Level;
use tracing::field::{Field, Visit};

use super::LogFormat;
use super::fields::{FIELDS, FieldKind, INHERITED, inherited, settable};
use super::value::{Form, Value, bounded, escape};
use crate::redact::Redactor;

/// Values of top-level fields, by their places among [`FIELDS`].
pub(super) type Known = [Option<Value>; FIELDS.len()];

/// What a line is made of.
#[derive(Debug, Default)]
pub(super) struct Line {
    message: Option<String>,
    known: Known,
    rest: Vec<(&'static str, Value)>,
}

impl Line {
    /// Takes over what a span has and the line has not, its place in a trace left out or not: called from the innermost span outwards.
    pub(super) fn inherit(&mut self, span: &Context, with_trace: bool) {
        let first = if with_trace { 0 } else { TRACE };
        for (own, outer) in self.known.iter_mut().skip(INHERITED.start).zip(&span.0).skip(first) {
            if own.is_none() {
                own.clone_from(outer);
            }
        }
    }

    /// Keeps a value of the event's.
    pub(super) fn keep(&mut self, name: &'static str, value: Value) {
        let name = name.strip_prefix("r#").unwrap_or(name);
        if name == "message" {
            let (Value::Text(text) | Value::Literal(text)) = value;
            self.message = Some(text);
            return;
        }
        match settable(name).and_then(|at| Some((at, fitting(at, &value)?))) {
            Some((at, value)) => {
                if let Some(known) = self.known.get_mut(at) {
                    *known = Some(value);
                }
            }
            None => {
                self.rest.retain(|(other, _)| *other != name);
                self.rest.push((name, value));
            }
        }
    }

    /// Writes it, with its end.
    pub(super) fn write(&self, out: &mut String, head: &Head<'_>, format: LogFormat, is_coloured: bool) {
        match format {
            LogFormat::Json => self.write_json(out, head),
            LogFormat::Pretty => self.write_pretty(out, head, is_coloured),
        }
        out.push('\n');
    }

    fn write_json(&self, out: &mut String, head: &Head<'_>) {
        let heads = [("timestamp", head.time.to_string()), ("level", head.level.to_string())];
        out.push('{');
        for (name, text) in &heads {
            json_field(out, name, &Value::Text(text.clone()));
        }
        json_field(out, "target", &Value::Text(bounded(head.target)));
        json_field(out, "message", &Value::Text(self.message.clone().unwrap_or_default()));
        for (name, value) in self.known() {
            json_field(out, name, value);
        }
        if !self.rest.is_empty() {
            out.push_str(",\"fields\":{");
            self.rest.iter().for_each(|(name, value)| json_field(out, name, value));
            out.push('}');
        }
        out.push('}');
    }

    fn write_pretty(&self, out: &mut String, head: &Head<'_>, is_coloured: bool) {
        escape(out, &head.time.to_string(), Form::Bare);
        let level = head.level.as_str();
        match is_coloured {
            true => out.extend([" ", colour(head.level), &format!("{level:>5}"), "\u{1b}[0m "]),
            false => out.extend([" ", &format!("{level:>5}"), " "]),
        }
        escape(out, &bounded(head.target), Form::Bare);
        out.push(':');
        if let Some(message) = &self.message {
            out.push(' ');
            escape(out, message, Form::Bare);
        }
        for (name, value) in self.known().chain(self.rest.iter().map(|(name, value)| (*name, value))) {
            out.push(' ');
            escape(out, name, Form::Bare);
            out.push('=');
            match value {
                Value::Literal(text) => out.push_str(text),
                Value::Text(text) if is_plain(text) => out.push_str(text),
                Value::Text(text) => {
                    out.push('"');
                    escape(out, text, Form::Quoted);
                    out.push('"');
                }
            }
        }
    }

    fn known(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        FIELDS.iter().zip(&self.known).filter_map(|(field, value)| Some((field.name, value.as_ref()?)))
    }
}

/// What a line begins with.
pub(super) struct Head<'a> {
    pub(super) time: Timestamp,
    pub(super) level: Level,
    pub(super) target: &'a str,
}

fn json_field(out: &mut String, name: &str, value: &Value) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    escape(out, name, Form::Json);
    out.push_str("\":");
    match value {
        Value::Literal(text) => out.push_str(text),
        Value::Text(text) => {
            out.push('"');
            escape(out, text, Form::Json);
            out.push('"');
        }
    }
}

/// The value as the field wants it; `None`: it is something else, which must not stand there, or a log store would refuse the line.
fn fitting(at: usize, value: &Value) -> Option<Value> {
    match (FIELDS.get(at)?.kind, value) {
        (FieldKind::Count, value) => value.count().map(|count| Value::Literal(count.to_string())),
        (_, Value::Literal(text) | Value::Text(text)) => Some(Value::Text(text.clone())),
    }
}

/// Whether a field of this name is the id of a trace or of a span, in the form that W3C Trace Context gives it.
fn is_id(name: &str, text: &str) -> bool {
    let len = match name {
        "trace_id" => 32,
        "span_id" => 16,
        _ => return false,
    };
    text.len() == len && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether people can read it without quotes, and where it ends.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:#+*@".contains(&byte))
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

/// `trace_id` and `span_id`, with which what is inherited begins.
const TRACE: usize = 2;

/// What the lines within a span have of it.
#[derive(Debug, Default)]
pub(super) struct Context([Option<Value>; INHERITED.end - INHERITED.start]);

impl Context {
    /// Keeps a value of the span's.
    pub(super) fn keep(&mut self, name: &str, value: &Value) {
        let Some(at) = inherited(name) else { return };
        if let (Some(kept), Some(value)) = (self.0.get_mut(at - INHERITED.start), fitting(at, value)) {
            *kept = Some(value);
        }
    }
}

/// Hands on the fields that are wanted, by name, as they may be written.
pub(super) struct Gather<'a, F> {
    pub(super) redactor: &'a Redactor,
    pub(super) wants: fn(&str) -> bool,
    /// Whether they are of a span that busway made: its ids are nobody's secrets, whatever their digits happen to look like.
    pub(super) is_own: bool,
    pub(super) keep: F,
}

impl<F: FnMut(&'static str, Value)> Gather<'_, F> {
    fn take(&mut self, field: &Field, value: impl FnOnce(&Redactor) -> Value) {
        let name = field.name();
        if !(self.wants)(name) {
            return;
        }
        let value = match self.redactor.hides(name) {
            true => Value::hidden(),
            false => value(self.redactor),
        };
        (self.keep)(name, value);
    }
}

impl<F: FnMut(&'static str, Value)> Visit for Gather<'_, F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match self.is_own && is_id(field.name(), value) {
            true => self.take(field, |_| Value::Text(value.to_owned())),
            false => self.take(field, |redactor| Value::text(value, redactor)),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, |redactor| Value::said(value, redactor));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, |redactor| Value::number(value, redactor));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, |redactor| Value::literal(value.to_string(), redactor));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, |redactor| Value::literal(value.to_string(), redactor));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, |_| Value::Literal(value.to_string()));
    }
}
