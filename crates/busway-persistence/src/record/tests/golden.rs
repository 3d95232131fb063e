//! What version 1 of the format is, as files that never change.
//!
//! `BUSWAY_WRITE_GOLDEN=1 cargo test -p busway-persistence golden` writes files that are not there yet. One that is there
//! belongs to stores of users: if it differs, the code is wrong.

use std::path::Path;

use super::*;

macro_rules! golden {
    ($($name:literal),+) => {
        [$(include_bytes!(concat!("../../../tests/golden/record-v1-", $name, ".bin")).as_slice()),+]
    };
}

/// An event with the names of its files, the record's own first, and what is in them.
type Golden = (Case, Vec<&'static str>, Vec<&'static [u8]>);

fn all() -> [Golden; 4] {
    [
        (minimal(), vec!["minimal"], golden!("minimal").to_vec()),
        (full(), vec!["full"], golden!("full").to_vec()),
        (
            chunked(),
            vec!["chunked", "chunked.0", "chunked.1"],
            golden!("chunked", "chunked.0", "chunked.1").to_vec(),
        ),
        (
            chunked_head(),
            vec!["chunked-head", "chunked-head.0", "chunked-head.1"],
            golden!("chunked-head", "chunked-head.0", "chunked-head.1").to_vec(),
        ),
    ]
}

fn stored(files: &[&[u8]]) -> Values {
    let (value, chunks) = files.split_first().unwrap();
    Values { value: value.to_vec(), chunks: chunks.iter().map(|chunk| chunk.to_vec()).collect() }
}

#[test]
fn golden_files_are_what_is_written_today() {
    let write = std::env::var_os("BUSWAY_WRITE_GOLDEN").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (case, names, files) in all() {
        let mut values = case.values();
        assert_eq!(values.each().count(), names.len(), "{names:?}");
        for ((value, name), file) in values.each().zip(&names).zip(&files) {
            match write && file.is_empty() {
                true => std::fs::write(folder.join(format!("record-v1-{name}.bin")), value).unwrap(),
                false => assert_eq!(value, file, "{name}"),
            }
        }
    }
}

#[test]
fn golden_files_are_read_back_as_the_events_that_they_were() {
    for (case, names, files) in all() {
        let stored = stored(&files).decode(PLACE, &case.names()).unwrap();
        assert!(case.is(&stored), "{names:?}");
    }
}

#[test]
fn the_minimal_golden_file_holds_what_it_always_held() {
    let [file] = golden!("minimal");
    let peek = Record::check(PLACE, file).unwrap().peek();
    let StoredEvent { event, appended, given_id } =
        stored(&[file]).decode(PLACE, &minimal().names()).unwrap();
    assert_eq!(event.id().to_string(), "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1");
    assert_eq!(event.time().as_nanos(), 1_760_000_000_000_000_000);
    assert_eq!((appended.as_nanos(), given_id), (1_760_000_000_001_500_000, false));
    assert_eq!((event.topic().as_str(), event.type_name()), ("orders.created", "order"));
    assert_eq!((event.key(), event.ttl(), event.origin_id()), (None, None, None));
    assert_eq!(event.priority(), Priority::P2);
    let metadata = event.metadata();
    assert_eq!((metadata.producer(), metadata.version(), metadata.trace()), ("shop", 1, None));
    assert_eq!(metadata.iter().count(), 0);
    let encoded = event.encoded(64).unwrap();
    assert_eq!((encoded.version, encoded.codec, &*encoded.bytes), (1, CodecId::Json, &b"{\"id\":7}"[..]));
    let expected = Peek { id: event.id(), appended, time: event.time(), topic: 1, given_id: false };
    assert_eq!(peek, expected);
}

#[test]
fn the_full_golden_file_holds_what_it_always_held() {
    let [file] = golden!("full");
    let peek = Record::check(PLACE, file).unwrap().peek();
    let StoredEvent { event, appended, given_id } = stored(&[file]).decode(PLACE, &[]).unwrap();
    assert_eq!(event.id().to_string(), "0192f0c1-2b3d-7e4f-8a5b-6c7d8e9fa0b1");
    assert_eq!(event.time().as_nanos(), 1_760_000_000_000_000_000);
    assert_eq!((appended.as_nanos(), given_id), (1_760_000_000_001_500_000, true));
    assert_eq!((event.topic().as_str(), event.type_name()), ("orders.created.us-east", "order"));
    assert_eq!((event.key().unwrap().as_str(), event.origin_id()), ("Käufer 7", Some("A-1/7")));
    assert_eq!((event.ttl(), event.priority()), (Some(Duration::from_nanos(1_000_000_002)), Priority::P0));
    let metadata = event.metadata();
    assert_eq!((metadata.producer(), metadata.version()), ("shop", 9));
    assert_eq!(metadata.iter().collect::<Vec<_>>(), [("biz-id", "B-9"), ("note", "zwei\nZeilen")]);
    let trace = metadata.trace().unwrap();
    assert_eq!(trace.to_string(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-03");
    assert_eq!(trace.state(), Some("a=1,b=2"));
    let encoded = event.encoded(64).unwrap();
    assert_eq!((encoded.version, encoded.codec, &*encoded.bytes), (9, CodecId::Bincode, &b"\0\x01\xff"[..]));
    assert_eq!((peek.topic, peek.given_id, peek.id, peek.time), (0, true, event.id(), event.time()));
}

#[test]
fn the_chunked_golden_files_hold_what_they_always_held() {
    let files = golden!("chunked", "chunked.0", "chunked.1");
    assert_eq!(Record::check(PLACE, files[0]).unwrap().chunks(), 2);
    let event = stored(&files).decode(PLACE, &chunked().names()).unwrap().event;
    let encoded = event.encoded(600).unwrap();
    assert_eq!((encoded.bytes.len(), encoded.codec), (600, CodecId::Raw));
    assert!(encoded.bytes.iter().zip(0_u32..).all(|(byte, at)| u32::from(*byte) == at % 251));

    let files = golden!("chunked-head", "chunked-head.0", "chunked-head.1");
    let event = stored(&files).decode(PLACE, &chunked_head().names()).unwrap().event;
    assert_eq!(event.metadata().get("long"), Some("x".repeat(400).as_str()));
    assert_eq!(&*event.encoded(8).unwrap().bytes, b"{\"id\":7}");
}
