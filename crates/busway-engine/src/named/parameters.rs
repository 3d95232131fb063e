//! Parameters of a middleware: values of whatever shape, that anything serde knows is read from.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

/// A value: what a configuration says of a middleware. Read it with serde: `P::deserialize(&parameter)`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Parameter {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// Text that may stand for a number or a truth value too: what comes from an environment has no types.
    Loose(String),
    /// A list.
    List(Vec<Self>),
    /// Values by name.
    Table(Vec<(String, Self)>),
}

/// Why parameters are not what is taken, and where in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterError {
    /// Names and places in lists, innermost first.
    path: Vec<String>,
    message: String,
}

impl ParameterError {
    /// Names of tables and numbers of list items that lead to the place, outermost first. Empty: all of it.
    pub fn path(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.path.iter().rev().map(String::as_str)
    }

    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    fn below(mut self, name: impl Into<String>) -> Self {
        self.path.push(name.into());
        self
    }
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => f.write_str(&self.message),
            false => write!(f, "{}: {}", self.path().collect::<Vec<_>>().join("."), self.message),
        }
    }
}

impl std::error::Error for ParameterError {}

impl Error for ParameterError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), message: message.to_string() }
    }
}

impl Parameter {
    fn number<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value, ParameterError> {
        if let Ok(number) = u64::try_from(number) {
            return visitor.visit_u64(number);
        }
        match i64::try_from(number) {
            Ok(number) => visitor.visit_i64(number),
            Err(_) => visitor.visit_i128(number),
        }
    }
}

/// A text that stands for what the type wants.
macro_rules! loose {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
            let Parameter::Loose(text) = self else { return self.deserialize_any(visitor) };
            if let Ok(number) = text.parse() {
                return Parameter::number(number, visitor);
            }
            match (text.parse::<f64>(), text.parse::<bool>()) {
                (Ok(number), _) => visitor.visit_f64(number),
                (_, Ok(value)) => visitor.visit_bool(value),
                _ => Err(Error::invalid_type(Unexpected::Str(text), &visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Parameter {
    type Error = ParameterError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Parameter::Null => visitor.visit_unit(),
            Parameter::Bool(value) => visitor.visit_bool(*value),
            Parameter::Integer(number) => Parameter::number(*number, visitor),
            Parameter::Float(number) => visitor.visit_f64(*number),
            Parameter::Text(text) | Parameter::Loose(text) => visitor.visit_borrowed_str(text),
            Parameter::List(items) => visitor.visit_seq(Items { items: items.iter(), at: 0 }),
            Parameter::Table(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
        }
    }

    loose! { deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 }
    loose! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Parameter::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// No parameters at all are an empty table.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterError> {
        match self {
            Parameter::Table(entries) => match entries.first() {
                None => visitor.visit_unit(),
                Some((name, _)) => Err(ParameterError::custom("it takes no parameters").below(name.clone())),
            },
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        match self {
            Parameter::Text(text) | Parameter::Loose(text) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            Parameter::Table(entries) => match entries.as_slice() {
                [(name, value)] => visitor.visit_enum(Variant { name, value }),
                _ => Err(ParameterError::custom("one name is wanted, and its value")),
            },
            other => other.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Parameter>,
    at: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ParameterError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ParameterError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let at = self.at;
        self.at += 1;
        seed.deserialize(item).map(Some).map_err(|error| error.below(at.to_string()))
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (String, Parameter)>,
    value: Option<(&'de str, &'de Parameter)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ParameterError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ParameterError> {
        let Some((name, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((name, value));
        let name_of: StrDeserializer<'de, ParameterError> = name.as_str().into_deserializer();
        seed.deserialize(name_of).map(Some).map_err(|error| error.below(name.clone()))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ParameterError> {
        match self.value.take() {
            Some((name, value)) => seed.deserialize(value).map_err(|error| error.below(name)),
            None => Err(ParameterError::custom("a value without a name")),
        }
    }
}

struct Variant<'de> {
    name: &'de str,
    value: &'de Parameter,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ParameterError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), ParameterError> {
        let name: StrDeserializer<'de, ParameterError> = self.name.into_deserializer();
        seed.deserialize(name).map(|value| (value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ParameterError;

    fn unit_variant(self) -> Result<(), ParameterError> {
        match self.value {
            Parameter::Null => Ok(()),
            _ => Err(ParameterError::custom("no value is wanted").below(self.name)),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ParameterError> {
        seed.deserialize(self.value).map_err(|error| error.below(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, ParameterError> {
        self.value.deserialize_any(visitor).map_err(|error| error.below(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParameterError> {
        self.value.deserialize_any(visitor).map_err(|error| error.below(self.name))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        name: String,
        #[serde(default)]
        limits: Vec<Limit>,
        mode: Mode,
        share: Option<f32>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Limit {
        at: u16,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        Fast,
        Slow { by: i8 },
    }

    fn table(entries: Vec<(&str, Parameter)>) -> Parameter {
        Parameter::Table(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn text(text: &str) -> Parameter {
        Parameter::Text(text.to_owned())
    }

    #[test]
    fn whatever_serde_knows_is_read() {
        let limits = Parameter::List(vec![table(vec![("at", Parameter::Loose("7".to_owned()))])]);
        let slow = table(vec![("slow", table(vec![("by", Parameter::Integer(-3))]))]);
        let given = table(vec![("name", text("x")), ("limits", limits), ("mode", slow)]);
        let wanted = Wanted {
            name: "x".to_owned(),
            limits: vec![Limit { at: 7 }],
            mode: Mode::Slow { by: -3 },
            share: None,
        };
        assert_eq!(Wanted::deserialize(&given), Ok(wanted));
        let fast = table(vec![("name", text("x")), ("mode", text("fast")), ("share", Parameter::Float(0.5))]);
        assert_eq!(Wanted::deserialize(&fast).map(|wanted| wanted.mode), Ok(Mode::Fast));
        assert_eq!(<()>::deserialize(&table(vec![])), Ok(()));
    }

    #[test]
    fn an_error_says_where_it_is() {
        let wrong = |entries| Wanted::deserialize(&table(entries)).unwrap_err().to_string();
        let limits = Parameter::List(vec![table(vec![("at", Parameter::Integer(70_000))])]);
        let said = wrong(vec![("name", text("x")), ("limits", limits)]);
        assert!(said.starts_with("limits.0.at: invalid value: integer `70000`"), "{said}");
        let said = wrong(vec![("nmae", text("x"))]);
        assert!(said.starts_with("nmae: unknown field `nmae`"), "{said}");
        let said = wrong(vec![("name", text("x"))]);
        assert_eq!(said, "missing field `mode`");
        assert!(<()>::deserialize(&table(vec![("x", Parameter::Null)])).is_err());
    }
}
