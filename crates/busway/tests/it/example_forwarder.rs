//! The example of bridges says what it said.

use crate::example_process::stdout;

#[test]
fn what_was_published_before_is_forwarded_and_what_comes_back_is_ingested() {
    let said = stdout("23_forwarder", &[]);
    // The two buses run beside each other: which of them says its line first is open, the order of each is not.
    let of = |bus: &str| said.lines().filter(|line| line.starts_with(bus)).collect::<Vec<_>>();
    let shop = [
        "shop: synced at all/0/0",
        "shop: synced at all/0/1",
        "shop: \"A-1\" is billed",
        "shop: \"A-2\" is billed",
    ];
    assert_eq!(of("shop"), shop);
    assert_eq!(of("billing"), ["billing: A-1", "billing: A-2"]);
    assert_eq!(of("2 out"), ["2 out, 2 back"]);
    assert_eq!(said.lines().count(), 7, "{said}");
}
