//! Trace context: who caused an event, in the form of W3C Trace Context.
//!
//! <https://www.w3.org/TR/trace-context/>. Only carried, never interpreted: 26 bytes in memory instead of a 55-byte text.

use std::fmt;
use std::str::FromStr;

/// A W3C `traceparent` with its optional `tracestate`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
    state: Option<Box<str>>,
}

impl TraceContext {
    /// From its parts; `None` when an id is all zero, which the specification forbids.
    #[must_use]
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], flags: u8) -> Option<Self> {
        let valid = trace_id != [0; 16] && parent_id != [0; 8];
        valid.then_some(Self { trace_id, parent_id, flags, state: None })
    }

    /// The same context with a `tracestate`, in place of any that it has. A list that breaks a rule of the specification
    /// (§3.3.1: `key=value` members, at most 32 of them; here also at most 512 bytes) is left out, as it asks: it never
    /// spoils the `traceparent`.
    pub fn with_state(mut self, state: &str) -> Self {
        let members = || state.split(',').map(|member| member.trim_matches([' ', '\t']));
        let fits = state.len() <= STATE_BYTES_MAX && members().count() <= STATE_MEMBERS_MAX;
        let is_said = members().any(|member| !member.is_empty());
        let valid = fits && is_said && members().all(|member| member.is_empty() || is_state_member(member));
        self.state = valid.then(|| state.into());
        self
    }

    /// The 16-byte trace id.
    #[must_use]
    pub const fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The 8-byte id of the span that caused the event.
    #[must_use]
    pub const fn parent_id(&self) -> [u8; 8] {
        self.parent_id
    }

    /// Whether the producer recorded the trace (bit 0 of the flags).
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The flags: bit 0, sampled; bit 1, the trace id is random.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// The trace id as 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn trace_id_hex(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace_id))
    }

    /// The vendor list, when there is one.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = u128::from_be_bytes(self.trace_id);
        let parent = u64::from_be_bytes(self.parent_id);
        write!(f, "00-{trace:032x}-{parent:016x}-{:02x}", self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({self})")
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let error = |reason| TraceContextError { input: text.chars().take(64).collect(), reason };
        let bytes = text.as_bytes();
        let field = |from: usize, to: usize| bytes.get(from..to).and_then(lower_hex);
        let dash = |at: usize| bytes.get(at) == Some(&b'-');
        let version = field(0, 2).ok_or_else(|| error("the version is not two lower-case hex digits"))?;
        if version == 0xff {
            return Err(error("version ff is forbidden"));
        }
        // A later version may append fields after a further dash; version 00 may not.
        let length_fits = if version == 0 { bytes.len() == 55 } else { bytes.len() == 55 || dash(55) };
        if !length_fits || !dash(2) || !dash(35) || !dash(52) {
            return Err(error("it is not of the form 00-<32 hex>-<16 hex>-<2 hex>"));
        }
        let trace = field(3, 35).ok_or_else(|| error("the trace id is not 32 lower-case hex digits"))?;
        let parent = field(36, 52).ok_or_else(|| error("the parent id is not 16 lower-case hex digits"))?;
        let flags = field(53, 55).ok_or_else(|| error("the flags are not two lower-case hex digits"))?;
        let parent = u64::try_from(parent).unwrap_or_default();
        let flags = u8::try_from(flags).unwrap_or_default();
        // Only the bits that this version defines are passed on (bit 0, sampled; bit 1, random trace id).
        Self::new(trace.to_be_bytes(), parent.to_be_bytes(), flags & 0b11)
            .ok_or_else(|| error("an id of zeros is forbidden"))
    }
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is no traceparent: {reason}", input.escape_debug())]
pub struct TraceContextError {
    input: String,
    reason: &'static str,
}

/// `key=value` of a `tracestate`; a key may name a tenant, `tenant@system` (W3C Trace Context §3.3.1.3).
fn is_state_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let rest = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/')
    };
    let part = |part: &str, max: usize| {
        part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && part.len() <= max
            && part.bytes().all(rest)
    };
    let is_key = match key.split_once('@') {
        Some((tenant, system)) => part(tenant, 241) && part(system, 14),
        None => part(key, 256),
    };
    let is_value = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'=';
    is_key && (1..=256).contains(&value.len()) && value.bytes().all(is_value)
}

