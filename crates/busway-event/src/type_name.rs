//! The name of a payload's type, as events pass it on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The name of a payload's type, see [`EventType::NAME`](crate::EventType::NAME). A text: it derefs to `str`. Copying one allocates
/// nothing.
///
/// Not checked here: whoever makes an event of it does, see [`AnyEvent::receive`](crate::AnyEvent::receive).
#[derive(Clone)]
pub struct TypeName(Text);

#[derive(Clone)]
enum Text {
    Constant(&'static str),
    Shared(Arc<str>),
}

impl TypeName {
    /// A name that is part of the program.
    #[must_use]
    pub const fn constant(name: &'static str) -> Self {
        Self(Text::Constant(name))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Constant(name) => name,
            Text::Shared(name) => name,
        }
    }
}

impl Deref for TypeName {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for TypeName {
    fn from(name: &str) -> Self {
        Self(Text::Shared(name.into()))
    }
}

impl From<String> for TypeName {
    fn from(name: String) -> Self {
        Self(Text::Shared(name.into()))
    }
}

impl From<Arc<str>> for TypeName {
    fn from(name: Arc<str>) -> Self {
        Self(Text::Shared(name))
    }
}

impl PartialEq for TypeName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for TypeName {}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_text_wherever_that_lies() {
        let names = [TypeName::constant("order"), "order".into(), "order".to_owned().into()];
        for name in &names {
            assert_eq!(
                (name, &**name, name.to_string()),
                (&TypeName::constant("order"), "order", "order".to_owned())
            );
            assert_eq!(format!("{name:?}"), "\"order\"");
        }
        assert_ne!(TypeName::constant("order"), TypeName::from("orders"));
    }
}
