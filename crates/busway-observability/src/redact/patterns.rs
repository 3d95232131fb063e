//! Secrets that are known by their looks, whatever they are called.

use super::{HIDDEN, cards};

/// A secret that is known by its looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Secret {
    /// The number of a payment card: 13 to 19 digits that begin with 2 to 6, in one or as cards are printed with a space or a dash between groups, whose last one checks the others (Luhn); also with other
    /// numbers beside it. One in ten of the numbers of such a form that are no cards is hidden with them; one with other separators, beside a letter or within a longer number is not found.
    CardNumber,
    /// What follows the word `Bearer`.
    BearerToken,
    /// A JSON Web Token: three parts in base64url, of which the first begins with `eyJ`.
    Jwt,
    /// The password of a URL: `scheme://user:password@host`.
    UrlPassword,
    /// A private key in PEM, or what there is of it.
    PrivateKey,
}

impl Secret {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::PrivateKey, Self::Jwt, Self::BearerToken, Self::UrlPassword, Self::CardNumber];

    /// Where the next one lies, from this place on.
    fn next(self, text: &str, at: usize) -> Option<(usize, usize)> {
        let rest = text.get(at..)?;
        let (from, to) = match self {
            // What stands before belongs to the looks of it.
            Self::CardNumber => return cards::next(text, at),
            Self::BearerToken => bearer_token(rest)?,
            Self::Jwt => jwt(rest)?,
            Self::UrlPassword => url_password(rest)?,
            Self::PrivateKey => private_key(rest)?,
        };
        (from < to).then_some((at + from, at + to))
    }

    /// Hides all of them; `None`: there is none.
    pub(super) fn hide(self, text: &str) -> Option<String> {
        let (mut shown, mut at) = (String::new(), 0);
        while let Some((from, to)) = self.next(text, at) {
            shown.push_str(text.get(at..from)?);
            shown.push_str(HIDDEN);
            at = to;
        }
        (at > 0).then(|| shown + text.get(at..).unwrap_or_default())
    }
}

fn bearer_token(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find(['b', 'B']) {
        from += found;
        let begin = from + BEARER.len();
        if text.get(from..begin).is_some_and(|word| word.eq_ignore_ascii_case(BEARER)) {
            let token = run(text.get(begin..)?, |byte| is_base64url(byte) || b"._~+/=".contains(&byte));
            if token > 0 {
                return Some((begin, begin + token));
            }
        }
        from += 1;
    }
    None
}

fn jwt(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find("eyJ") {
        let begin = from + found;
        let is_part = |byte: u8| is_base64url(byte) || byte == b'.';
        let end = begin + run(text.get(begin..)?, is_part);
        if text.get(begin..end)?.matches('.').count() >= 2 {
            return Some((begin, end));
        }
        from = end;
    }
    None
}

fn url_password(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find("://") {
        let begin = from + found + 3;
        let authority =
            run(text.get(begin..)?, |byte| !byte.is_ascii_whitespace() && !b"/?#\"'<>\\".contains(&byte));
        let authority = text.get(begin..begin + authority)?;
        if let Some(at) = authority.rfind('@')
            && let Some(colon) = authority.get(..at)?.find(':')
            && colon + 1 < at
        {
            return Some((begin + colon + 1, begin + at));
        }
        from = begin;
    }
    None
}

fn private_key(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find(BEGIN) {
        let begin = from + found;
        // The label is upper case letters and spaces.
        let label = run(text.get(begin + BEGIN.len()..)?, |byte| byte.is_ascii_uppercase() || byte == b' ');
        let behind = begin + BEGIN.len() + label;
        let is_key = text.get(..behind)?.ends_with("PRIVATE KEY") && text.get(behind..)?.starts_with(DASHES);
        if is_key {
            // Not where another one begins.
            let end = text.get(behind..)?.find(END).and_then(|end| {
                let end = behind + end;
                Some(end + text.get(end..)?.find(KEY_END)? + KEY_END.len())
            });
            return Some((begin, end.unwrap_or(text.len())));
        }
        from = begin + 1;
    }
    None
}

/// Bytes from the start that are such ones.
fn run(text: &str, is_such: impl Fn(u8) -> bool) -> usize {
    let end = text.bytes().position(|byte| !is_such(byte)).unwrap_or(text.len());
    // A byte of a longer character is never such a one, or all of its bytes are.
    (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const BEARER: &str = "bearer ";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const KEY_END: &str = "PRIVATE KEY-----";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Secret::ALL.iter().fold(text.to_owned(), |text, secret| secret.hide(&text).unwrap_or(text))
    }

    #[test]
    fn secrets_are_known_by_their_looks() {
        assert_eq!(shown("card 4111 1111 1111 1111 refused"), "card *** refused");
        assert_eq!(shown("4111-1111-1111-1111, 5500000000000004"), "***, ***");
        assert_eq!(shown("Authorization: Bearer abc.def-1 (401)"), "Authorization: Bearer *** (401)");
        assert_eq!(shown("eyJhbGciOi.eyJzdWIi.SflKx_w is old"), "*** is old");
        assert_eq!(shown("postgres://ann:s:3@cret@db/x and b://h"), "postgres://ann:***@db/x and b://h");
        let key = "a -----BEGIN RSA PRIVATE KEY-----\\nMII\\n-----END RSA PRIVATE KEY----- b";
        assert_eq!(shown(key), "a *** b");
        assert_eq!(shown("-----BEGIN PRIVATE KEY-----\nMII"), "***");
        assert_eq!(shown(&format!("-----BEGIN PRIVATE KEY-----\nMII {key}")), "*** b");
    }

    #[test]
    fn what_only_looks_like_one_is_left_alone() {
        for text in [
            "offset 4111111111111112",
            "019345ab-4111-1111-1111-111111111111",
            "1732650000000000000 ns",
            "id4111111111111111",
            "http://localhost:9464/metrics",
            "Bearer ",
            "eyJ.only",
            "-----BEGIN CERTIFICATE-----",
            "ä://ö:",
        ] {
            assert_eq!(shown(text), text);
        }
    }
}
