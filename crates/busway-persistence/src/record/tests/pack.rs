//! Packs: what was stored once, how records are put into values, and what is damaged.

use std::path::Path;

use super::*;

/// The last record of the golden pack; the first lies at [`PLACE`].
const LAST: Place = Place { offset: 18, ..PLACE };

/// Values with their places, as they are written of records from [`PLACE`] on.
fn written(cases: &[Case], shared_max: usize, value_max: usize) -> Vec<(Place, Vec<u8>)> {
    let (mut packing, mut values) = (Packing::default(), Vec::new());
    let mut take = |packing: &mut Packing| {
        let put = |place: Place, value: &[u8]| {
            values.push((place, value.to_vec()));
            Ok::<_, std::convert::Infallible>(())
        };
        packing.take((shared_max, value_max), put).unwrap();
    };
    for (case, offset) in cases.iter().zip(PLACE.offset..) {
        let place = Place { offset, ..PLACE };
        let recorded = case.recorded(place);
        if !packing.takes(place, recorded.value().len(), value_max) {
            take(&mut packing);
        }
        packing.add(place, |records| recorded.seal_into(place, records));
    }
    take(&mut packing);
    values
}

fn golden() -> &'static [u8] {
    include_bytes!("../../../tests/golden/pack-v1.bin")
}

#[test]
fn the_golden_pack_is_what_is_written_today() {
    let values = written(&[minimal(), full()], 2_022, 4_080);
    let [(place, value)] = values.as_slice() else { panic!("{} values", values.len()) };
    assert_eq!(*place, LAST);
    if std::env::var_os("BUSWAY_WRITE_GOLDEN").is_some() && golden().is_empty() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pack-v1.bin");
        std::fs::write(file, value).unwrap();
        return;
    }
    assert_eq!(value, golden());
}

#[test]
fn the_golden_pack_holds_records_as_they_are_by_themselves() {
    let held = Held::read(LAST, golden()).unwrap();
    assert_eq!(held.first(), 17);
    assert_eq!(held.record(17).unwrap(), include_bytes!("../../../tests/golden/record-v1-minimal.bin"));
    let full_one = Values { value: held.record(18).unwrap().to_vec(), chunks: Vec::new() };
    assert!(full().is(&full_one.decode(LAST, &full().names()).unwrap()));
    assert!(held.record(16).is_none() && held.record(19).is_none());
}

#[test]
fn every_flipped_bit_of_a_pack_costs_its_own_record_or_is_found_in_the_head() {
    let intact = golden();
    for bit in 0..intact.len() * 8 {
        let mut value = intact.to_vec();
        value[bit / 8] ^= 1 << (bit % 8);
        let held = Held::read(LAST, &value);
        if bit / 8 < HEAD_LEN_OF_TWO {
            // Without its mark it is taken for a single record, which it is not.
            let is_found =
                held.is_err_and(|reason| !reason.is_empty()) || Record::check(LAST, &value).is_err();
            assert!(is_found, "bit {bit}");
            continue;
        }
        let held = held.unwrap();
        let sound: Vec<u64> = (17..=18)
            .filter(|&offset| Record::check(Place { offset, ..PLACE }, held.record(offset).unwrap()).is_ok())
            .collect();
        let hit = if bit / 8 < HEAD_LEN_OF_TWO + minimal().values().value.len() { 17 } else { 18 };
        assert_eq!(sound, [35 - hit], "bit {bit}");
    }
    for cut in 0..HEAD_LEN_OF_TWO {
        let held = Held::read(LAST, &intact[..cut]);
        assert!(held.is_err() || Record::check(LAST, &intact[..cut]).is_err(), "cut at {cut}");
    }
    // A cut behind the head costs the records behind it.
    let held = Held::read(LAST, &intact[..intact.len() - 1]).unwrap();
    assert!(held.record(17).is_some() && held.record(18).is_none());
}

#[test]
fn a_pack_in_another_place_is_found() {
    for elsewhere in [Place { offset: 19, ..PLACE }, Place { partition: 4, ..LAST }] {
        let reason = Held::read(elsewhere, golden()).unwrap_err();
        assert!(reason.contains("its head and place make"), "{reason}");
    }
}

#[test]
fn records_fill_pages_and_what_is_left_over_shares_one() {
    let len = minimal().values().value.len();
    let cases = vec![minimal(); 100];
    // 8 + 2 bytes each are what a pack adds; 46 of these records fill a page of 4 KiB.
    assert_eq!((len, 8 + 46 * (2 + len) < 4_080, 8 + 47 * (2 + len) > 4_080), (86, true, true));
    let counts = |cases: &[Case]| -> Vec<u64> {
        let mut next = PLACE.offset;
        let values = written(cases, 2_022, 4_080).into_iter();
        values
            .map(|(place, value)| {
                let held = Held::read(place, &value).unwrap();
                assert_eq!(held.first(), next, "without a gap");
                let all = next..=place.offset;
                assert!(all.clone().all(|offset| {
                    let place = Place { offset, ..PLACE };
                    Record::check(place, held.record(offset).unwrap()).is_ok()
                }));
                next = place.offset + 1;
                all.count() as u64
            })
            .collect()
    };
    assert_eq!(counts(&cases[..1]), [1], "a record alone is a value of its own");
    assert_eq!(counts(&cases[..22]), [22], "half a page");
    assert_eq!(counts(&cases[..30]), [22, 8], "between half a page and three quarters: two that share one");
    assert_eq!(counts(&cases[..40]), [40]);
    assert_eq!(counts(&cases), [46, 46, 8]);
    assert_eq!(counts(&[]), [0_u64; 0]);
}

/// Its 8 bytes, and where each of two records ends.
const HEAD_LEN_OF_TWO: usize = 12;
