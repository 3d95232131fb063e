//! Single values: words, numbers, times, sizes, filters.

mod bytes;
mod number;
mod time;

use busway_event::Filter;
use schemars::{Schema, json_schema};

pub use self::bytes::Bytes;
pub use self::number::{Count, Level};
pub use self::time::Time;
use crate::node::Kind;
use crate::read::Value;

impl Value for String {
    fn expecting() -> String {
        "a text".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        match kind {
            Kind::Text(text) | Kind::Loose(text) => Some(Ok(text.clone())),
            _ => None,
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Value for bool {
    fn expecting() -> String {
        "true or false".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        match kind {
            Kind::Bool(value) => Some(Ok(*value)),
            Kind::Loose(text) => Some(text.parse().map_err(|_| "it has to be true or false".to_owned())),
            _ => None,
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

impl Value for Filter {
    fn expecting() -> String {
        "a filter, as \"orders.+.#\"".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        match kind {
            Kind::Text(text) | Kind::Loose(text) => Some(Self::new(text).map_err(|error| error.to_string())),
            _ => None,
        }
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "description": "A filter: segments of [A-Za-z0-9_-] with dots between them; + is any one segment, # at the end is any more of them.",
            "maxLength": 255,
            "pattern": r"^(#|([A-Za-z0-9_-]+|\+)(\.([A-Za-z0-9_-]+|\+))*(\.#)?)$",
        })
    }
}

/// A name as streams and durable subscriptions bear it: 1 to 64 characters of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is a [`Name`].
pub(crate) fn is_name(text: &str) -> bool {
    let is_valid = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.chars().all(is_valid)
}

pub(crate) const NAME_RULE: &str = "a name has 1 to 64 characters of [A-Za-z0-9_-]";
const NAME_BYTES_MAX: usize = 64;

impl Value for Name {
    fn expecting() -> String {
        "a name".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        let (Kind::Text(text) | Kind::Loose(text)) = kind else { return None };
        Some(match is_name(text) {
            true => Ok(Self(text.clone())),
            false => Err(NAME_RULE.to_owned()),
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
    }
}

/// Whatever a middleware takes: what it means is known by whoever registered the middleware.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    pub(crate) node: crate::node::Node,
}

impl crate::read::Read for Parameters {
    fn read(node: &crate::node::Node, reader: &mut crate::read::Reader) -> Option<Self> {
        reader.entries(node, "a table of parameters")?;
        Some(Self { node: node.clone() })
    }
}

impl schemars::JsonSchema for Parameters {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Parameters".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// How long something may wait: a time, or `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting(Option<std::time::Duration>);

impl Lasting {
    /// The time; `None` for ever.
    #[must_use]
    pub const fn limit(self) -> Option<std::time::Duration> {
        self.0
    }
}

impl std::fmt::Display for Lasting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{limit:?}"),
            None => f.write_str("forever"),
        }
    }
}

impl Value for Lasting {
    fn expecting() -> String {
        "a time with its unit, as \"30s\", or \"forever\"".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        match kind {
            Kind::Text(text) | Kind::Loose(text) if text == "forever" => Some(Ok(Self(None))),
            _ => Some(Time::<1>::value(kind)?.map(|time| Self(Some(time.duration())))),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [Time::<1>::schema(), { "const": "forever" }] })
    }
}

impl Value for std::net::SocketAddr {
    fn expecting() -> String {
        "an address with a port, as \"127.0.0.1:9464\"".to_owned()
    }

    fn value(kind: &Kind) -> Option<Result<Self, String>> {
        let (Kind::Text(text) | Kind::Loose(text)) = kind else { return None };
        Some(text.parse().map_err(|_| format!("it has to be {}", Self::expecting())))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}
