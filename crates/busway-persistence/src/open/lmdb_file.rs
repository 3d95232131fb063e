//! Real LMDB files for the tests of this module: made, filled and read back by heed.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, WithoutTls};

pub(super) const MAP_SIZE: usize = 4 << 20;
pub(super) const MAX_READERS: u32 = 200;

/// A value of 25 pages.
static TAIL: [u8; 100_000] = [1; 100_000];

type Table<'a> = Database<'a, Bytes, Bytes>;

/// Opens the environment in `dir` as a store does.
pub(super) fn open(dir: &Path) -> heed::Result<Env<WithoutTls>> {
    open_for(dir, MAX_READERS)
}

/// Opens the environment in `dir` for so many readers.
pub(super) fn open_for(dir: &Path, max_readers: u32) -> heed::Result<Env<WithoutTls>> {
    crate::lmdb::map(dir, MAP_SIZE, 4, max_readers)
}

/// What is in a table, in the order of the keys.
pub(super) type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// A table of each shape: small values on many leaves, values that have pages of their own, nothing.
pub(super) const NAMES: [&str; 3] = ["empty", "large", "small"];

/// What the last pages of a file hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Whatever was written last, the roots among it.
    Newest,
    /// A value; the roots lie before it, in pages that were freed earlier.
    Value,
    /// Pages that were given back; the roots lie before them.
    Free,
}

/// Makes a data file with some commits in it.
pub(super) fn fill(dir: &Path, tail: Tail) {
    let env = open(dir).unwrap();
    let [_empty, large, small] = NAMES.map(|name| create(&env, name));
    for round in 0..8_u32 {
        let mut txn = env.write_txn().unwrap();
        for row in 0..40_u32 {
            let key = [round.to_be_bytes(), row.to_be_bytes()].concat();
            small.put(&mut txn, &key, &[7; 200]).unwrap();
        }
        large.put(&mut txn, &round.to_be_bytes(), &[9; 10_000]).unwrap();
        txn.commit().unwrap();
    }
    if tail != Tail::Newest {
        let mut txn = env.write_txn().unwrap();
        large.put(&mut txn, b"tail", &TAIL).unwrap();
        txn.commit().unwrap();
        // Several commits, so that the roots move down into pages that were freed earlier.
        for value in [b"1", b"2", b"3"] {
            let mut txn = env.write_txn().unwrap();
            if tail == Tail::Free {
                large.delete(&mut txn, b"tail").unwrap();
            }
            small.put(&mut txn, b"after", value).unwrap();
            txn.commit().unwrap();
        }
    }
    env.prepare_for_closing().wait();
}

/// Takes pages from the end of the file and gives them back in the same transaction: they are never written.
pub(super) fn leave_the_tail_unwritten(dir: &Path) {
    let env = open(dir).unwrap();
    let large = create(&env, "large");
    let mut txn = env.write_txn().unwrap();
    large.put(&mut txn, b"tail", &TAIL).unwrap();
    large.delete(&mut txn, b"tail").unwrap();
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
}

/// Everything that is in the file.
pub(super) fn content(dir: &Path) -> heed::Result<Vec<Rows>> {
    let env = open(dir)?;
    let rows = NAMES.iter().map(|name| rows(&env, name)).collect();
    env.prepare_for_closing().wait();
    rows
}

fn create<'a>(env: &'a Env<WithoutTls>, name: &str) -> Table<'a> {
    let txn = env.write_txn().unwrap();
    env.create_databases_and_commit(txn, |dbo, txn| {
        dbo.create_database::<Bytes, Bytes>(txn, Some(name)).map(CommitOrAbort::<_, ()>::Commit)
    })
    .unwrap()
    .unwrap_commit()
}

fn rows(env: &Env<WithoutTls>, name: &str) -> heed::Result<Rows> {
    let opened = env.open_databases_and_commit(env.read_txn()?, |dbo, txn| {
        dbo.open_database::<Bytes, Bytes>(txn, Some(name)).map(CommitOrAbort::<_, ()>::Commit)
    })?;
    let table = opened.unwrap_commit().unwrap();
    let txn = env.read_txn()?;
    table.iter(&txn)?.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
}
