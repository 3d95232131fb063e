//! Baggage: pairs that travel beside a trace, in the form of W3C Baggage.
//!
//! <https://www.w3.org/TR/baggage/>. Values are percent-encoded in the text and plain here. It is passed on to whoever handles the event, so no secret belongs into
//! it; busway never logs it.

use std::fmt::{self, Write as _};

/// Pairs that travel beside a trace. Never empty, and always within its limits: 64 members, 8,192 bytes of text.
#[derive(Clone, PartialEq, Eq)]
pub struct Baggage {
    members: Vec<BaggageMember>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq)]
pub struct BaggageMember {
    /// Its name: an HTTP token.
    pub name: String,
    /// Its value, plain.
    pub value: String,
    /// Its properties as they stand in the text, without the first `;`. Mostly empty.
    pub properties: String,
}

impl Baggage {
    /// As many members as fit, in their order; `None` when there is none. A name that is no token, an empty one or one that there was already is left out, as is what
    /// does not fit any more.
    #[must_use]
    pub fn new(members: impl IntoIterator<Item = BaggageMember>) -> Option<Self> {
        let mut kept: Vec<BaggageMember> = Vec::new();
        let mut len = 0;
        for member in members {
            let known = kept.iter().any(|one| one.name == member.name);
            if known || !is_token(&member.name) || !member.properties.bytes().all(is_property_byte) {
                continue;
            }
            let more = member.to_string().len() + usize::from(!kept.is_empty());
            if kept.len() == MEMBERS_MAX || len + more > BYTES_MAX {
                continue;
            }
            len += more;
            kept.push(member);
        }
        (!kept.is_empty()).then_some(Self { members: kept })
    }

    /// Reads a text. What is not well formed is left out member by member, as is what is over the limits; `None` when nothing is left.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Nothing of a longer one fits but what stands first: the rest is not looked at.
        let read = match text.get(..READ_MAX) {
            // The member that the end cuts is none.
            Some(read) if text.len() > READ_MAX => read.rsplit_once(',')?.0,
            Some(read) => read,
            None if text.len() > READ_MAX => return None,
            None => text,
        };
        Self::new(read.split(',').filter_map(BaggageMember::parse))
    }

    /// Its members, in their order.
    #[must_use]
    pub fn members(&self) -> &[BaggageMember] {
        &self.members
    }

    /// The value of the member of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|member| member.name == name).map(|member| &*member.value)
    }
}

impl BaggageMember {
    fn parse(text: &str) -> Option<Self> {
        let (pair, properties) = text.split_once(';').unwrap_or((text, ""));
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (trimmed(name), trimmed(value));
        let value = value.bytes().all(is_value_byte).then(|| decoded(value))??;
        Some(Self { name: name.to_owned(), value, properties: trimmed(properties).to_owned() })
    }
}

impl fmt::Display for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, member) in self.members.iter().enumerate() {
            if at > 0 {
                f.write_char(',')?;
            }
            write!(f, "{member}")?;
        }
        Ok(())
    }
}

impl fmt::Display for BaggageMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.name)?;
        for byte in self.value.bytes() {
            match byte {
                // The sign of an escape is one itself.
                b'%' => f.write_str("%25")?,
                byte if is_value_byte(byte) => f.write_char(char::from(byte))?,
                byte => write!(f, "%{byte:02X}")?,
            }
        }
        match self.properties.is_empty() {
            true => Ok(()),
            false => write!(f, ";{}", self.properties),
        }
    }
}

/// Names nothing: values may be somebody's own.
impl fmt::Debug for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Baggage({} members)", self.members.len())
    }
}

impl fmt::Debug for BaggageMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaggageMember").field("name", &self.name).finish_non_exhaustive()
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Of a name (RFC 7230 §3.2.6).
fn is_token(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_part)
}

/// Of a value in the text: visible, and none of `"`, `,`, `;`, `\`.
const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// Of properties in the text: as in a value, and what stands between.
const fn is_property_byte(byte: u8) -> bool {
    is_value_byte(byte) || matches!(byte, b';' | b' ' | b'\t')
}

/// The plain form of a value; `None` when its bytes are no text.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = behind;
            }
            // A sign that escapes nothing is itself.
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        digit => digit.to_ascii_lowercase() - b'a' + 10,
    }
}

/// Limits that everybody has to pass on (W3C Baggage §3.3.2), and that fit into one pair of metadata.
const MEMBERS_MAX: usize = 64;
const BYTES_MAX: usize = 8_192;
/// As much of a text is read.
const READ_MAX: usize = 2 * BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_baggage_is_read_as_the_table_says() {
        let cases: &[(&str, Option<&str>)] = &[
            ("a=1", Some("a=1")),
            ("a=1,b=2", Some("a=1,b=2")),
            (" a = 1 ,\tb=2 ", Some("a=1,b=2")),
            ("a=1;p=x;q", Some("a=1;p=x;q")),
            ("a=", Some("a=")),
            ("a=%20x", Some("a=%20x")),
            ("a=%C3%A4", Some("a=%C3%A4")),
            ("a=50%", Some("a=50%25")),
            ("a=b=c", Some("a=b=c")),
            ("a=1,a=2", Some("a=1")),
            ("a=1,,b=2", Some("a=1,b=2")),
            ("a=1,b", Some("a=1")),
            ("=1,b=2", Some("b=2")),
            ("a b=1,c=2", Some("c=2")),
            ("a=x y,c=2", Some("c=2")),
            ("a=\"x\",c=2", Some("c=2")),
            ("a=%FF,c=2", Some("c=2")),
            ("a=ä,c=2", Some("c=2")),
            ("a=1;p=\u{7},c=2", Some("c=2")),
            ("", None),
            (",", None),
            ("a", None),
        ];
        for (text, expected) in cases {
            let read = Baggage::parse(text).map(|baggage| baggage.to_string());
            assert_eq!(read.as_deref(), *expected, "{text:?}");
        }
        assert_eq!(Baggage::parse("a=%20x").unwrap().get("a"), Some(" x"));
        assert_eq!(Baggage::parse("a=1;p=x").unwrap().members()[0].properties, "p=x");
    }

    #[test]
    fn a_baggage_is_never_more_than_its_limits() {
        let many: Vec<String> = (0..100).map(|i| format!("k{i}=v")).collect();
        assert_eq!(Baggage::parse(&many.join(",")).unwrap().members().len(), MEMBERS_MAX);
        let large = format!("a={},b=1", "x".repeat(BYTES_MAX));
        assert_eq!(Baggage::parse(&large).unwrap().to_string(), "b=1");
        let exactly = format!("a={}", "x".repeat(BYTES_MAX - 2));
        assert_eq!(Baggage::parse(&exactly).unwrap().to_string(), exactly);
        // What is escaped is longer than what it stands for.
        let member = |value: &str| BaggageMember {
            name: "a".to_owned(),
            value: value.to_owned(),
            properties: String::new(),
        };
        assert!(Baggage::new([member(&"ä".repeat(BYTES_MAX / 5))]).is_none());
        assert!(Baggage::parse(&"ä,".repeat(BYTES_MAX)).is_none());
        assert!(!format!("{:?}", Baggage::parse("a=secret")).contains("secret"));
    }
}
