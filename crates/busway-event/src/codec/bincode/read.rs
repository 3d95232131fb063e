//! Reads what bincode wrote, from bytes that nobody vouches for.
//!
//! The scalars are bincode's own. The shape around them is read here, because bincode's reader has no limit of nesting: a
//! byte a level, and the stack ends before a payload does, which no program survives. Far end of the format: what
//! `bincode::serde` writes (bincode specification 2, "Collections", "Enums").

use ::bincode::config::Config;
use ::bincode::de::read::{BorrowReader, Reader};
use ::bincode::de::{BorrowDecode, BorrowDecoder, Decode, DecoderImpl};
use ::bincode::error::DecodeError;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

/// The first value in `bytes` and the number of bytes that it takes up, or what is wrong and the byte at which it showed.
pub(super) fn value<T: DeserializeOwned, C: Config>(
    bytes: &[u8],
    config: C,
) -> Result<(T, usize), (DecodeError, usize)> {
    let mut input = Input { decoder: DecoderImpl::new(Rest(bytes), config, ()), without_bytes: 0 };
    let value = T::deserialize(Value { input: &mut input, level: 0 });
    let at = bytes.len() - input.rest();
    value.map(|value| (value, at)).map_err(|cause| (cause, at))
}

/// Levels of nesting, as many as `serde_json` allows: enough for any type that a person wrote, and no danger to a stack.
const LEVELS_MAX: u8 = 128;
/// Elements that take up no byte, over the whole value: only time bounds them, so a length must not.
const WITHOUT_BYTES_MAX: usize = 65_536;

/// The bytes that are not read yet.
struct Rest<'de>(&'de [u8]);

impl Reader for Rest<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        bytes.copy_from_slice(self.take_bytes(bytes.len())?);
        Ok(())
    }

    fn peek_read(&mut self, count: usize) -> Option<&[u8]> {
        self.0.get(..count)
    }

    fn consume(&mut self, count: usize) {
        self.0 = self.0.get(count..).unwrap_or_default();
    }
}

impl<'de> BorrowReader<'de> for Rest<'de> {
    fn take_bytes(&mut self, count: usize) -> Result<&'de [u8], DecodeError> {
        match self.0.split_at_checked(count) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(DecodeError::UnexpectedEnd { additional: count - self.0.len() }),
        }
    }
}

/// What all levels of a value share.
struct Input<'de, C: Config> {
    decoder: DecoderImpl<Rest<'de>, C, ()>,
    without_bytes: usize,
}

impl<'de, C: Config> Input<'de, C> {
    fn rest(&mut self) -> usize {
        self.decoder.borrow_reader().0.len()
    }

    fn scalar<T: Decode<()>>(&mut self) -> Result<T, DecodeError> {
        T::decode(&mut self.decoder)
    }

    /// Text or bytes as they stand in the input, so that a length which lies asks for no memory.
    fn slice<T: BorrowDecode<'de, ()>>(&mut self) -> Result<T, DecodeError> {
        T::borrow_decode(&mut self.decoder)
    }
}

/// A value at its level of nesting.
struct Value<'a, 'de, C: Config> {
    input: &'a mut Input<'de, C>,
    level: u8,
}

impl<'a, 'de, C: Config> Value<'a, 'de, C> {
    /// The same place, a level deeper.
    fn inside(self) -> Result<Self, DecodeError> {
        if self.level == LEVELS_MAX {
            return Err(DecodeError::custom(format_args!("more than {LEVELS_MAX} levels of nesting")));
        }
        Ok(Self { level: self.level + 1, ..self })
    }

    /// A tuple or struct: the type says how many there are.
    fn fields(self, left: usize) -> Result<Elements<'a, 'de, C>, DecodeError> {
        let Self { input, level } = self.inside()?;
        let rest = input.rest();
        Ok(Elements { input, level, left, rest, announced: false })
    }

    /// A sequence or map: the bytes say how many there are.
    fn elements(self) -> Result<Elements<'a, 'de, C>, DecodeError> {
        let left = self.input.scalar()?;
        Ok(Elements { announced: true, ..self.fields(left)? })
    }
}

macro_rules! scalars {
    ($($method:ident, $visit:ident;)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.input.scalar()?)
        }
    )* };
}

impl<'de, C: Config> Deserializer<'de> for Value<'_, 'de, C> {
    type Error = DecodeError;

    scalars! {
        deserialize_bool, visit_bool;
        deserialize_i8, visit_i8;
        deserialize_i16, visit_i16;
        deserialize_i32, visit_i32;
        deserialize_i64, visit_i64;
        deserialize_i128, visit_i128;
        deserialize_u8, visit_u8;
        deserialize_u16, visit_u16;
        deserialize_u32, visit_u32;
        deserialize_u64, visit_u64;
        deserialize_u128, visit_u128;
        deserialize_f32, visit_f32;
        deserialize_f64, visit_f64;
        deserialize_char, visit_char;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.input.slice()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_string(self.input.slice::<&str>()?.to_owned())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_bytes(self.input.slice()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.input.slice::<&[u8]>()?.to_owned())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.input.scalar::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.inside()?),
            other => {
                Err(DecodeError::custom(format_args!("an option starts with 0 or 1, not with {other},")))
            }
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self.inside()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.elements()?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.fields(len)?)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.fields(len)?)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_map(self.elements()?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.fields(fields.len())?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(undescribed())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(undescribed())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(undescribed())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

fn undescribed() -> DecodeError {
    DecodeError::custom("bincode does not describe itself, so the type must know what comes (it does not)")
}

impl<'de, C: Config> EnumAccess<'de> for Value<'_, 'de, C> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let index: u32 = self.input.scalar()?;
        let index: U32Deserializer<DecodeError> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de, C: Config> VariantAccess<'de> for Value<'_, 'de, C> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, DecodeError> {
        seed.deserialize(self.inside()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.fields(len)?)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(self.fields(fields.len())?)
    }
}

/// The elements of a sequence, map, tuple or struct that are not read yet.
struct Elements<'a, 'de, C: Config> {
    input: &'a mut Input<'de, C>,
    level: u8,
    left: usize,
    /// Bytes of the input that are not read yet.
    rest: usize,
    /// Whether the bytes said how many elements there are.
    announced: bool,
}

impl<'de, C: Config> Elements<'_, 'de, C> {
    fn next<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let value = seed.deserialize(Value { input: self.input, level: self.level })?;
        self.rest = self.input.rest();
        Ok(value)
    }

    fn next_unless_last<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let before = self.rest;
        let value = self.next(seed)?;
        if self.announced && self.rest == before {
            self.input.without_bytes += 1;
            if self.input.without_bytes > WITHOUT_BYTES_MAX {
                let reason = format_args!("more than {WITHOUT_BYTES_MAX} elements that take up no byte");
                return Err(DecodeError::custom(reason));
            }
        }
        Ok(Some(value))
    }

    /// What may be reserved: as many elements as there are bytes.
    fn believable(&self) -> usize {
        if self.announced { self.left.min(self.rest) } else { self.left }
    }
}

impl<'de, C: Config> SeqAccess<'de> for Elements<'_, 'de, C> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        self.next_unless_last(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.believable())
    }
}

impl<'de, C: Config> MapAccess<'de> for Elements<'_, 'de, C> {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.next_unless_last(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        self.next(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.believable())
    }
}

#[cfg(test)]
mod tests;
