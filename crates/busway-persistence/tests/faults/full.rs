//! A disk that is full for a while: no file grows, what is there can be written over.

use std::fs;
use std::path::Path;

use crate::trial::Shim;
use crate::work::{BATCH, join, open, publish, say, settle};

/// The child's half: publishes until the disk is full and after it has room again, in one opening.
pub(crate) fn work(dir: &Path, switch: &Path) {
    let store = open(dir).unwrap();
    let subscription = join(&store).unwrap().number;
    let mut number = 1;
    let mut publish_some = |batches: u64| {
        for _ in 0..batches {
            publish(&store, number);
            number += BATCH;
        }
    };
    publish_some(6);
    settle(&store, subscription, 3);
    say("FULL");
    fs::write(switch, "").unwrap();
    // More than the pages that are free within the file take.
    publish_some(40);
    settle(&store, subscription, 9);
    say("FREE");
    fs::remove_file(switch).unwrap();
    publish_some(4);
    settle(&store, subscription, 12);
    assert!(store.fault().is_none(), "{:?}", store.fault());
    store.close();
}

pub(crate) fn try_it(shim: &Shim) {
    let run = shim.run_full();
    let lines = run.lines();
    let at = |word: &str| lines.iter().position(|line| line == word).unwrap();
    let count = |lines: &[String], word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    let (before, rest) = lines.split_at(at("FULL"));
    let (full, after) = rest.split_at(at("FREE") - before.len());
    assert_eq!((count(before, "ACK "), count(before, "SETTLED ")), (18, 1), "{}", run.said());
    assert!(count(full, "REFUSED ") > 0, "the disk was not full: {}", run.said());
    let untyped = full.iter().any(|line| line.starts_with("REFUSED ") && !line.contains("StorageFull"));
    assert!(!untyped && count(lines, "UNKNOWN ") == 0, "{}", run.said());
    assert_eq!(count(full, "SETTLED 9"), 1, "settlements pass: {}", run.said());
    assert_eq!((count(after, "ACK "), count(after, "SETTLED 12")), (12, 1), "it goes on: {}", run.said());
    assert_eq!(run.judged(), Ok(()), "{}", run.said());
}
