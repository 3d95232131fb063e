//! JSON pointers (RFC 6901): where in a payload a value lies.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON pointer, as RFC 6901 has it: `/order/lines/0/sku`; `~1` stands for a slash in a name and `~0` for a tilde.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: Box<str>,
    /// Names and places, unescaped.
    tokens: Vec<Box<str>>,
}

impl Pointer {
    /// Checks a pointer. The empty one, which means the whole document, is none here: a whole payload names nothing.
    ///
    /// # Errors
    /// [`PointerError`].
    pub fn new(text: &str) -> Result<Self, PointerError> {
        let wrong = |reason| PointerError { pointer: text.chars().take(SHOWN_CHARS).collect(), reason };
        let Some(rest) = text.strip_prefix('/') else {
            return Err(wrong(match text.is_empty() {
                true => "is empty: it would mean the whole payload, which names nothing",
                false => "does not begin with \"/\"",
            }));
        };
        let tokens: Option<Vec<Box<str>>> = rest.split('/').map(unescaped).collect();
        match tokens {
            Some(tokens) => Ok(Self { text: text.into(), tokens }),
            None => Err(wrong("holds a \"~\" that neither 0 nor 1 follows")),
        }
    }

    /// What it points to; `None` when the document has nothing there.
    #[must_use]
    pub fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.tokens.iter().try_fold(document, |value, token| match value {
            Value::Object(members) => members.get(&**token),
            Value::Array(items) => items.get(place(token)?),
            _ => None,
        })
    }

    /// The text of what it points to, as the document has it.
    pub(super) fn text_in<'a>(&self, document: &'a [u8]) -> Option<&'a str> {
        let whole: &RawValue = serde_json::from_slice(document).ok()?;
        let found = self.tokens.iter().try_fold(whole, |value, token| {
            // Of a name that is there twice the last one counts, as in `find`.
            match value.get().as_bytes().first()? {
                b'{' => serde_json::from_str::<HashMap<Cow<'_, str>, &RawValue>>(value.get())
                    .ok()?
                    .remove(&**token),
                b'[' => serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(place(token)?).copied(),
                _ => None,
            }
        });
        Some(found?.get())
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("JSON pointer \"{pointer}\" {reason}; a pointer looks like \"/order/id\" (RFC 6901)")]
pub struct PointerError {
    /// Its beginning.
    pub pointer: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The name that a token stands for.
fn unescaped(token: &str) -> Option<Box<str>> {
    let mut name = String::with_capacity(token.len());
    let mut rest = token.chars();
    while let Some(character) = rest.next() {
        name.push(match character {
            '~' => match rest.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(name.into())
}

/// A place in an array: digits, without a leading zero. `-`, the place behind the last, holds nothing.
fn place(token: &str) -> Option<usize> {
    let is_digits = token.bytes().all(|byte| byte.is_ascii_digit());
    let has_leading_zero = token.len() > 1 && token.starts_with('0');
    (is_digits && !has_leading_zero).then(|| token.parse().ok())?
}

const SHOWN_CHARS: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The document and the pointers of section 5 of the RFC.
    #[test]
    fn pointers_find_what_the_rfc_says() {
        let document = json!({
            "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8
        });
        let found = |pointer: &str| Pointer::new(pointer).unwrap().find(&document).cloned();
        assert_eq!(found("/foo"), Some(json!(["bar", "baz"])));
        assert_eq!(found("/foo/0"), Some(json!("bar")));
        for (pointer, value) in [
            ("/", 0),
            ("/a~1b", 1),
            ("/c%d", 2),
            ("/e^f", 3),
            ("/g|h", 4),
            ("/i\\j", 5),
            ("/k\"l", 6),
            ("/ ", 7),
            ("/m~0n", 8),
        ] {
            assert_eq!(found(pointer), Some(json!(value)), "{pointer}");
        }
        for nothing in
            ["/foo/2", "/foo/00", "/foo/-", "/foo/+1", "/foo/bar", "/foo/0/x", "/nothing", "/m~01n"]
        {
            assert_eq!(found(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_no_pointer_is_named_with_what_is_wrong() {
        for (text, part) in [("", "is empty"), ("a/b", "begin with"), ("/a~2", "~"), ("/a~", "~")] {
            let error = Pointer::new(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("RFC 6901"), "{error}");
        }
    }
}
