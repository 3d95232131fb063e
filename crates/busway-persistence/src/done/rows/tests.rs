//! The bytes of rows, of both versions, and what is not one.

use proptest::prelude::*;

use super::super::done_key;
use super::*;

const fn time(nanos: i64) -> Timestamp {
    Timestamp::from_nanos(1_760_000_000_000_000_000 + nanos)
}

fn id(text: &str) -> [u8; 16] {
    let digits = text.replace('-', "");
    u128::from_str_radix(&digits, 16).unwrap().to_be_bytes()
}

/// `docs/design/format.md`.
#[test]
fn the_bytes_of_a_row_are_those_of_version_two() {
    let keys = [
        DoneKey { key: id("0192f0c1-2b3d-7000-8000-6c7d8e9fa0b1"), until: time(0) },
        DoneKey { key: id("0192f0c1-2b3d-7000-8400-6c7d8e9fa0b1"), until: time(1_000) },
        DoneKey { key: [0xab; 16], until: time(1_000_000_000) },
    ];
    let at = done_key(3, 5);
    assert_eq!(row::hex(&at), "000000030000000000000005");
    let bytes = to_row(&at, &keys);
    assert_eq!(row::hex(&bytes), GOLDEN_2);
    assert_eq!(from_row(&at, &bytes).unwrap(), keys);
    assert_eq!((keys_of(&bytes), kept_until(&at, &bytes)), (3, time(1_000_000_000)));
}

const GOLDEN_2: &str = "0274d0bedc030000000000000000ca4a10adc66c18000192f0c12b3d700080006c7d8e9fa0b1ffa7d6b9078784d00f00ababababababababababababababababb098d6b907";

/// As every version before wrote them.
#[test]
fn a_row_of_version_one_is_read_as_it_was() {
    let mut counting = [0; 16];
    (0..).zip(&mut counting).for_each(|(number, byte)| *byte = number);
    let keys =
        [DoneKey { key: counting, until: time(0) }, DoneKey { key: [0xab; 16], until: time(1_000_000_000) }];
    let (at, bytes) = (done_key(3, 5), bytes_of(GOLDEN_1));
    assert_eq!(from_row(&at, &bytes).unwrap(), keys);
    assert_eq!((keys_of(&bytes), kept_until(&at, &bytes)), (2, time(1_000_000_000)));
}

const GOLDEN_1: &str = "018051ca4d0200000000000000000102030405060708090a0b0c0d0e0f0000b0d4acc66c18abababababababababababababababab00ca4a10adc66c18";

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// What the ids and times of a thread come to, and what has nothing in common.
#[test]
fn an_id_takes_a_quarter_of_what_it_took_and_a_digest_no_more() {
    let many = |key: fn(u128) -> u128| -> Vec<DoneKey> {
        let keys =
            (0..1_000).map(|number: u32| (key(number.into()).to_be_bytes(), time(i64::from(number) * 900)));
        keys.map(|(key, until)| DoneKey { key, until }).collect()
    };
    // 16 bits of a counter around the version and the variant, in front of 58 bits that stay.
    let ids =
        many(|number| 0x0192_f0c1_2b3d_7000_8000_6c7d_8e9f_a0b1 | number >> 4 << 64 | (number & 0xf) << 58);
    let digests = many(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let bytes = |keys: &[DoneKey]| to_row(&done_key(3, 5), keys).len();
    assert!(bytes(&ids) < 1_000 * 6, "{} bytes of ids", bytes(&ids));
    assert!(bytes(&digests) < 1_000 * 20, "{} bytes of digests", bytes(&digests));
}

/// A row with right checksums that no version writes: each is told of, and none ends in a panic or in memory for keys that are not there.
#[test]
fn what_is_no_list_of_keys_is_told_of() {
    let at = done_key(3, 5);
    let row = |count: u64, keys: &[u8]| {
        row::written(&at, NEWEST, 0, |body| {
            body.extend(count.to_le_bytes());
            body.extend(0_i64.to_le_bytes());
            body.extend(keys);
        })
    };
    assert_eq!(from_row(&at, &row(1, &[0xf0, 7, 2])).unwrap().len(), 1);
    let wrong: [(u64, &[u8]); 6] = [
        (2, &[0xf0, 7, 2]),
        (0, &[0xf0, 7, 2]),
        (u64::MAX, &[0xf0, 7, 2]),
        // Sixteen bytes in common, and more than there are.
        (1, &[0x88, 2]),
        (1, &[0xff, 2]),
        // A time without an end.
        (1, &[0xf0, 7, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]),
    ];
    for (count, keys) in wrong {
        let error = from_row(&at, &row(count, keys)).unwrap_err();
        assert!(error.to_string().contains("done keys"), "{error}");
    }
    assert_eq!(keys_of(&row(u64::MAX, &[])), 7, "no more than its 21 bytes could have");
    let newer = row::written(&at, 3, 0, |_| {});
    assert!(from_row(&at, &newer).unwrap_err().to_string().contains("its version is 3"));
}

proptest! {
    /// Bytes of few values, so that neighbours have some in common anywhere, times in any order, and the ends of what a number holds.
    #[test]
    fn keys_come_back_as_they_were(
        keys in prop::collection::vec((
            prop_oneof![
                prop::array::uniform16(0_u8..2),
                any::<[u8; 16]>(),
            ],
            prop_oneof![any::<i64>(), 0_i64..3, Just(i64::MIN), Just(i64::MAX)],
        ), 0..40),
    ) {
        let done = |(key, until)| DoneKey { key, until: Timestamp::from_nanos(until) };
        let (at, keys) = (done_key(1, 2), keys.into_iter().map(done).collect::<Vec<_>>());
        let bytes = to_row(&at, &keys);
        prop_assert_eq!(from_row(&at, &bytes).unwrap(), keys.clone());
        prop_assert_eq!(keys_of(&bytes), keys.len() as u64);
        if let Some(latest) = keys.iter().map(|done| done.until).max() {
            prop_assert_eq!(kept_until(&at, &bytes), latest);
        }
    }

    /// Bytes that are no row are an error, or keys that fill it.
    #[test]
    fn any_bytes_are_keys_or_an_error(count in 0_u64..5, keys in prop::collection::vec(any::<u8>(), 0..60)) {
        let at = done_key(1, 2);
        let bytes = row::written(&at, NEWEST, 0, |body| {
            body.extend(count.to_le_bytes());
            body.extend(0_i64.to_le_bytes());
            body.extend(&keys);
        });
        if let Ok(read) = from_row(&at, &bytes) {
            prop_assert_eq!(read.len() as u64, count);
        }
    }
}
