//! What the compiler says to those who write an event type wrongly.

#[test]
fn each_mistake_in_an_event_type_is_explained_where_it_was_made() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
