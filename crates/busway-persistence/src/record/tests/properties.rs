//! Any event comes back as it was; nothing that is damaged comes back at all; no bytes make reading panic.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn traces() -> impl Strategy<Value = Option<TraceContext>> {
    let states = prop_oneof![Just(""), Just("a=1"), Just("t-1@sys=x y , b=2"), Just("a=1,,b=2")];
    let trace = (1..u128::MAX, 1..u64::MAX, 0..4_u8, states).prop_map(|(trace, parent, flags, state)| {
        TraceContext::new(trace.to_be_bytes(), parent.to_be_bytes(), flags).unwrap().with_state(state)
    });
    option::of(trace)
}

/// Free pairs: none, some, or so many that they need chunks at each page size.
fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    let few = btree_map("m[A-Za-z0-9._-]{1,20}", ".{0,40}", 0..4);
    let many = btree_map("m[A-Za-z0-9._-]{1,20}", "[ -~]{100,200}", 40..64);
    prop_oneof![8 => few, 1 => many].prop_map(|pairs| pairs.into_iter().collect())
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..200), 1 => vec(any::<u8>(), 200..6_000)]
}

fn parts_of_events() -> impl Strategy<Value = Parts> {
    let topic = "[A-Za-z0-9_-]{1,9}(\\.[A-Za-z0-9_-]{1,9}){0,3}";
    let names = (topic, "\\PC{1,20}", option::of(".{1,40}"), option::of(".{1,40}"));
    let numbers = (any::<u128>(), any::<i64>(), 0..4_usize, option::of(1..=u64::MAX));
    (names, numbers, traces(), pairs()).prop_map(|(names, numbers, trace, pairs)| {
        let (topic, producer, key, origin_id) = names;
        let (id, time, priority, ttl) = numbers;
        let (id, time) = (EventId::new(Uuid::from_u128(id)), Timestamp::from_nanos(time));
        let mut parts = Parts::new(id, time, Topic::new(topic).unwrap(), Metadata::draft(&producer, 1));
        (parts.key, parts.origin_id) = (key.map(Into::into), origin_id);
        parts.priority = Priority::from_index(priority).unwrap();
        parts.ttl = ttl.map(Duration::from_nanos);
        trace.into_iter().for_each(|trace| parts.metadata.set_trace(trace));
        pairs.iter().for_each(|(name, value)| parts.metadata.set(name, value));
        parts
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let encoded =
        ("\\PC{1,20}", 1_u16.., 0..4_u8, payloads()).prop_map(|(type_name, version, codec, bytes)| {
            let codec = CodecId::from_u8(codec).unwrap();
            Encoded { type_name: type_name.into(), version, codec, bytes: bytes.into() }
        });
    let known = any::<[bool; 3]>();
    let inline_max = prop_oneof![62..400_usize, Just(4_080), Just(16_368), Just(65_520)];
    (parts_of_events(), encoded, known, any::<i64>(), any::<bool>(), inline_max).prop_map(
        |(parts, encoded, [topic, type_name, producer], appended, given_id, inline_max)| {
            let number = |known: bool, number: u32| if known { number } else { 0 };
            Case {
                event: AnyEvent::receive(parts, encoded).unwrap(),
                ids: NameIds {
                    topic: number(topic, 1),
                    type_name: number(type_name, 2),
                    producer: number(producer, 3),
                },
                appended: Timestamp::from_nanos(appended),
                given_id,
                inline_max,
            }
        },
    )
}

fn digest(event: &AnyEvent) -> u64 {
    body_hash(&event.encoded(usize::MAX).unwrap(), event.topic(), event.key())
}

proptest! {
    #[test]
    fn any_event_comes_back_as_it_was(case in cases(), partition: u32, offset: u64) {
        let place = Place { partition, offset };
        let recorded = case.recorded(place);
        let values = Values::of(&recorded);
        let lens: Vec<_> = std::iter::once(&values.value).chain(&values.chunks).map(Vec::len).collect();
        prop_assert!(lens.iter().all(|len| *len <= case.inline_max), "{:?}", lens);
        prop_assert!(lens.iter().rev().skip(1).all(|len| *len == case.inline_max), "{:?}", lens);
        prop_assert_eq!(lens.iter().sum::<usize>(), recorded.len());
        let stored = values.decode(place, &case.names()).unwrap();
        prop_assert!(case.is(&stored), "{:?}", stored);
        prop_assert_eq!(digest(&case.event), digest(&stored.event));
        let peek = Record::check(place, &values.value).unwrap().peek();
        let (id, time) = (case.event.id(), case.event.time());
        let expected = Peek { id, appended: case.appended, time, topic: case.ids.topic, given_id: case.given_id };
        prop_assert_eq!(peek, expected);
    }

    #[test]
    fn any_flipped_bit_is_found(case in cases(), value: prop::sample::Index, at: prop::sample::Index, bit in 0..8_u8) {
        let mut values = case.values();
        let count = values.each().count();
        let damaged = values.each().nth(value.index(count)).unwrap();
        let at = at.index(damaged.len());
        damaged[at] ^= 1_u8 << bit;
        prop_assert!(values.decode(PLACE, &case.names()).is_err());
    }

    #[test]
    fn any_cut_and_any_byte_too_many_is_found(case in cases(), value: prop::sample::Index, at: prop::sample::Index) {
        let names = case.names();
        let intact = case.values();
        let value = value.index(1 + intact.chunks.len());
        let mut cut = intact.clone();
        let damaged = cut.each().nth(value).unwrap();
        damaged.truncate(at.index(damaged.len()));
        prop_assert!(cut.decode(PLACE, &names).is_err());
        let mut longer = intact.clone();
        longer.each().nth(value).unwrap().push(0);
        prop_assert!(longer.decode(PLACE, &names).is_err());
        let mut one_too_many = intact.clone();
        one_too_many.chunks.push(vec![0; 5]);
        prop_assert!(one_too_many.decode(PLACE, &names).is_err());
        let mut one_missing = intact;
        if one_missing.chunks.pop().is_some() {
            prop_assert!(one_missing.decode(PLACE, &names).is_err());
        }
    }

    /// Also bytes whose checksum is right: a store may be forged, and a writer wrong. What is still read is an event, and
    /// is written as those bytes again: there are no two forms of one event.
    #[test]
    fn no_change_makes_reading_panic_and_each_event_has_one_form(
        case in cases(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut value = Case { inline_max: 65_520, ..case.clone() }.values().value;
        for (at, byte) in changes {
            let at = at.index(value.len());
            value[at] = byte;
        }
        value.truncate(cut.map_or(value.len(), |cut| cut.index(value.len())));
        let values = Values::resealed(&value);
        if let Ok(stored) = values.decode(PLACE, &case.names()) {
            let Fixed { topic, type_name, producer, .. } = Fixed::read(&values.value[PREFIX_LEN..]).unwrap();
            let ids = NameIds { topic, type_name, producer };
            let StoredEvent { event, appended, given_id } = stored;
            let again = Case { event, ids, appended, given_id, inline_max: 65_520 };
            prop_assert_eq!(again.values(), values);
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(
        mut value in vec(any::<u8>(), 0..300),
        chunks in vec(vec(any::<u8>(), 0..20), 0..3),
        flags in 0..4_u8,
    ) {
        let names = minimal().names();
        let raw = Values { value: value.clone(), chunks: chunks.clone() };
        prop_assert!(raw.decode(PLACE, &names).is_err());
        value.iter_mut().zip([1, flags, 0, 0, 0, 0, 90, 0]).for_each(|(byte, ours)| *byte = ours);
        let forged = Values { chunks, ..Values::resealed(&value) };
        prop_assert!(forged.decode(PLACE, &names).is_err());
    }
}
