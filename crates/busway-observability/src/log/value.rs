//! Values of fields as they may be written: redacted, bounded, and nothing that could break a line.

use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::redact::{HIDDEN, Redactor};

/// A value that may be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    /// A number or `true` and `false`, as JSON has it.
    Literal(String),
}

impl Value {
    pub(super) fn text(text: &str, redactor: &Redactor) -> Self {
        Self::Text(bounded(&redactor.text(text)))
    }

    pub(super) fn hidden() -> Self {
        Self::Text(HIDDEN.to_owned())
    }

    /// A number as it is written, unless it is what nobody is to read: a card's, or a value that is a secret.
    pub(super) fn literal(number: String, redactor: &Redactor) -> Self {
        match redactor.text(&number) == number {
            true => Self::Literal(number),
            false => Self::hidden(),
        }
    }

    pub(super) fn number(number: f64, redactor: &Redactor) -> Self {
        match number.is_finite() {
            true => Self::literal(format!("{number:?}"), redactor),
            // JSON has no word for these.
            false => Self::Text(number.to_string()),
        }
    }

    /// What a value says of itself. The user's own code writes it: its panic must not become that of who logs.
    pub(super) fn said(value: &dyn fmt::Debug, redactor: &Redactor) -> Self {
        let mut said = Bounded(String::new());
        let written = catch_unwind(AssertUnwindSafe(|| write!(said, "{value:?}")));
        match written {
            Ok(_) => Self::text(&said.0, redactor),
            Err(_) => Self::Text("its value panicked when it was asked for its text".to_owned()),
        }
    }

    /// As it stands where a number is expected.
    pub(super) fn count(&self) -> Option<u64> {
        match self {
            Self::Text(text) | Self::Literal(text) => text.parse().ok(),
        }
    }
}

/// As much of a text as a field may have, in whole characters.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(FIELD_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}

/// Takes a text in until it is longer than anybody reads. It is redacted before it is cut to what is written, so it may be longer than that.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let left = SAID_BYTES_MAX.saturating_sub(self.0.len());
        if part.len() <= left {
            self.0.push_str(part);
            return Ok(());
        }
        let end = (0..=left).rev().find(|end| part.is_char_boundary(*end)).unwrap_or(0);
        self.0.push_str(part.get(..end).unwrap_or_default());
        Err(fmt::Error)
    }
}

/// Writes a text so that it ends no line, colours no terminal and turns no reading direction: everything that does is written as its number. `quote` is a mark that is escaped
/// too, and backslashes with it.
pub(super) fn escape(out: &mut String, text: &str, form: Form) {
    for letter in text.chars() {
        match letter {
            '"' | '\\' if form != Form::Bare => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if is_harmless(letter) => out.push(letter),
            letter if form == Form::Json => {
                let mut units = [0; 2];
                letter.encode_utf16(&mut units).iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}"));
            }
            letter => out.extend(letter.escape_unicode()),
        }
    }
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Inside of the quotes of JSON.
    Json,
    /// Inside of quotes, for people.
    Quoted,
    /// Without quotes, for people.
    Bare,
}

/// Whether a character does nothing but stand there. Not those: controls of ASCII and Latin-1, separators of lines and paragraphs, marks that turn or isolate
/// the reading direction, those without width, tags, and places that are for private use.
const fn is_harmless(letter: char) -> bool {
    !matches!(
        letter,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e000}'..='\u{f8ff}'
            | '\u{e0000}'..='\u{10ffff}'
    )
}

/// Characters of a field that are written.
pub(super) const FIELD_CHARS_MAX: usize = 4_096;
/// Of what a value says of itself, what is looked at.
const SAID_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, form: Form) -> String {
        let mut out = String::new();
        escape(&mut out, text, form);
        out
    }

    #[test]
    fn no_text_ends_a_line_or_steers_a_terminal() {
        let text = "a\n\u{1b}[31m\u{2028}\u{202e}\u{85}\u{9b}ä\u{10ffff}";
        for form in [Form::Json, Form::Quoted, Form::Bare] {
            assert!(escaped(text, form).chars().all(is_harmless), "{form:?}");
        }
        let json = format!("\"{}\"", escaped(text, Form::Json));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(escaped("a\u{1b}\"", Form::Quoted), "a\\u{1b}\\\"");
        assert_eq!(escaped("a\"\\", Form::Bare), "a\"\\");
    }

    #[test]
    fn a_field_is_bounded_and_redacted_before_it_is_cut() {
        let redactor = Redactor::new().field("token");
        let long = format!("{} token={}", "ä".repeat(FIELD_CHARS_MAX - 9), "s".repeat(100));
        let Value::Text(text) = Value::text(&long, &redactor) else { panic!() };
        assert!(!text.contains("ss") && text.ends_with("*…"), "{}", text.len());
        let Value::Text(text) = Value::said(&"x".repeat(1 << 20), &redactor) else { panic!() };
        assert_eq!(text.chars().count(), FIELD_CHARS_MAX + 1);
    }

    #[test]
    fn a_value_that_panics_is_a_text_all_the_same() {
        struct Panics;
        impl fmt::Debug for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("no text")
            }
        }
        let Value::Text(text) = Value::said(&Panics, &Redactor::new()) else { panic!() };
        assert_eq!(text, "its value panicked when it was asked for its text");
    }

    #[test]
    fn a_number_is_hidden_where_its_text_would_be() {
        let redactor = Redactor::usual().value("47110815");
        let hidden = |number: &str| Value::literal(number.to_owned(), &redactor) == Value::hidden();
        assert!(hidden("4111111111111111") && hidden("47110815") && !hidden("47110816") && !hidden("-1"));
        assert_eq!(Value::number(47_110_815.0, &redactor), Value::hidden());
        assert_eq!(Value::number(f64::NAN, &redactor), Value::Text("NaN".to_owned()));
        assert_eq!(Value::number(1.5, &redactor), Value::Literal("1.5".to_owned()));
    }
}
