//! Texts as values of headers, which are printable ASCII: percent-encoding as the bindings of `CloudEvents` for HTTP and NATS have it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Encodes space, `"`, `%`, and all that is not printable ASCII.
pub(crate) fn encoded(text: &str) -> Cow<'_, str> {
    // All of it is looked at, many bytes at a time: nearly all values are plain.
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match is_plain(byte) {
            true => out.push(char::from(byte)),
            false => _ = write!(out, "%{byte:02X}"),
        }
    }
    Cow::Owned(out)
}

/// The same of a text that is given away: one that is plain stays as it is.
pub(crate) fn encoded_whole(text: String) -> String {
    match encoded(&text) {
        Cow::Owned(encoded) => encoded,
        Cow::Borrowed(_) => text,
    }
}

/// The text again. A `%` that begins no code stands for itself; `None` when what comes out is no Unicode.
pub(crate) fn decoded(value: &str) -> Option<Cow<'_, str>> {
    // Nearly all have none.
    if !has_percent(value.as_bytes()) {
        return Some(Cow::Borrowed(value));
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let code = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) => digit(*high).zip(digit(*low)).map(|code| (code, behind)),
            _ => None,
        };
        match code {
            Some(((high, low), behind)) => {
                out.push(high << 4 | low);
                rest = behind;
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Whether there is a `%`, told eight bytes at a time. The last eight are looked at together, some of them twice.
fn has_percent(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The highest bit of a byte is set where there is one. What it carries to its neighbour only makes more of them.
    let found = |word: &[u8; 8]| {
        let zeros = u64::from_le_bytes(*word) ^ (u64::from(b'%') * ONES);
        zeros.wrapping_sub(ONES) & !zeros & (0x80 * ONES)
    };
    let Some(last) = bytes.last_chunk() else {
        return bytes.contains(&b'%');
    };
    bytes.as_chunks().0.iter().fold(found(last), |all, word| all | found(word)) != 0
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%'
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_out_as_they_went_in() {
        for text in ["", "plain", "Euro € 100% \"so\"", "a\r\nb", "%41", "\u{1F600}", "tab\there"] {
            let value = encoded(text);
            assert!(value.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "{value}");
            assert_eq!(decoded(&value).as_deref(), Some(text));
            assert_eq!(encoded_whole(text.to_owned()), value);
        }
        // The example of the binding.
        assert_eq!(encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
    }

    #[test]
    fn a_percent_is_found_wherever_it_stands_and_nothing_else_is_taken_for_one() {
        for (len, place) in (1..=24).flat_map(|len| (0..len).map(move |place| (len, place))) {
            for byte in 0..=u8::MAX {
                for around in [0, b'$', b'&', 0xff] {
                    let mut text = vec![around; len];
                    text[place] = byte;
                    assert_eq!(has_percent(&text), byte == b'%', "{byte} at {place} of {len}");
                }
            }
        }
        assert!(!has_percent(b"") && has_percent(&[b'%'; 9]));
    }

    #[test]
    fn what_is_no_code_stands_for_itself_and_what_is_no_unicode_is_none() {
        assert_eq!(decoded("100%").as_deref(), Some("100%"));
        assert_eq!(decoded("%zz%4").as_deref(), Some("%zz%4"));
        assert_eq!(decoded("%c3%a4").as_deref(), Some("ä"));
        assert_eq!(decoded("%ff"), None);
    }
}
