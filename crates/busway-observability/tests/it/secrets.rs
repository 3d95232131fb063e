//! Planted secrets: whatever they are made of and wherever they stand, no line shows them.

use busway_observability::{LogFormat, Logs, Redact, Redactor};
use proptest::prelude::*;
use serde::Serialize;

use crate::logs::logged;

#[derive(Debug, Serialize)]
struct Card {
    holder: String,
    number: String,
}

#[derive(Debug, Serialize)]
struct Order {
    note: String,
    card: Card,
    tokens: Vec<String>,
    nested: Vec<Option<Card>>,
    pin: Redact<String>,
}

/// Quotes, brackets, backslashes, escapes, what ends lines, letters of many bytes: each with a mark that nothing else has.
fn secret() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("\""),
            Just("'"),
            Just("\\"),
            Just("{"),
            Just("}"),
            Just("["),
            Just(","),
            Just(":"),
            Just("="),
            Just("\n"),
            Just(" "),
            Just("ä"),
            Just("\\\""),
            Just("\\n"),
            Just("`"),
            Just("x"),
            Just("7")
        ],
        0..8,
    )
    .prop_map(|parts| {
        format!("{MARK}{}{MARK}{}", parts.concat(), parts.iter().rev().copied().collect::<String>())
    })
}

/// One that ends where an unquoted value ends.
fn word() -> impl Strategy<Value = String> {
    "[a-z0-9./+_-]{0,12}".prop_map(|rest| format!("{MARK}{rest}"))
}

/// One of several words that is known by its looks, behind what may be the name of a field.
fn known() -> impl Strategy<Value = String> {
    let lead = prop_oneof![
        Just("password="),
        Just("card.number: "),
        Just("tokens: "),
        Just("private_key="),
        Just("secret: "),
        Just("authorization: "),
        Just("seen ")
    ];
    let key = |label: &str| format!("-----BEGIN {label}KEY-----\n{MARK}\n{MARK}\n-----END {label}KEY-----");
    let secret = prop_oneof![
        Just(key("PRIVATE ")),
        Just(key("RSA PRIVATE ")),
        Just(format!("-----BEGIN PRIVATE KEY-----\n{MARK}")),
        Just(format!("Bearer {MARK}.x")),
        Just(CARD.to_owned()),
    ];
    (lead, secret).prop_map(|(lead, secret)| format!("{lead}{secret}"))
}

/// A text that has nothing to hide and much to confuse.
fn noise() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("it's }{ \\ \" fine".to_owned()),
        "[ -~]{0,20}",
        Just("ä\n\u{2028}".to_owned())
    ]
}

fn order(note: &str, secret: &str) -> Order {
    let card = |number: &str| Card { holder: note.to_owned(), number: number.to_owned() };
    Order {
        note: note.to_owned(),
        card: card(secret),
        tokens: vec![secret.to_owned(), secret.to_owned()],
        nested: vec![None, Some(card(secret))],
        pin: secret.to_owned().into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn planted_secrets_are_in_no_line(secret in secret(), word in word(), noise in noise()) {
        let redactor = Redactor::from(["card.number", "/nested/*/number", "tokens", "password"]);
        let order = order(&noise, &secret);
        let shown = redactor.json(&order);
        let panic = std::panic::catch_unwind(|| {
            std::panic::resume_unwind(Box::new(format!("bad order: {order:?}")));
        });
        let panic = panic.unwrap_err().downcast::<String>().unwrap();
        let json = serde_json::to_string(&Order { pin: String::new().into(), ..self::order(&noise, &secret) }).unwrap();
        for format in [LogFormat::Json, LogFormat::Pretty] {
            let logs = Logs::new(format).redact(redactor.clone());
            let written = logged(logs, |_| {
                let span = tracing::info_span!(target: "busway", "process", subscription = %json, topic = %shown).entered();
                tracing::error!(error = %format!("refused: {json}"), ?order, json, password = secret, "{panic}");
                tracing::error!(error = ?format!("refused: {json}"), twice = ?format!("{json:?}"), "login password={word} failed");
                tracing::error!(card.number = ?secret, error = %*panic, "card.number: {word}, and so on");
                drop(span);
            });
            let text = written.text();
            prop_assert!(!text.contains(MARK), "{text}");
            prop_assert_eq!(text.lines().count(), 3);
        }
        prop_assert!(!redactor.text(&shown).contains(MARK), "{}", shown);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok(), "{}", shown);
    }

    #[test]
    fn secrets_that_are_known_by_their_looks_are_in_no_line(known in known(), noise in noise()) {
        let redactor = Redactor::usual().field("card.number").field("tokens");
        let text = format!("{noise} {known}");
        let order = order(&text, "");
        let shown = [text.clone(), format!("{text:?}"), format!("{order:?}"), serde_json::to_string(&order).unwrap()];
        for text in shown {
            let shown = redactor.text(&text);
            prop_assert!(!shown.contains(MARK) && !shown.contains(CARD_END), "{shown}");
        }
    }

    #[test]
    fn no_text_confuses_who_looks_for_secrets(text in any::<String>(), noise in "[\\\\\"'`{}\\[\\](),;:=a \n]{0,64}") {
        let redactor = Redactor::usual().field("a.a").value("value of it");
        for text in [text, noise] {
            let once = redactor.text(&text).into_owned();
            prop_assert!(once.len() <= text.len() * 8 + 16);
        }
    }
}

#[test]
fn hostile_texts_of_any_length_come_to_an_end() {
    let redactor = Redactor::usual();
    for text in [
        "\\",
        "\"",
        "\\\"",
        "[",
        "{\"a\":",
        "'a",
        "a:",
        "token:[",
        "eyJ",
        "://a:b@",
        "-----BEGIN ",
        "4 ",
        "4",
        "4111-",
        "4111 1111 1111 1111 ",
        "bearer x",
        "invalid type: ",
    ] {
        let shown = redactor.text(&text.repeat(200_000 / text.len())).len();
        assert!(shown <= 1_000_000, "{text}");
    }
}

/// Nothing else has it.
const MARK: &str = "s3cr3t";
/// Its check digit is right.
const CARD: &str = "4111 1111 1111 1111";
const CARD_END: &str = "1111 1111";
