//! What is found, and what is not.

use super::*;

fn shown(paths: &[&str], text: &str) -> String {
    let paths: Vec<Path> = paths.iter().filter_map(|path| Path::of(path)).collect();
    hide(text, &paths).unwrap_or_else(|| text.to_owned())
}

#[test]
fn fields_of_json_are_hidden_by_path_and_json_stays_json() {
    let json = r#"{"card":{"number":"4\"11","cvc":123,"note":"}:("},"number":7,"tokens":["a","b"],"n":null}"#;
    let hidden = shown(&["card.number", "cvc", "tokens", "n"], json);
    assert_eq!(
        hidden,
        r#"{"card":{"number":"***","cvc":"***","note":"}:("},"number":7,"tokens":"***","n":"***"}"#
    );
    assert!(serde_json::from_str::<serde_json::Value>(&hidden).is_ok());
    assert_eq!(
        shown(&["card.number"], r#"{"card":{"a":"}","number":1}}"#),
        r#"{"card":{"a":"}","number":"***"}}"#
    );
    assert_eq!(
        shown(&["/cards/1/number"], r#"{"cards":[{"number":1},{"number":2}]}"#),
        r#"{"cards":[{"number":1},{"number":"***"}]}"#
    );
}

#[test]
fn fields_of_debug_output_are_hidden_by_path() {
    let text = r#"Order { id: "A-1", card: Some(Card { number: "41 11", owner: Name("ann") }), token: Token { inner: [1, 2] } }"#;
    let hidden = r#"Order { id: "A-1", card: Some(Card { number: "***", owner: *** }), token: *** }"#;
    assert_eq!(shown(&["card.number", "owner", "token"], text), hidden);
    assert_eq!(
        shown(&["token"], r#"{"token": "a", "b": [("token", "c"), ("d", "e")]}"#),
        r#"{"token": "***", "b": [("token", "***"), ("d", "e")]}"#
    );
}

#[test]
fn fields_of_plain_texts_are_hidden_up_to_where_they_end() {
    assert_eq!(shown(&["token"], "token=abc, user=ann"), "token=***, user=ann");
    assert_eq!(shown(&["token"], "GET /x?token=abc&user=ann"), "GET /x?token=***&user=ann");
    assert_eq!(shown(&["token"], "token=Token { a: 1 } rest"), "token=*** rest");
    assert_eq!(shown(&["authorization"], "authorization=Basic YTpi ok"), "authorization=*** ok");
    assert_eq!(shown(&["cookie"], "Cookie: a=1; b=2\nHost: c"), "Cookie: ***\nHost: c");
    assert_eq!(shown(&["card.number"], "card.number => 4711 number=5"), "card.number => *** number=5");
    assert_eq!(shown(&["token"], "token::parse failed at tokens=3"), "token::parse failed at tokens=3");
    assert_eq!(
        shown(&["token"], r#"a\nb "x\ntoken=1 \u000atoken=2""#),
        r#"a\nb "x\ntoken=*** \u000atoken=***""#
    );
    assert_eq!(shown(&["token"], "token: can't be, a"), "token: ***, a");
    assert_eq!(shown(&["token"], r#"it's "token='a b'" and so"#), r#"it's "token='***'" and so"#);
}

#[test]
fn a_text_within_a_text_hides_the_same() {
    let inner = serde_json::json!({ "card": { "number": "4\"1\\1" }, "rest": 1 }).to_string();
    for depth in 0..4 {
        let quoted = (0..depth).fold(inner.clone(), |text, _| serde_json::to_string(&text).unwrap());
        let hidden = shown(&["card.number"], &quoted);
        let unquoted = (0..depth).fold(hidden, |text, _| serde_json::from_str(&text).unwrap());
        assert_eq!(unquoted, r#"{"card":{"number":"***"},"rest":1}"#, "{quoted}");
    }
    let debug = format!("bad payload {inner:?}, gave up");
    assert_eq!(
        shown(&["number"], &debug),
        r#"bad payload "{\"card\":{\"number\":\"***\"},\"rest\":1}", gave up"#
    );
}

#[test]
fn a_value_without_an_end_is_hidden_to_the_end() {
    assert_eq!(shown(&["token"], r#"{"token":"abc, user"#), r#"{"token":"***""#);
    assert_eq!(shown(&["token"], r#"{"token":[1,{"a":2"#), r#"{"token":"***""#);
    assert_eq!(shown(&["token"], "token="), "token=***");
    assert_eq!(shown(&["token"], "token"), "token");
}
