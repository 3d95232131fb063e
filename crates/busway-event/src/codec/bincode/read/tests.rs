//! What comes back, and what hostile bytes can do.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{LEVELS_MAX, WITHOUT_BYTES_MAX};
use crate::codec::{Bincode, Bounded, Codec, DecodeError};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Comment {
    text: String,
    replies: Vec<Comment>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Newtype(Box<Tree>),
    Pair(Box<Tree>, u8),
    Named { next: Option<Box<Tree>> },
    Mapped(BTreeMap<u8, Tree>),
}

/// All that serde knows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    truth: bool,
    small: (i8, i16, u8, u16),
    middle: (i32, u32, f32, char),
    large: (i64, u64, f64),
    huge: (i128, u128),
    text: String,
    nothing: ((), Unit),
    wrapped: Wrapped,
    maybe: Option<Box<u16>>,
    list: Vec<Option<String>>,
    map: BTreeMap<String, Vec<u8>>,
    variants: Vec<Variant>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(i64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Variant {
    Unit,
    Newtype(u32),
    Tuple(u8, String),
    Struct { at: u64 },
}

fn encoded<T: Serialize + for<'de> Deserialize<'de>>(value: &T) -> Vec<u8> {
    let mut out = Bounded::new(usize::MAX);
    Bincode::encode(value, &mut out).unwrap();
    out.into_bytes()
}

fn decoded<T: Serialize + for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, DecodeError> {
    <Bincode as Codec<T>>::decode(bytes)
}

fn refusal<T: Serialize + for<'de> Deserialize<'de> + std::fmt::Debug>(bytes: &[u8]) -> String {
    decoded::<T>(bytes).unwrap_err().to_string()
}

#[test]
fn a_payload_of_endless_nesting_is_refused_and_no_stack_ends() {
    // No text, one reply; no text, one reply; …
    let bytes: Vec<u8> = [0, 1].into_iter().cycle().take(1 << 20).collect();
    let message = refusal::<Comment>(&bytes);
    assert!(message.contains("more than 128 levels of nesting at byte"), "{message}");
    for (variant, after) in [(1, &[][..]), (2, &[]), (3, &[1]), (4, &[1, 0])] {
        let level = [&[variant], after].concat();
        let bytes: Vec<u8> = level.into_iter().cycle().take(1 << 20).collect();
        let message = refusal::<Tree>(&bytes);
        assert!(message.contains("more than 128 levels"), "variant {variant}: {message}");
    }
}

#[test]
fn a_value_of_as_many_levels_as_are_allowed_comes_back_and_one_more_is_refused() {
    let nested = |levels: u8| (0..levels).fold(Tree::Leaf, |inner, _| Tree::Newtype(Box::new(inner)));
    let deepest = nested(LEVELS_MAX);
    assert_eq!(decoded(&encoded(&deepest)), Ok(deepest));
    assert!(refusal::<Tree>(&encoded(&nested(LEVELS_MAX + 1))).contains("128 levels"));
}

#[test]
fn an_announced_length_costs_neither_time_nor_memory() {
    // 253 announces a u64.
    let length = |len: u64| [&[253][..], &len.to_le_bytes()].concat();
    for len in [1 << 20, 1 << 60, u64::MAX] {
        assert!(refusal::<Vec<()>>(&length(len)).contains("65536 elements that take up no byte"), "{len}");
        assert!(refusal::<std::collections::BTreeSet<()>>(&length(len)).contains("take up no byte"), "{len}");
        assert!(refusal::<Vec<[(); 8]>>(&length(len)).contains("take up no byte"), "{len}");
        for message in [
            refusal::<Vec<u8>>(&length(len)),
            refusal::<String>(&length(len)),
            refusal::<Vec<[u64; 32]>>(&length(len)),
            refusal::<crate::raw::Raw>(&length(len)),
            refusal::<BTreeMap<u8, String>>(&length(len)),
        ] {
            assert!(message.contains("UnexpectedEnd") && message.contains("at byte 9"), "{len}: {message}");
        }
    }
    // Lists of lists share one allowance.
    let lists = [length(1 << 10), length(1 << 12).repeat(1 << 10)].concat();
    assert!(refusal::<Vec<Vec<()>>>(&lists).contains("take up no byte"));
}

#[test]
fn elements_that_take_up_no_byte_come_back_up_to_their_limit() {
    let all = vec![(); WITHOUT_BYTES_MAX];
    assert_eq!(decoded(&encoded(&all)), Ok(all));
    // A field without bytes is bounded by the element that it is part of.
    let fields = vec![(1_u8, ()); 2 * WITHOUT_BYTES_MAX];
    assert_eq!(decoded(&encoded(&fields)), Ok(fields));
}

#[test]
fn what_takes_little_room_as_bytes_may_take_much_in_memory() {
    let small = vec![7_u64; 3_000_000];
    let bytes = encoded(&small);
    assert_eq!(bytes.len(), 3_000_005);
    assert_eq!(decoded(&bytes), Ok(small));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (bytes, expected) in [
        (&[1, 2][..], "an option starts with 0 or 1, not with 2, at byte 2"),
        (&[2, 0], "UnexpectedEnd { additional: 1 } at byte 2"),
    ] {
        let message = refusal::<Vec<Option<u8>>>(bytes);
        assert!(message.contains(expected), "{message} should say {expected}");
    }
    assert!(refusal::<Variant>(&[4]).contains("at byte 1"));
    assert!(refusal::<String>(&[1, 0xff]).contains("at byte 2"));
    let message = refusal::<serde_json::Value>(&[1]);
    assert!(message.contains("bincode does not describe itself"), "{message}");
}

prop_compose! {
    fn everything()(
        truth: bool,
        small: (i8, i16, u8, u16),
        middle in (any::<i32>(), any::<u32>(), any::<i16>().prop_map(f32::from), any::<char>()),
        large in (any::<i64>(), any::<u64>(), any::<i32>().prop_map(f64::from)),
        huge: (i128, u128),
        text: String,
        wrapped in any::<i64>().prop_map(Wrapped),
        maybe: Option<Box<u16>>,
        list: Vec<Option<String>>,
        map: BTreeMap<String, Vec<u8>>,
        numbers: Vec<(u8, u32)>,
    ) -> Everything {
        let variants = numbers.into_iter().map(|(which, number)| match which % 4 {
            0 => Variant::Unit,
            1 => Variant::Newtype(number),
            2 => Variant::Tuple(which, number.to_string()),
            _ => Variant::Struct { at: number.into() },
        });
        let variants = variants.collect();
        Everything { truth, small, middle, large, huge, text, nothing: ((), Unit), wrapped, maybe, list, map, variants }
    }
}

proptest! {
    #[test]
    fn every_shape_comes_back_and_no_cut_of_it_passes(value in everything(), cut: prop::sample::Index) {
        let bytes = encoded(&value);
        prop_assert!(decoded::<Everything>(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert_eq!(decoded(&bytes), Ok(value));
    }

    #[test]
    fn what_bincode_itself_reads_is_read_alike(bytes in prop::collection::vec(0_u8..6, 0..60)) {
        let config = ::bincode::config::standard().with_limit::<10_000>();
        if let Ok((theirs, len)) = ::bincode::serde::decode_from_slice::<Comment, _>(&bytes, config) {
            prop_assert_eq!(decoded::<Comment>(&bytes[..len]), Ok(theirs));
        }
        if let Ok((theirs, len)) = ::bincode::serde::decode_from_slice::<Tree, _>(&bytes, config) {
            prop_assert_eq!(decoded::<Tree>(&bytes[..len]), Ok(theirs));
        }
    }
}
