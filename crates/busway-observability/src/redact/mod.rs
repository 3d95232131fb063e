//! Redaction: what is kept out of texts that people and log stores see.
//!
//! The bytes of events are never touched: a dead letter is given again as it was published. What is shown of them is another thing: texts of errors (which
//! like to quote what they failed on), fields of log lines, payloads that are printed. [`Redactor`] makes those showable, in one room, and is asked where they come into being:
//! by the bus for what it stores, tells and logs of failures, by [`Logs`](crate::log) for each line.
//!
//! # What it does
//! * Fields by name: in JSON, in what `{:?}` prints, in `name=value` and `name: value`, at any depth, escaped or not, inside of other texts. [`Redactor::field`].
//! * With fields, also what errors of decoding quote without saying of which field it is: `invalid type: string ***, expected u32`.
//! * Secrets by their looks: [`Secret`].
//! * Values that are known: [`Redactor::value`].
//!
//! # What it cannot do
//! It reads texts; it does not know what they mean. A secret in prose that has none of these forms (`the code of ann was 4711`) is shown, as is one that is split, encoded (base64, a hash) or
//! translated, or behind a field whose name it was not told. `name=value` without quotes ends at a space. Card numbers have a space or a dash between their groups, or nothing; one in ten of the other numbers of such a form is hidden, too. What a panic prints on the standard error stream
//! is not the bus's, nor are lines that other subscribers than [`Logs`](crate::log) write of the program's own events, nor outcomes that a
//! [`Collector`](crate::Collector) prints. A type that must not be shown is a [`Redact`], which needs no rules.

mod cards;
mod path;
mod patterns;
mod quoted;
mod secret;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use self::path::{Path, Step};
pub use self::patterns::Secret;
pub use self::secret::Redact;

/// Makes texts showable: see the [module](self) for what it finds, and what it cannot. Cheap to clone.
///
/// ```
/// use busway_observability::Redactor;
///
/// let redactor = Redactor::new().field("card.number").field("token");
/// assert_eq!(redactor.text(r#"refused: {"card":{"number":"4711"}}"#), r#"refused: {"card":{"number":"***"}}"#);
/// assert_eq!(redactor.text("login failed, token=4f1c user=ann"), "login failed, token=*** user=ann");
/// ```
#[derive(Clone, Default)]
pub struct Redactor {
    rules: Arc<Rules>,
}

#[derive(Clone, Default)]
struct Rules {
    /// As they were said, for people.
    said: Vec<String>,
    paths: Vec<Path>,
    secrets: Vec<Secret>,
    /// As they are, and as they are written in JSON and by `{:?}`; the longest first, so that no part of one is left over.
    values: Vec<String>,
}

impl Redactor {
    /// Hides nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hides what mostly is a secret: every [`Secret`], and fields that are called `password`, `passwd`, `passphrase`, `secret`, `token`, `access_token`,
    /// `refresh_token`, `id_token`, `client_secret`, `api_key`, `access_key`, `private_key`, `authorization`, `proxy_authorization`, `cookie`, `set_cookie`, `credential`, `credentials`.
    #[must_use]
    pub fn usual() -> Self {
        Secret::ALL.into_iter().fold(Self::new().fields(USUAL), Self::secret)
    }

    /// Hides a field: a dotted path (`card.number`), of which `*` is any one name, or a JSON pointer (`/card/number`), whose names may hold dots. Both mean the end of the
    /// way to a field, at any depth: `number` is every field of this name. Case, `_` and `-` make no difference; places of lists may be left out. A path without a name hides nothing.
    pub fn field(mut self, path: &str) -> Self {
        if let Some(parsed) = Path::of(path) {
            let rules = Arc::make_mut(&mut self.rules);
            rules.said.push(path.to_owned());
            rules.paths.push(parsed);
        }
        self
    }

    /// Hides fields: see [`field`](Self::field).
    pub fn fields<P: AsRef<str>>(self, paths: impl IntoIterator<Item = P>) -> Self {
        paths.into_iter().fold(self, |redactor, path| redactor.field(path.as_ref()))
    }

    /// Hides secrets that look like this.
    pub fn secret(mut self, secret: Secret) -> Self {
        let rules = Arc::make_mut(&mut self.rules);
        if !rules.secrets.contains(&secret) {
            rules.secrets.push(secret);
        }
        self
    }

    /// Hides a value that is known, such as the key that the program was started with, wherever it stands. One of fewer than 4 bytes is not looked for: it would be found everywhere.
    pub fn value(mut self, value: &str) -> Self {
        if value.len() >= VALUE_BYTES_MIN {
            let values = &mut Arc::make_mut(&mut self.rules).values;
            let json = serde_json::to_string(value).unwrap_or_default();
            let forms =
                [value.to_owned(), json.trim_matches('"').to_owned(), value.escape_debug().to_string()];
            values.extend(forms.into_iter().filter(|form| form.len() >= VALUE_BYTES_MIN));
            values.sort_by_key(|value| std::cmp::Reverse(value.len()));
            values.dedup();
        }
        self
    }

