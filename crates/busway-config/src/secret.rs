//! What of a file nobody is to read in a log: values of fields whose names say that they are secret.
//!
//! It goes by names, since what a value means is known by whoever registered what takes it. A secret under another name is shown.

use crate::node::{Kind, Node};

/// Whether what is called so does not belong into a log.
pub(crate) fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    let name: String = letters.flat_map(char::to_lowercase).collect();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Marks the places of all values whose names, or the names of what they are in, are secret: lines there are shown to nobody.
pub(crate) fn mark(node: &mut Node, is_within: bool) {
    if is_within {
        node.place.hide();
    }
    match &mut node.kind {
        Kind::List(items) => items.iter_mut().for_each(|item| mark(item, is_within)),
        Kind::Table(entries) => {
            for entry in entries {
                if is_within {
                    entry.at.hide();
                }
                mark(&mut entry.node, is_within || is_secret(&entry.name));
            }
        }
        _ => {}
    }
}

/// A part of a line that is a secret from there on: a place in it stays where it is, and how long it is can still be seen.
pub(crate) fn hidden_from(line: &str, from: usize) -> String {
    let is_shown = |letter: char| letter.is_whitespace() || "\"'{}[],:=#".contains(letter);
    let (before, behind) = line.split_at(from);
    let behind = behind.chars().map(|letter| if is_shown(letter) { letter } else { '*' });
    before.chars().chain(behind).collect()
}

/// Where the first name of a line that is secret ends: what stands behind it is shown to nobody.
pub(crate) fn end_of_first_secret(line: &str) -> Option<usize> {
    let ends = [':', '=', ',', '{', '}', '[', ']'];
    let mut from = 0;
    for part in line.split_inclusive(ends) {
        let name = part.trim_end_matches(ends);
        if is_secret(name) {
            return Some(from + name.len());
        }
        from += part.len();
    }
    None
}

/// What is shown instead.
pub(crate) const HIDDEN: &str = "***";

/// Of names without what joins their words.
const SECRET_WORDS: [&str; 10] = [
    "accesskey",
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "passw",
    "privatekey",
    "secret",
    "token",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_secret_however_their_words_are_joined() {
        for name in ["password", "apiKey", "API_KEY", "private-key", "auth-token", "clientSecret"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["key", "concurrency", "passed", "author", "pass"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn a_line_is_hidden_from_its_first_secret_on_and_places_stay() {
        let cases = [
            ("  with: { depth: 1 }", "  with: { depth: 1 }"),
            ("  api_key: s3c$t-1 # of ann", "  api_key: ******* # ** ***"),
            (r#"{"a": 1, "pass word":"hünter", "b": 2}"#, r#"{"a": 1, "pass word":"******", "*": *}"#),
            ("api key = 'p@$!'", "api key = '****'"),
        ];
        for (line, expected) in cases {
            let from = end_of_first_secret(line).unwrap_or(line.len());
            assert_eq!(hidden_from(line, from), expected);
        }
    }
}
