//! The rules that the derive has a second time, held against those of the crate that it writes for.
//!
//! Not in the package: that crate depends on this one, so this one cannot name it to a registry.

#[path = "../../src/name.rs"]
mod name;
#[path = "../../src/topic.rs"]
mod topic;

use busway_event::{
    AnyEvent, CodecId, Encoded, EventId, Invalid, Metadata, Parts, Timestamp, Topic, TopicError,
};
use proptest::prelude::*;

/// What a bus says about the name of an event that it receives.
fn received(name: &str) -> Result<AnyEvent, Invalid> {
    let topic = Topic::new("a").expect("a topic");
    let metadata = Metadata::draft("test", 1);
    let parts = Parts::new(EventId::foreign("test", "1"), Timestamp::from_nanos(1), topic, metadata);
    let encoded =
        Encoded { type_name: name.into(), version: 1, codec: CodecId::Raw, bytes: Vec::new().into() };
    AnyEvent::receive(parts, encoded)
}

fn assert_same_name_rule(name: &str) {
    let (ours, theirs) = (name::flaw(name), received(name));
    match &theirs {
        Ok(_) => assert_eq!(ours, None, "{name:?}"),
        Err(Invalid::TypeName { .. }) => assert!(ours.is_some(), "{name:?}: {theirs:?}"),
        Err(other) => panic!("{name:?}: {other}"),
    }
}

#[test]
fn the_derive_and_a_bus_agree_on_the_borders_of_the_rule() {
    let table =
        ["", "a", "a b", "größe", "\0", "\u{1f}", "\u{7f}", "a\u{80}", "\u{9f}", "\u{a0}", "\u{fffe}"];
    table.into_iter().for_each(assert_same_name_rule);
    for len in [254, 255, 256] {
        assert_same_name_rule(&"n".repeat(len));
    }
}

proptest! {
    #[test]
    fn the_derive_and_a_bus_agree_on_every_name(name in "(.|[\\x00-\\xa1]|.{60}){0,5}") {
        assert_same_name_rule(&name);
    }
}

fn assert_same_topic_rules(text: &str) {
    let ours = topic::flaw(text);
    let theirs = Topic::new(text).err();
    let position = theirs.as_ref().map(TopicError::position);
    assert_eq!(ours.as_ref().map(|(position, _)| *position), position, "{text:?}: {ours:?} and {theirs:?}");
}

#[test]
fn the_derive_and_topic_agree_on_the_borders_of_each_rule() {
    let table = ["", ".", "a", "a.", ".a", "a..b", "a.+", "#", "a b", "größe", "a.b-c_9", "\0"];
    table.into_iter().for_each(assert_same_topic_rules);
    for len in [254, 255, 256] {
        assert_same_topic_rules(&"x".repeat(len));
    }
    for count in [15, 16, 17, 18] {
        assert_same_topic_rules(&vec!["a"; count].join("."));
    }
}

proptest! {
    #[test]
    fn the_derive_and_topic_agree_on_every_text(text in "([A-Za-z0-9_-]{1,4}|[.]|[.a]{2}|[+#]|.){0,40}") {
        assert_same_topic_rules(&text);
    }
}
