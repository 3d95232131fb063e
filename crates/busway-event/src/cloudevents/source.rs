//! `source`: a producer as a URI reference.
//!
//! The specification wants a URI reference there (`CloudEvents` 1.0.2, "source"), a producer may have any name. One that is
//! a URI reference is written as it is. Another is percent-encoded, and travels a second time, as it is, in `buswaymeta`.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What stands for `producer` in `source`.
pub(super) fn written(producer: &str) -> Cow<'_, str> {
    if is_uri_reference(producer) {
        return Cow::Borrowed(producer);
    }
    Cow::Owned(encoded(producer))
}

/// A text in percent-encoding.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if is_unreserved(byte) || byte == b'/' {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// RFC 3986 §4.1, but for the inside of an address in brackets.
fn is_uri_reference(text: &str) -> bool {
    // Most names are a relative path.
    if text.bytes().fold(true, |plain, byte| plain & (is_unreserved(byte) || byte == b'/')) {
        return true;
    }
    let first_end = text.find(['/', '?', '#']).unwrap_or(text.len());
    let (first, rest) = text.split_at(first_end);
    // A colon in the first segment ends a scheme.
    let (scheme, path) = first.split_once(':').map_or((None, first), |(scheme, path)| (Some(scheme), path));
    if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
        return false;
    }
    let (authority, rest) = match rest.strip_prefix("//").filter(|_| path.is_empty()) {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let is_address = |host: &str| host.strip_prefix('[').and_then(|host| host.split_once(']')).is_some();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let authority =
        if is_address(host) { authority.replacen(['[', ']'], "", 2) } else { authority.to_owned() };
    [path, &authority, rest, fragment].into_iter().all(is_made_of_uri_characters)
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Characters of a path or query, and whole escapes.
fn is_made_of_uri_characters(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|it| it.is_ascii_hexdigit())),
            _ => is_unreserved(byte) || b"!$&'()*+,;=:@/?".contains(&byte),
        };
        if !fits {
            return false;
        }
    }
    true
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uri_reference_is_written_as_it_is() {
        for source in [
            "shop",
            "/shop",
            "orders/eu-1",
            "https://example.com/a?b=c#d",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "mailto:a@example.com",
            "/a%20b",
            "//host:80/x",
            "http://[::1]:80/x",
            "http://me@[::1]",
            "./1:2",
            "a@b",
        ] {
            assert_eq!(written(source), source);
        }
    }

    #[test]
    fn another_name_is_percent_encoded() {
        let table = [
            ("my shop", "my%20shop"),
            ("größe", "gr%C3%B6%C3%9Fe"),
            ("50%", "50%25"),
            ("%4", "%254"),
            ("%zz", "%25zz"),
            ("1:2", "1%3A2"),
            (":a", "%3Aa"),
            ("a#b#c", "a%23b%23c"),
            ("a[1]", "a%5B1%5D"),
            ("/a[1]", "/a%5B1%5D"),
            ("//a b/[c]", "//a%20b/%5Bc%5D"),
            ("http://[::1/x", "http%3A//%5B%3A%3A1/x"),
            ("<shop>|\"x\"", "%3Cshop%3E%7C%22x%22"),
        ];
        for (producer, source) in table {
            assert_eq!(written(producer), source);
            assert!(is_uri_reference(source), "{source}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_a_uri_reference_and_stays_so(producer in "(.|[a-z:/?#%@ 0-9\\[\\]]){0,30}") {
            let source = written(&producer);
            prop_assert!(is_uri_reference(&source), "{}", source);
            prop_assert_eq!(written(&source), source.as_ref());
        }
    }
}
