//! The last line of an archive's file. `docs/design/format.md` says what it is made of.

use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::chain::{Hash, Hashing, Proof};
use crate::audit::head::unhex;
use crate::import::SEAL_START;
use crate::row::hex;

/// What a file's last line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    /// The version of the form, 1.
    #[serde(rename = "buswayseal")]
    version: u32,
    pub(super) store: Uuid,
    pub(super) stream: String,
    pub(super) partition: u16,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u64,
    /// BLAKE3 of all lines before this one, without a key.
    lines: String,
    /// The chain of the stream behind the last record.
    pub(super) chain: String,
    /// The seal of the file before, or zeros.
    pub(super) previous: String,
    /// Over all that stands before it in this line.
    #[serde(default)]
    #[serde(rename = "seal")]
    pub(super) proof: String,
}

impl Seal {
    /// The line, sealed, with its line break.
    pub(super) fn line(mut self, hashing: &Hashing) -> (Vec<u8>, Hash) {
        self.proof = String::new();
        let proof = hashing.proof(Proof::Seal, &self.sealed());
        self.proof = hex(&proof);
        // Texts and numbers always have a JSON form.
        let mut line = serde_json::to_vec(&self).unwrap_or_default();
        line.push(b'\n');
        (line, proof)
    }

    /// Whether the seal is that of its content.
    pub(super) fn is_whole(&self, hashing: &Hashing) -> bool {
        let content = Self { proof: String::new(), ..self.clone() };
        let proof = hashing.proof(Proof::Seal, &content.sealed());
        unhex(&self.proof).is_some_and(|seal| blake3::Hash::from(seal) == blake3::Hash::from(proof))
    }

    fn sealed(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn holds(&self, lines: &blake3::Hash) -> bool {
        unhex(&self.lines).is_some_and(|stored| blake3::Hash::from(stored) == *lines)
    }
}

/// What a file is made of.
pub(super) struct Content {
    pub(super) store: Uuid,
    pub(super) stream: String,
    pub(super) partition: u16,
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) lines: Hash,
    pub(super) chain: Hash,
    pub(super) previous: Hash,
}

impl Content {
    pub(super) fn seal(self) -> Seal {
        let Self { store, stream, partition, first, last, lines, chain, previous } = self;
        let count = last - first + 1;
        let (lines, chain, previous) = (hex(&lines), hex(&chain), hex(&previous));
        Seal {
            version: 1,
            store,
            stream,
            partition,
            first,
            last,
            count,
            lines,
            chain,
            previous,
            proof: String::new(),
        }
    }
}

/// Reads a file: `line` is told of each line before the seal. The seal, and the hash of the lines; or what is wrong.
pub(super) fn read(
    reader: &mut impl BufRead,
    mut line: impl FnMut(&[u8]),
) -> io::Result<Result<(Seal, blake3::Hash), String>> {
    let mut hasher = blake3::Hasher::new();
    let mut text = Vec::new();
    loop {
        text.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text)? == 0 {
            return Ok(Err("it ends without a seal".to_owned()));
        }
        if text.starts_with(SEAL_START) {
            break;
        }
        hasher.update(&text);
        line(&text);
    }
    let seal: Seal = match serde_json::from_slice(&text) {
        Ok(seal) => seal,
        Err(error) => return Ok(Err(format!("its seal cannot be read: {error}"))),
    };
    if seal.version != 1 {
        return Ok(Err(format!("its seal has version {}, this program reads 1", seal.version)));
    }
    let mut more = [0];
    if !text.ends_with(b"\n") || reader.read(&mut more)? > 0 {
        return Ok(Err("its seal is not its last line".to_owned()));
    }
    Ok(Ok((seal, hasher.finalize())))
}

/// More than any line has.
const LINE_BYTES_MAX: u64 = 8 << 20;
