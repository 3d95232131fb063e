//! The manifest: the file that says that a store is here, which one, and whether it was ever finished.
//!
//! LMDB takes a missing or empty data file for a new one. The manifest is what a store is recognized by instead, so
//! that lost data is an error and never an empty store. It is written twice in a store's life: as `creating` before
//! LMDB makes its file, and as `ready` when LMDB's first commit is on the disk. Each time it is replaced whole.
//!
//! Format 1, 36 bytes, numbers in big-endian order:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `BUSWAYST` |
//! | 8 | 2 | format of the store: 1 |
//! | 10 | 1 | 1 = creating, 2 = ready |
//! | 11 | 1 | reserved, 0 |
//! | 12 | 16 | id of the store, a version 4 UUID |
//! | 28 | 4 | page size of the data file in bytes, 0 = not known yet |
//! | 32 | 4 | CRC-32C of all bytes before |
//!
//! Every format keeps the first ten bytes and ends with the checksum of all before, so that an older version can
//! tell a newer store from a damaged one.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{OpenError, files};

/// The name of the manifest.
pub(super) const NAME: &str = "manifest";
/// Where the next manifest is written before it takes the name; what a crash leaves there means nothing.
pub(super) const NEW_NAME: &str = "manifest.new";

const MAGIC: [u8; 8] = *b"BUSWAYST";
/// The newest format of a store that this version reads, and the one that it writes.
const FORMAT: u16 = 1;
/// Length without the checksum.
const BODY_LEN: usize = 32;
const CRC_LEN: usize = 4;
/// More than any manifest has: the file is read up to here and no further.
const LEN_MAX: u64 = 4096;

/// How far the making of a store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// LMDB's first commit is not known to be on the disk. Nothing was acknowledged.
    Creating,
    /// The data file is there and is to stay there.
    Ready,
}

/// What a manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) progress: Progress,
    pub(super) store_id: Uuid,
    /// Of the data file; `None` while it is not known.
    pub(super) page_size: Option<u32>,
}

impl Manifest {
    /// The manifest of `dir`; `None` if there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(NAME);
        match files::read(&path, LEN_MAX)? {
            Some(bytes) => Self::decode(&bytes).map(Some).map_err(|unreadable| unreadable.at(path)),
            None => Ok(None),
        }
    }

    /// Makes this the manifest of `dir`, durably. After a crash at any point the old one is there, or this one.
    pub(super) fn write(&self, dir: &Path) -> Result<(), OpenError> {
        files::replace(&dir.join(NAME), &dir.join(NEW_NAME), &self.encode())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BODY_LEN + CRC_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.push(match self.progress {
            Progress::Creating => 1,
            Progress::Ready => 2,
        });
        bytes.push(0);
        bytes.extend_from_slice(self.store_id.as_bytes());
        bytes.extend_from_slice(&self.page_size.unwrap_or(0).to_be_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |reason: &str| Unreadable::Damaged(reason.to_owned());
        let too_short = || Unreadable::Damaged(format!("it ends after {} bytes", bytes.len()));
        let (body, stored) = bytes.split_last_chunk::<CRC_LEN>().ok_or_else(too_short)?;
        if body.first_chunk() != Some(&MAGIC) {
            return Err(damaged("it does not begin like a manifest"));
        }
        let (stored, computed) = (u32::from_be_bytes(*stored), crc32c::crc32c(body));
        if stored != computed {
            let reason = format!("its checksum is {stored:08x}, its bytes make {computed:08x}");
            return Err(Unreadable::Damaged(reason));
        }
        let mut rest = Fields(body.get(MAGIC.len()..).unwrap_or_default());
        match u16::from_be_bytes(rest.take().ok_or_else(too_short)?) {
            FORMAT => {}
            0 => return Err(damaged("it says format 0, which there is none of")),
            found => return Err(Unreadable::Newer(found)),
        }
        let [progress, _reserved] = rest.take().ok_or_else(too_short)?;
        let store_id = Uuid::from_bytes(rest.take().ok_or_else(too_short)?);
        let page_size = u32::from_be_bytes(rest.take().ok_or_else(too_short)?);
        if !rest.0.is_empty() {
            return Err(Unreadable::Damaged(format!("it is {} bytes too long", rest.0.len())));
        }
        let progress = match progress {
            1 => Progress::Creating,
            2 => Progress::Ready,
            other => {
                return Err(Unreadable::Damaged(format!("it says state {other}, which there is none of")));
            }
        };
        Ok(Self { progress, store_id, page_size: Some(page_size).filter(|size| *size != 0) })
    }
}

