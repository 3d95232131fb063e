//! LMDB by itself, in its default mode: the harness is tried on what is known to survive.
#![expect(
    unsafe_code,
    reason = "heed's way to open an environment is unsafe; here the test owns the directory"
)]

use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;

use heed::byteorder::BE;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, RwTxn, WithoutTls};

use crate::random::Random;
use crate::scenario::{Acker, Scenario, Verdict};

/// 200 commits, the directory synced before the first acknowledgement, the environment opened anew half way.
pub(crate) const BARE: Scenario = Scenario {
    name: "bare",
    work: |directory, acker| work(directory, acker, EnvFlags::empty(), sync_names),
    verify,
    mapped: &["lock.mdb"],
};

/// The same, and the directory is never synced: LMDB does not do it by itself.
pub(crate) const NAMELESS: Scenario = Scenario {
    name: "nameless",
    work: |directory, acker| work(directory, acker, EnvFlags::empty(), |_| {}),
    ..BARE
};

/// The same, and LMDB syncs the page that names a commit only with the next commit.
pub(crate) const LATE: Scenario = Scenario {
    name: "late",
    work: |directory, acker| work(directory, acker, EnvFlags::NO_META_SYNC, sync_names),
    ..BARE
};

/// The same, and LMDB writes through its map, where no shim can see it.
pub(crate) const MAPPED: Scenario = Scenario {
    name: "mapped",
    work: |directory, acker| work(directory, acker, EnvFlags::WRITE_MAP, sync_names),
    ..BARE
};

fn work(directory: &Path, acker: &Acker, flags: EnvFlags, sync_names: fn(&Path)) {
    for commits in [1..=COMMITS / 2, COMMITS / 2 + 1..=COMMITS] {
        let store = Store::open(directory, flags).unwrap();
        sync_names(directory);
        for number in commits {
            store.commit(number).unwrap();
            acker.ack(number);
        }
        store.close();
    }
}

fn sync_names(directory: &Path) {
    File::open(directory).unwrap().sync_all().unwrap();
}

/// Before the first acknowledgement a file that does not open is fine too: LMDB makes its file in place, and its two
/// first pages may be half there.
fn verify(directory: &Path, acked: u64) -> Verdict {
    let found = Store::open(directory, EnvFlags::NO_SYNC).and_then(|store| {
        let verdict = store.check(acked)?;
        store.close();
        Ok(verdict)
    });
    match found {
        Ok(verdict) => verdict,
        Err(_) if acked == 0 => Verdict::Fine,
        Err(error) => Verdict::Unreadable(error.to_string()),
    }
}

type Table = Database<'static, U64<BE>, Bytes>;

struct Store {
    env: Env<WithoutTls>,
    /// Number to bytes: grows.
    kept: Table,
    /// Remainder to the latest number's bytes: frees pages at each commit, so that they are written again.
    latest: Table,
}

impl Store {
    fn open(directory: &Path, flags: EnvFlags) -> heed::Result<Self> {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(16 << 20).max_dbs(2);
        // SAFETY: nobody else has the directory, so nothing changes the file behind the map; a damaged file can end
        // the process with a signal, which is a verdict here. NO_SYNC is set by the judge only, whose image is
        // thrown away; WRITE_MAP by a scenario that is refused.
        let env = unsafe { options.flags(flags).open(directory)? };
        let transaction = env.write_txn()?;
        let tables = env.create_databases_and_commit(transaction, |opener, transaction| {
            let kept = opener.create_database(transaction, Some("kept"))?;
            let latest = opener.create_database(transaction, Some("latest"))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((kept, latest)))
        })?;
        let (kept, latest) = tables.unwrap_commit();
        Ok(Self { env, kept, latest })
    }

    fn commit(&self, number: u64) -> heed::Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.put(&mut transaction, number)?;
        transaction.commit()
    }

    fn put(&self, transaction: &mut RwTxn<'_>, number: u64) -> heed::Result<()> {
        self.kept.put(transaction, &number, bytes_of(number))?;
        self.latest.put(transaction, &(number % REMAINDERS), bytes_of(number))
    }

    fn check(&self, acked: u64) -> heed::Result<Verdict> {
        let reading = self.env.read_txn()?;
        let mut last = 0;
        for pair in self.kept.iter(&reading)? {
            let (number, bytes) = pair?;
            if number != last + 1 || bytes != bytes_of(number) {
                return Ok(Verdict::Unreadable(format!(
                    "after {last} stands {number}, or its bytes are wrong"
                )));
            }
            last = number;
        }
        for number in (last + 1).saturating_sub(REMAINDERS).max(1)..=last {
            if self.latest.get(&reading, &(number % REMAINDERS))? != Some(bytes_of(number)) {
                return Ok(Verdict::Unreadable(format!(
                    "{number} is kept and is not the latest of its kind"
                )));
            }
        }
        if last < acked {
            return Ok(Verdict::Lost(acked - last));
        }
        drop(reading);
        // The list of free pages has to be right too: the next commits take their pages from it.
        (last + 1..=last + AFTERWARDS).try_for_each(|number| self.commit(number))?;
        let reading = self.env.read_txn()?;
        let right =
            self.kept.iter(&reading)?.all(|pair| pair.is_ok_and(|(number, bytes)| bytes == bytes_of(number)));
        Ok(if right { Verdict::Fine } else { Verdict::Unreadable("the next commits broke it".to_owned()) })
    }

    fn close(self) {
        self.env.prepare_for_closing().wait();
    }
}

/// The bytes of each number, made once: a judge compares all of them again in each image.
fn bytes_of(number: u64) -> &'static [u8] {
    static BYTES: LazyLock<Vec<Vec<u8>>> =
        LazyLock::new(|| (0..=COMMITS + AFTERWARDS).map(make_bytes).collect());
    &BYTES[usize::try_from(number).unwrap()]
}

/// Short ones, and every ninth in pages of its own.
fn make_bytes(number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let words = if number.is_multiple_of(9) { 700 } else { 1 + random.below(60) };
    (0..words).flat_map(|_| random.next().to_le_bytes()).collect()
}

const COMMITS: u64 = 200;

/// Commits that a judge makes.
const AFTERWARDS: u64 = 3;

const REMAINDERS: u64 = 13;
