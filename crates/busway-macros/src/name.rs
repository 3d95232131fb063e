//! The name of an event type: its default and its rules.

/// `OrderCreated` as `order-created`: what a type without a `name` is called.
///
/// A capital starts a word unless it follows one inside an abbreviation: `HTTPRequest` is `http-request`. Digits stay with
/// the word before them, underscores part words.
pub(crate) fn kebab_case(ident: &str) -> String {
    let characters: Vec<char> = ident.chars().collect();
    let mut name = String::with_capacity(ident.len() + 4);
    for (index, &character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(index + 1);
        let ends_abbreviation = after.is_some_and(|after| after.is_lowercase());
        let starts_word = character.is_uppercase()
            && before.is_some_and(|before| !before.is_uppercase() || ends_abbreviation);
        let parted = character == '_' || starts_word;
        if parted && !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if character != '_' {
            name.extend(character.to_lowercase());
        }
    }
    name.trim_end_matches('-').to_owned()
}

/// What is wrong with `name`, if anything. The same rule holds for events that are received: `Invalid::TypeName` of
/// `busway-event`, which this crate cannot depend on. `tests/it` holds the two against each other.
pub(crate) fn flaw(name: &str) -> Option<String> {
    match name.len() {
        0 => return Some("the name is empty: leave it out, or name the event".to_owned()),
        len if len > NAME_BYTES_MAX => {
            return Some(format!("the name has {len} bytes, more than {NAME_BYTES_MAX}"));
        }
        _ => {}
    }
    let position = name.chars().position(char::is_control)?;
    Some(format!("the name holds a control character at position {position}"))
}

const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_kebab_case_of_the_type() {
        let table = [
            ("OrderCreated", "order-created"),
            ("Order", "order"),
            ("OrderV2", "order-v2"),
            ("HTTPRequest", "http-request"),
            ("RequestHTTP", "request-http"),
            ("Http2Upgrade", "http2-upgrade"),
            ("Snake_Case_", "snake-case"),
            ("ÄrgerNis", "ärger-nis"),
            ("ABC", "abc"),
        ];
        for (ident, name) in table {
            assert_eq!(kebab_case(ident), name);
        }
    }

    #[test]
    fn each_rule_of_a_name_is_named() {
        assert_eq!(flaw("com.example/order created"), None);
        assert!(flaw("").is_some_and(|flaw| flaw.contains("empty")));
        assert!(flaw(&"n".repeat(256)).is_some_and(|flaw| flaw.contains("256 bytes")));
        assert!(flaw("a\nb").is_some_and(|flaw| flaw.contains("position 1")));
    }
}
