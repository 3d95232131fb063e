//! What makes a Rust type the payload of an event: a stable name, a schema version, a codec and upcasters.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Bincode, Bounded, Codec, CodecId, DecodeError, EncodeError, Json};
use crate::type_name::TypeName;

/// A type whose values are payloads. Derive it, or write the two constants:
///
/// ```
/// use busway_event::EventType;
///
/// #[derive(Debug, serde::Serialize, serde::Deserialize)]
/// struct OrderCreated { order_id: String }
///
/// impl EventType for OrderCreated {
///     const NAME: &'static str = "order-created";
///     const VERSION: u16 = 1;
/// }
/// ```
///
/// # Schema versions
/// A type reads its own version, and older ones through a chain of upcasters: each version knows only the one before
/// it. `#[event(upcast_from = OrderCreatedV1)]` writes the link; by hand it is
///
/// ```
/// # use busway_event::{DecodeError, Encoded, EventType};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct OrderCreatedV1 { id: String }
/// # impl EventType for OrderCreatedV1 { const NAME: &'static str = "order-created"; }
/// # #[derive(serde::Serialize, serde::Deserialize)] struct OrderCreated { order_id: String, currency: String }
/// # impl From<OrderCreatedV1> for OrderCreated {
/// #     fn from(old: OrderCreatedV1) -> Self { Self { order_id: old.id, currency: "EUR".into() } }
/// # }
/// impl EventType for OrderCreated {
///     const NAME: &'static str = "order-created";
///     const VERSION: u16 = 2;
///
///     fn upcast(older: &Encoded) -> Result<Self, DecodeError> {
///         OrderCreatedV1::read(older).map(Self::from)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the payload of an event",
    label = "this type has no event name",
    note = "add `#[derive(serde::Serialize, serde::Deserialize, EventType)]` to `{Self}`, or implement `EventType` for it",
    note = "a Protobuf message is wrapped as `Proto<M>`, plain bytes as `Raw`"
)]
pub trait EventType: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the type in events: stable, independent of the Rust path, the same in all versions.
    const NAME: &'static str;

    /// The schema version, 1 or more. Raise it when a reader of the last version could not read this one.
    const VERSION: u16 = 1;

    /// The codec for encoding. JSON unless said otherwise. The default [`decode`](Self::decode) reads JSON and bincode,
    /// whichever the bytes say they are, so the codec may change between releases. The default
    /// [`encode`](Self::encode) writes those two: a type of another codec overrides both methods.
    const CODEC: CodecId = CodecId::Json;

    /// The topic of [`Event::of`](crate::Event::of), when all events of this type share one.
    const TOPIC: Option<&'static str> = None;

    /// The key of an event of this value when the publisher gives none: what orders events among each other.
    fn key(&self) -> Option<String> {
        None
    }

    /// Bytes that a waiting event of this value counts for in a queue's byte budget. The size of the value without what
    /// it points to, unless said otherwise (`#[event(weight = …)]`): a budget in bytes bounds what is declared here and
    /// nothing else, so types with large buffers should add them.
    fn weight(&self) -> usize {
        size_of_val(self)
    }

    /// The length of the encoded value when it is known without encoding: then the payload limit is checked when the
    /// event is published.
    fn encoded_len(&self) -> Option<usize> {
        None
    }

    /// Appends the encoded value to `out`.
    ///
    /// # Errors
    /// [`EncodeError`], see [`Codec::encode`]; [`EncodeError::Failed`] when [`CODEC`](Self::CODEC) is neither JSON nor
    /// bincode and this method is not overridden.
    fn encode(&self, out: &mut Bounded) -> Result<(), EncodeError> {
        match Self::CODEC {
            CodecId::Json => Json::encode(self, out),
            CodecId::Bincode => Bincode::encode(self, out),
            other => {
                let name = Self::NAME;
                let reason =
                    format!("\"{name}\" names the codec {other} and does not say how to encode with it");
                Err(EncodeError::Failed { reason })
            }
        }
    }

    /// Decodes a value of this type's own version.
    ///
    /// # Errors
    /// [`DecodeError::WrongCodec`], [`DecodeError::Malformed`] or [`DecodeError::TrailingBytes`].
    fn decode(codec: CodecId, bytes: &Bytes) -> Result<Self, DecodeError> {
        match codec {
            CodecId::Json => Json::decode(bytes),
            CodecId::Bincode => Bincode::decode(bytes),
            found => Err(DecodeError::WrongCodec { name: Self::NAME, expected: "json or bincode", found }),
        }
    }

    /// Reads a value of an older version.
    ///
    /// # Errors
    /// [`DecodeError::NoUpcaster`] unless overridden.
    fn upcast(older: &Encoded) -> Result<Self, DecodeError> {
        Err(DecodeError::NoUpcaster { name: Self::NAME, expected: Self::VERSION, found: older.version })
    }

    /// Reads a value of any version: the same version is decoded, an older one upcast, a newer one refused. Types that
    /// accept events of any name override this one.
    ///
    /// # Errors
    /// [`DecodeError`]; the first thing that does not fit: name, version, codec, bytes.
    fn read(encoded: &Encoded) -> Result<Self, DecodeError> {
        if *encoded.type_name != *Self::NAME {
            let found = encoded.type_name.chars().take(128).collect();
            return Err(DecodeError::WrongType { expected: Self::NAME, found });
        }
        match encoded.version {
            version if version == Self::VERSION => Self::decode(encoded.codec, &encoded.bytes),
            version if version < Self::VERSION => Self::upcast(encoded),
            found => Err(DecodeError::TooNew { name: Self::NAME, expected: Self::VERSION, found }),
        }
    }
}

/// A payload as bytes, with what a reader must know about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The name of the type, [`EventType::NAME`].
    pub type_name: TypeName,
    /// The schema version of the bytes.
    pub version: u16,
    /// What made the bytes.
    pub codec: CodecId,
    /// The bytes.
    pub bytes: Bytes,
}

impl Encoded {
    /// Encodes `payload`.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] above `limit` bytes, or the codec's own failure.
    pub fn of<T: EventType>(payload: &T, limit: usize) -> Result<Self, EncodeError> {
        let mut out = Bounded::new(limit);
        payload.encode(&mut out)?;
        Ok(Self {
            type_name: TypeName::constant(T::NAME),
            version: T::VERSION,
            codec: T::CODEC,
            bytes: out.into_bytes().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Mislabelled(u8);

    impl EventType for Mislabelled {
        const NAME: &'static str = "mislabelled";
        const CODEC: CodecId = CodecId::Protobuf;
    }

    #[test]
    fn bytes_of_one_codec_never_bear_the_name_of_another() {
        let refused = Encoded::of(&Mislabelled(7), 64).unwrap_err();
        let reason =
            "\"mislabelled\" names the codec protobuf and does not say how to encode with it".to_owned();
        assert_eq!(refused, EncodeError::Failed { reason });
    }
}
