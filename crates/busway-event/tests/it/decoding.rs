//! No bytes make decoding panic, hang or end the stack, whatever codec they are said to be of.

use std::collections::{BTreeMap, HashMap};

use busway_event::cloudevents::{Import, from_binary};
use busway_event::{AnyEvent, CodecId, DecodeError, Encoded, EventType, Raw};
use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// A bit of everything, and itself again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Comment {
    text: String,
    votes: Option<i64>,
    tags: BTreeMap<String, Vec<u8>>,
    kind: Kind,
    replies: Vec<Comment>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Plain,
    Quote(Box<Comment>),
    Scored { by: HashMap<u32, f32>, at: (u16, char) },
    Nothing(Vec<()>),
}

impl EventType for Comment {
    const NAME: &'static str = "comment";
}

/// An event as a stranger sends it: bytes, and what they are said to be.
fn received(codec: CodecId, bytes: impl Into<Bytes>) -> AnyEvent {
    let attributes = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/elsewhere"),
        ("type", "comment"),
        ("subject", "comments"),
        ("time", "2026-01-31T10:00:00Z"),
        ("datacontenttype", codec.content_type()),
    ];
    from_binary(attributes, bytes.into(), &Import::new()).unwrap()
}

fn read(codec: CodecId, bytes: impl Into<Bytes>) -> Result<Comment, DecodeError> {
    let event = received(codec, bytes).typed::<Comment>()?;
    Ok(event.into_draft().unwrap().into_payload())
}

#[test]
fn endless_nesting_is_refused_by_each_codec() {
    // No text, no votes, no tags, a plain kind, one reply, and again.
    let replies: Vec<u8> = [0, 0, 0, 0, 1].into_iter().cycle().take(1 << 20).collect();
    let quotes: Vec<u8> = [0, 0, 0, 1].into_iter().cycle().take(1 << 20).collect();
    for bytes in [replies, quotes] {
        let error = read(CodecId::Bincode, bytes).unwrap_err().to_string();
        assert!(error.contains("levels of nesting"), "{error}");
    }
    let level = r#"{"text":"","votes":null,"tags":{},"kind":"Plain","replies":["#;
    let json = level.repeat((1 << 20) / level.len());
    let error = read(CodecId::Json, json).unwrap_err().to_string();
    assert!(error.contains("recursion limit"), "{error}");
}

#[test]
fn a_length_that_lies_costs_no_time() {
    // A quote of nothing, announced 2^60 times.
    let mut bytes = vec![0, 0, 0, 3, 253];
    bytes.extend_from_slice(&(1_u64 << 60).to_le_bytes());
    let error = read(CodecId::Bincode, bytes).unwrap_err().to_string();
    assert!(error.contains("take up no byte"), "{error}");
}

/// Bytes that get far: small numbers are lengths and variants, and pieces of JSON are that.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "1",
        "-",
        "e9",
        "\"text\":\"x\"",
        "\"votes\":7",
        "\"tags\":{}",
        "\"kind\":\"Plain\"",
        "\"kind\":{\"Quote\":{",
        "\"replies\":[]",
        "\\u",
        "\u{e4}",
        " ",
    ]);
    let json = prop::collection::vec(pieces, 0..30).prop_map(|pieces| pieces.concat().into_bytes());
    let any = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![json, any, prop::collection::vec(0_u8..6, 0..200)]
}

fn comments() -> impl Strategy<Value = Comment> {
    let leaf = (any::<String>(), any::<Option<i64>>(), any::<BTreeMap<String, Vec<u8>>>()).prop_map(
        |(text, votes, tags)| Comment { text, votes, tags, kind: Kind::Plain, replies: Vec::new() },
    );
    leaf.prop_recursive(4, 16, 3, |inner| {
        let kind = prop_oneof![
            Just(()).prop_map(|()| Kind::Plain),
            inner.clone().prop_map(|comment| Kind::Quote(Box::new(comment))),
            (any::<HashMap<u32, i16>>(), any::<(u16, char)>()).prop_map(|(by, at)| Kind::Scored {
                by: by.into_iter().map(|(key, value)| (key, value.into())).collect(),
                at,
            }),
            (0_usize..9).prop_map(|count| Kind::Nothing(vec![(); count])),
        ];
        (any::<String>(), kind, prop::collection::vec(inner, 0..3)).prop_map(|(text, kind, replies)| {
            Comment { text, votes: None, tags: BTreeMap::new(), kind, replies }
        })
    })
}

fn codecs() -> impl Strategy<Value = CodecId> {
    prop::sample::select(vec![CodecId::Json, CodecId::Bincode, CodecId::Protobuf, CodecId::Raw])
}

/// The bytes of a comment in a codec that it can be written in.
fn written(comment: &Comment, codec: CodecId) -> Vec<u8> {
    match codec {
        CodecId::Bincode => bincode::serde::encode_to_vec(comment, bincode::config::standard()).unwrap(),
        _ => serde_json::to_vec(comment).unwrap(),
    }
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(codec in codecs(), bytes in bytes()) {
        let event = received(codec, bytes.clone());
        let raw = event.typed::<Raw>().unwrap();
        prop_assert_eq!(&raw.payload().0[..], &bytes[..]);
        match read(codec, bytes) {
            Ok(comment) => prop_assert!(Encoded::of(&comment, usize::MAX).is_ok()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn a_payload_comes_back_and_a_damaged_one_makes_nothing_panic(
        comment in comments(),
        codec in prop::sample::select(vec![CodecId::Json, CodecId::Bincode]),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut bytes = written(&comment, codec);
        prop_assert_eq!(read(codec, bytes.clone()), Ok(comment));
        let place = at.index(bytes.len());
        prop_assert!(read(codec, bytes[..place].to_vec()).is_err());
        bytes[place] = byte;
        if let Err(error) = read(codec, bytes) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

#[cfg(feature = "prost")]
mod protobuf {
    use busway_event::{DecodeError, Proto};
    use proptest::prelude::*;

    use super::{CodecId, received};

    #[derive(Clone, PartialEq, prost::Message)]
    struct Node {
        #[prost(string, optional, tag = "1")]
        text: Option<String>,
        #[prost(message, repeated, tag = "2")]
        nodes: Vec<Node>,
        #[prost(btree_map = "string, message", tag = "3")]
        named: std::collections::BTreeMap<String, Node>,
        #[prost(sint64, repeated, tag = "4")]
        numbers: Vec<i64>,
    }

    impl prost::Name for Node {
        const NAME: &'static str = "comment";
        const PACKAGE: &'static str = "";
    }

    #[test]
    fn endless_nesting_is_refused() {
        // From the inside: field 2, its length, and what is there already.
        let bytes = (0..100_000).try_fold(Vec::new(), |inner: Vec<u8>, _| {
            let mut outer = Vec::with_capacity(inner.len() + 6);
            prost::encoding::encode_key(2, prost::encoding::WireType::LengthDelimited, &mut outer);
            prost::encoding::encode_varint(inner.len() as u64, &mut outer);
            outer.extend_from_slice(&inner);
            if outer.len() < 4_000 { Ok(outer) } else { Err(outer) }
        });
        let error = received(CodecId::Protobuf, bytes.unwrap_err()).typed::<Proto<Node>>().unwrap_err();
        assert!(
            matches!(&error, DecodeError::Malformed { reason, .. } if reason.contains("recursion")),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_a_message_panic(bytes in prop::collection::vec(prop_oneof![0_u8..36, any::<u8>()], 0..200)) {
            if let Err(error) = received(CodecId::Protobuf, bytes).typed::<Proto<Node>>() {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