/// What is left of the body, taken from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    Damaged(String),
    Newer(u16),
}

impl Unreadable {
    fn at(self, path: PathBuf) -> OpenError {
        match self {
            Self::Damaged(reason) => OpenError::ManifestDamaged { path, reason },
            Self::Newer(found) => OpenError::NewerFormat { path, found, known: FORMAT },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            progress: Progress::Ready,
            store_id: Uuid::from_bytes(*b"sixteen bytes id"),
            page_size: Some(4096),
        }
    }

    fn with_checksum(mut body: Vec<u8>) -> Vec<u8> {
        let crc = crc32c::crc32c(&body);
        body.extend_from_slice(&crc.to_be_bytes());
        body
    }

    #[test]
    fn format_1_stays_what_it_is() {
        let mut expected = b"BUSWAYST\x00\x01\x02\x00sixteen bytes id\x00\x00\x10\x00".to_vec();
        expected.extend_from_slice(&[0xC2, 0x4D, 0x64, 0x07]);
        assert_eq!(manifest().encode(), expected);
        assert_eq!(Manifest::decode(&expected), Ok(manifest()));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), None);
        for progress in [Progress::Creating, Progress::Ready] {
            for page_size in [None, Some(512), Some(32_768)] {
                let written = Manifest { progress, store_id: Uuid::new_v4(), page_size };
                written.write(dir.path()).unwrap();
                assert_eq!(Manifest::read(dir.path()).unwrap(), Some(written));
            }
        }
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [NAME], "nothing is left beside it");
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let whole = manifest().encode();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let result = Manifest::decode(&bytes);
                assert!(matches!(result, Err(Unreadable::Damaged(_))), "bit {bit} of byte {at}: {result:?}");
            }
        }
        for len in 0..whole.len() {
            assert!(matches!(Manifest::decode(&whole[..len]), Err(Unreadable::Damaged(_))), "{len} bytes");
        }
    }

    #[test]
    fn a_checksum_does_not_make_sense_of_nonsense() {
        let mut body = manifest().encode();
        body.truncate(BODY_LEN);
        let change = |at: usize, value: u8| {
            let mut body = body.clone();
            body[at] = value;
            Manifest::decode(&with_checksum(body))
        };
        assert!(matches!(change(10, 3), Err(Unreadable::Damaged(reason)) if reason.contains("state 3")));
        assert!(matches!(change(9, 0), Err(Unreadable::Damaged(reason)) if reason.contains("format 0")));
        assert_eq!(change(11, 9), Ok(manifest()), "the reserved byte is not looked at");
        let mut longer = body.clone();
        longer.push(0);
        assert!(matches!(Manifest::decode(&with_checksum(longer)), Err(Unreadable::Damaged(_))));
        let shorter = with_checksum(body[..20].to_vec());
        assert!(matches!(Manifest::decode(&shorter), Err(Unreadable::Damaged(_))));
    }

    #[test]
    fn a_newer_store_is_told_from_a_damaged_one_by_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let newer =
            with_checksum(b"BUSWAYST\x00\x07 and whatever format 7 puts here, at any length".to_vec());
        fs::write(dir.path().join(NAME), newer).unwrap();
        let error = Manifest::read(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::NewerFormat { found: 7, known: FORMAT, .. }), "{error:?}");
        assert!(
            error.to_string().contains("the store has format 7 and this version of busway reads up to 1")
        );
    }

    #[test]
    fn a_file_that_is_no_manifest_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        for content in [&b""[..], b"BUSW", b"[package]\nname = \"something-else\"\n", &[0; 10_000]] {
            fs::write(dir.path().join(NAME), content).unwrap();
            let error = Manifest::read(dir.path()).unwrap_err();
            assert!(matches!(error, OpenError::ManifestDamaged { .. }), "{error:?}");
        }
    }
}
