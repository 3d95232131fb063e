//! The contract of an event type: what others must know to write or read its events.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use crate::codec::CodecId;
use crate::event_type::EventType;

/// Name, version, codec, topic and JSON Schema of an event type. Feature `schemars`.
///
/// The schema bears `$id` `urn:busway:event:<name>:<version>`, in which characters that a URN may not hold are
/// percent-encoded. It describes the value as serde sees it: for a codec that is not JSON it names the fields, not the bytes.
///
/// ```
/// use busway_event::{Contract, EventType};
///
/// #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// struct OrderCreated { order_id: String }
///
/// impl EventType for OrderCreated {
///     const NAME: &'static str = "order-created";
///     const TOPIC: Option<&'static str> = Some("orders.created");
/// }
///
/// let contract = Contract::of::<OrderCreated>();
/// assert_eq!(contract.id(), "urn:busway:event:order-created:1");
/// assert!(contract.to_json().contains(r#""topic": "orders.created""#));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contract {
    name: &'static str,
    version: u16,
    #[serde(serialize_with = "as_text")]
    codec: CodecId,
    content_type: &'static str,
    topic: Option<&'static str>,
    schema: Schema,
}

impl Contract {
    /// The contract of `T`.
    #[must_use]
    pub fn of<T: EventType + JsonSchema>() -> Self {
        let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
        schema.insert("$id".to_owned(), Value::String(urn(T::NAME, T::VERSION)));
        Self {
            name: T::NAME,
            version: T::VERSION,
            codec: T::CODEC,
            content_type: T::CODEC.content_type(),
            topic: T::TOPIC,
            schema,
        }
    }

    /// [`EventType::NAME`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// [`EventType::VERSION`].
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// [`EventType::CODEC`].
    #[must_use]
    pub const fn codec(&self) -> CodecId {
        self.codec
    }

    /// [`EventType::TOPIC`].
    #[must_use]
    pub const fn topic(&self) -> Option<&'static str> {
        self.topic
    }

    /// The name that the schema bears.
    #[must_use]
    pub fn id(&self) -> String {
        urn(self.name, self.version)
    }

    /// The JSON Schema, draft 2020-12.
    #[must_use]
    pub const fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The contract as indented JSON: `name`, `version`, `codec`, `content_type`, `topic`, `schema`.
    #[must_use]
    pub fn to_json(&self) -> String {
        // All members are strings, numbers and JSON values, which always have a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

fn urn(name: &str, version: u16) -> String {
    let encoded = name.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    format!("urn:busway:event:{}:{version}", encoded.collect::<String>())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn as_text<S: serde::Serializer>(codec: &CodecId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(codec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_part_of_a_urn_is_encoded() {
        assert_eq!(urn("order-created", 2), "urn:busway:event:order-created:2");
        assert_eq!(urn("a b:ä", 1), "urn:busway:event:a%20b%3A%C3%A4:1");
    }
}