/// The value of up to 32 lower-case hexadecimal digits; `None` for any other byte.
fn lower_hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u128::from(digit))
    })
}

/// Bounds of `tracestate` (W3C Trace Context §3.3.1).
const STATE_MEMBERS_MAX: usize = 32;
const STATE_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_back() {
        let context: TraceContext = VALID.parse().unwrap();
        assert_eq!(context.to_string(), VALID);
        assert_eq!(context.trace_id_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(context.is_sampled());
    }

    #[test]
    fn a_later_version_is_read_leniently_and_written_as_version_zero() {
        let later = format!("cc{}-extra", &VALID[2..]);
        assert_eq!(later.parse::<TraceContext>().unwrap().to_string(), VALID);
    }

    #[test]
    fn flags_that_nobody_has_defined_are_not_passed_on() {
        let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        for (given, kept, sampled) in [("00", 0, false), ("01", 1, true), ("02", 2, false), ("ff", 3, true)] {
            let context: TraceContext = format!("00-{ids}-{given}").parse().unwrap();
            assert_eq!((context.flags(), context.is_sampled()), (kept, sampled), "{given}");
            assert_eq!(context.to_string(), format!("00-{ids}-{kept:02x}"));
        }
        for later in ["cc", "01", "fe"] {
            let context: TraceContext = format!("{later}-{ids}-09-what-the-future-holds").parse().unwrap();
            assert_eq!(context.to_string(), format!("00-{ids}-01"), "{later}");
        }
    }

    #[test]
    fn each_malformed_form_is_refused() {
        let ids = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
        let cases = [
            ("nothing", String::new()),
            ("a version alone", "00".to_owned()),
            ("a digit too few", VALID[..54].to_owned()),
            ("more behind version 00", format!("{VALID}-extra")),
            ("a dash behind version 00", format!("{VALID}-")),
            ("upper case", VALID.to_uppercase()),
            ("one upper-case digit of the trace id", VALID.replace("4bf9", "4Bf9")),
            ("one upper-case digit of the flags", format!("00-{ids}-0A")),
            ("a trace id of zeros", format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32))),
            ("a parent id of zeros", format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16))),
            ("version ff", format!("ff{}", &VALID[2..])),
            ("a version that is no number", format!("0x{}", &VALID[2..])),
            ("an upper-case version", format!("CC{}", &VALID[2..])),
            ("a later version that goes on without a dash", format!("cc-{ids}-01.extra")),
            ("a later version that is too short", format!("cc-{ids}-0")),
            ("flags of one digit", format!("00-{ids}-1")),
            ("flags that are none", format!("00-{ids}-.0")),
            ("a letter that is no hex digit", VALID.replace("4bf9", "4bg9")),
            ("other separators", VALID.replace('-', "_")),
            ("a blank before", format!(" {VALID}")),
            ("a blank behind", format!("{VALID} ")),
            ("two of them", format!("{VALID},{VALID}")),
            ("letters of two bytes", "00-ä".to_owned()),
        ];
        for (what, case) in cases {
            assert!(case.parse::<TraceContext>().is_err(), "{what}: {case:?}");
        }
    }

    #[test]
    fn a_bad_tracestate_never_spoils_the_traceparent() {
        let context: TraceContext = VALID.parse().unwrap();
        assert_eq!(context.clone().with_state("a=1,b=2").state(), Some("a=1,b=2"));
        let crowded = vec!["a=1"; 33].join(",");
        let long = format!("a={}", "x".repeat(257));
        for bad in [
            crowded.as_str(),
            "a=\n",
            &"x".repeat(513),
            "  ",
            ",",
            "x",
            "a=",
            "=1",
            "A=1",
            "a=1,b",
            "a=b=c",
            "a b=1",
            "a@=1",
            "@a=1",
            "a@b@c=1",
            "-a=1",
            "ä=1",
            "a=ä",
            &long,
            "{\"a\":1}",
        ] {
            assert_eq!(context.clone().with_state(bad).state(), None, "{bad:?}");
        }
        for good in
            ["a=1", "1a=!", "a=1 , b=2", "a=1,,b=2", "t-1@sys=x y", "a_b-c*d/e=~", &crowded[..32 * 4 - 1]]
        {
            assert_eq!(context.clone().with_state(good).state(), Some(good));
        }
    }
}