    /// Whether it hides nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Rules { paths, secrets, values, .. } = &*self.rules;
        paths.is_empty() && secrets.is_empty() && values.is_empty()
    }

    /// Whether a field of this name, dotted or not, is hidden whatever it holds.
    #[must_use]
    pub fn hides(&self, field: &str) -> bool {
        let steps = || field.split('.').map(Step::Name).collect::<Vec<_>>();
        !self.rules.paths.is_empty() && { self.rules.paths.iter().any(|path| path.is_of(&steps())) }
    }

    /// The text as it may be shown.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Rules { paths, secrets, values, .. } = &*self.rules;
        let mut shown = Cow::Borrowed(text);
        for value in values.iter().filter(|value| text.contains(value.as_str())) {
            shown = shown.replace(value.as_str(), HIDDEN).into();
        }
        // Before fields: the value of one that is not quoted ends at a space, and what is left of a secret then no longer looks like one.
        for secret in secrets {
            if let Some(hidden) = secret.hide(&shown) {
                shown = hidden.into();
            }
        }
        if let Some(hidden) = text::hide(&shown, paths) {
            shown = hidden.into();
        }
        if !paths.is_empty()
            && let Some(hidden) = quoted::hide(&shown)
        {
            shown = hidden.into();
        }
        shown
    }

    /// A value as JSON that may be shown: fields by their rules, every [`Redact`] in it as `***`. What cannot be serialized is `***` as a whole.
    pub fn json<T: Serialize + ?Sized>(&self, value: &T) -> String {
        match secret::showing(|| serde_json::to_string(value)) {
            Ok(json) => self.text(&json).into_owned(),
            Err(_) => HIDDEN.to_owned(),
        }
    }
}

/// Hides these fields: see [`Redactor::field`].
impl<P: AsRef<str>> FromIterator<P> for Redactor {
    fn from_iter<I: IntoIterator<Item = P>>(paths: I) -> Self {
        Self::new().fields(paths)
    }
}

/// Hides these fields: see [`Redactor::field`].
impl<P: AsRef<str>, const N: usize> From<[P; N]> for Redactor {
    fn from(paths: [P; N]) -> Self {
        Self::new().fields(paths)
    }
}

/// Says its rules; of values that it knows, how many.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { said, secrets, values, .. } = &*self.rules;
        f.debug_struct("Redactor")
            .field("fields", said)
            .field("secrets", secrets)
            .field("values", &values.len())
            .finish()
    }
}

/// What stands in the place of what is hidden.
pub(crate) const HIDDEN: &str = "***";
const VALUE_BYTES_MIN: usize = 4;
const USUAL: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "client_secret",
    "api_key",
    "access_key",
    "private_key",
    "authorization",
    "proxy_authorization",
    "cookie",
    "set_cookie",
    "credential",
    "credentials",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_value_is_hidden_in_each_of_its_forms() {
        let secret = "se\"cr\net";
        let redactor = Redactor::new().value(secret).value("abc");
        let texts = [secret.to_owned(), format!("{secret:?}"), serde_json::to_string(secret).unwrap()];
        assert_eq!(texts.map(|text| redactor.text(&text).into_owned()), ["***", "\"***\"", "\"***\""]);
        assert_eq!(redactor.text("abc"), "abc", "too short to be looked for");
        assert_eq!(format!("{redactor:?}"), "Redactor { fields: [], secrets: [], values: 2 }");
    }

    #[test]
    fn a_redactor_without_rules_changes_and_copies_nothing() {
        let redactor = Redactor::new().field("").field("*");
        assert!(redactor.is_empty());
        assert!(matches!(redactor.text("token=1"), Cow::Borrowed("token=1")));
    }

    #[test]
    fn fields_of_lines_are_hidden_by_their_name() {
        let redactor = Redactor::from(["card.number", "api_key"]);
        assert!(redactor.hides("card.number") && redactor.hides("order.card.number"));
        assert!(redactor.hides("apiKey") && !redactor.hides("number"));
        assert!(Redactor::usual().hides("Set-Cookie"));
    }

    #[test]
    fn secrets_of_several_words_are_hidden_whole_behind_the_name_of_a_field() {
        let redactor = Redactor::usual();
        let key = "-----BEGIN PRIVATE KEY-----\nMIIEv\n-----END PRIVATE KEY-----";
        for (lead, secret) in [
            ("private_key=", key),
            ("secret: ", key),
            ("private_key=", "-----BEGIN PRIVATE KEY-----\nMIIEv"),
            ("token=", "4111 1111 1111 1111"),
        ] {
            assert_eq!(redactor.text(&format!("{lead}{secret}")), format!("{lead}***"));
        }
        assert_eq!(redactor.text("authorization: Bearer abc.def"), "authorization: ***");
        let json = serde_json::json!({ "private_key": key, "user": "ann" }).to_string();
        assert_eq!(redactor.text(&json), r#"{"private_key":"***","user":"ann"}"#);
    }

    #[test]
    fn what_is_serialized_to_be_shown_hides_by_type_and_by_name() {
        #[derive(serde::Serialize)]
        struct Login {
            user: Redact<&'static str>,
            token: &'static str,
        }
        let login = Login { user: Redact::new("ann"), token: "4f1c" };
        assert_eq!(Redactor::usual().json(&login), r#"{"user":"***","token":"***"}"#);
        let broken = std::collections::BTreeMap::from([((1, 2), "no key of JSON")]);
        assert_eq!(Redactor::new().json(&broken), "***");
    }
}
