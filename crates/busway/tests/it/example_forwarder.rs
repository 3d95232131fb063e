//! The example of bridges says what it said.

use crate::example_process::stdout;

#[test]
fn what_was_published_before_is_forwarded_and_what_comes_back_is_ingested() {
    let expected = "\
shop: synced at all/0/0
shop: synced at all/0/1
billing: A-1
billing: A-2
shop: \"A-1\" is billed
shop: \"A-2\" is billed
2 out, 2 back
";
    assert_eq!(stdout("23_forwarder", &[]), expected);
}
