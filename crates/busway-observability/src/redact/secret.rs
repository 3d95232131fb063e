//! A value that is not shown.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::HIDDEN;

/// A value that nobody sees by mistake: `Debug` and `Display` print `***`, and [`expose`](Self::expose) is a word that can be looked for.
///
/// **Stored and sent it is the value itself**: a payload has to come back as it was published, so serializing passes through. Where something is
/// serialized to be shown, [`Redactor::json`](super::Redactor::json) does that, and there it is `***` too. Its memory is not wiped.
///
/// ```
/// use busway_observability::Redact;
///
/// let token = Redact::new("4f1c");
/// assert_eq!(format!("{token} {token:?}"), "*** ***");
/// assert_eq!(*token.expose(), "4f1c");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Redact<T>(T);

impl<T> Redact<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for who means it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, for who means it.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Redact<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Redact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<T> fmt::Display for Redact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl<T: Serialize> Serialize for Redact<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match SHOWING.get() {
            true => serializer.serialize_str(HIDDEN),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Redact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

thread_local! {
    /// Whether what this thread serializes is for people.
    static SHOWING: Cell<bool> = const { Cell::new(false) };
}

/// Serializes something that is to be shown: what is hidden stays so, also when it panics half way.
pub(super) fn showing<R>(serialize: impl FnOnce() -> R) -> R {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            SHOWING.set(self.0);
        }
    }
    let _before = Before(SHOWING.replace(true));
    serialize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Login {
        user: String,
        token: Redact<String>,
    }

    #[test]
    fn a_hidden_value_is_stored_as_it_is_and_never_shown() {
        let login = Login { user: "ann".to_owned(), token: "4f1c".to_owned().into() };
        let stored = serde_json::to_string(&login).unwrap();
        assert_eq!(stored, r#"{"user":"ann","token":"4f1c"}"#);
        assert_eq!(serde_json::from_str::<Login>(&stored).unwrap(), login);
        assert_eq!(showing(|| serde_json::to_string(&login)).unwrap(), r#"{"user":"ann","token":"***"}"#);
        assert_eq!(format!("{login:?}"), r#"Login { user: "ann", token: *** }"#);
        assert_eq!(serde_json::to_string(&login).unwrap(), stored, "only while it is shown");
        assert_eq!(login.token.into_exposed(), "4f1c");
    }
}
