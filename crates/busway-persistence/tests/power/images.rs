//! Crash images: the directory as it may be found after the power came back.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use crate::random::Random;
use crate::volume::{Node, Volume, folder};

/// What reached the disk of all that was not durable for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survivors {
    /// Nothing: the worst image. What a program may not lose is in it.
    Nothing,
    /// Everything: as if the process had been killed and the power had stayed.
    Everything,
    /// Some of it, by this seed.
    Some(u64),
}

impl fmt::Display for Survivors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => out.write_str("nothing that was not durable"),
            Self::Everything => out.write_str("everything"),
            Self::Some(seed) => write!(out, "some by seed {seed:#x}"),
        }
    }
}

/// A directory: each path below it and what is in the file; `None` is a folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Image(pub(crate) BTreeMap<String, Option<Vec<u8>>>);

impl Image {
    pub(crate) fn of(volume: &Volume, survivors: Survivors) -> Self {
        match survivors {
            Survivors::Nothing => Self::by(volume, &mut || false),
            Survivors::Everything => Self::by(volume, &mut || true),
            Survivors::Some(seed) => {
                let mut random = Random::new(seed);
                // Some images get nearly nothing, others nearly everything: a half each time would try neither.
                let eighths = 1 + random.below(7);
                Self::by(volume, &mut || random.below(8) < eighths)
            }
        }
    }

    fn by(volume: &Volume, chance: &mut dyn FnMut() -> bool) -> Self {
        let mut found = BTreeMap::new();
        for (path, node) in volume.names(chance) {
            // A path sorts behind its folder. What is in a folder that is not there cannot be found.
            if folder(&path).is_empty() || found.contains_key(folder(&path)) {
                let bytes = match node {
                    Node::Folder => None,
                    Node::File(file) => Some(volume.bytes(file, chance)),
                };
                found.insert(path, bytes);
            }
        }
        Self(found)
    }

    /// Makes `directory` and all that is in it.
    pub(crate) fn write_to(&self, directory: &Path) {
        fs::create_dir(directory).unwrap();
        for (path, bytes) in &self.0 {
            match bytes {
                Some(bytes) => fs::write(directory.join(path), bytes).unwrap(),
                None => fs::create_dir(directory.join(path)).unwrap(),
            }
        }
    }

    /// What is in `directory` now.
    pub(crate) fn read_from(directory: &Path) -> Self {
        let mut found = BTreeMap::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(directory.join(&folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let place = directory.join(&path);
                let bytes = (!place.is_dir()).then(|| fs::read(&place).unwrap());
                if bytes.is_none() {
                    folders.push(path.clone());
                }
                found.insert(path, bytes);
            }
        }
        Self(found)
    }

    /// Paths that are not the same in both, `mapped` ones left out.
    pub(crate) fn differences(&self, other: &Self, mapped: &[&str]) -> Vec<String> {
        let paths = self.0.keys().chain(other.0.keys().filter(|path| !self.0.contains_key(*path)));
        let differs =
            |path: &&String| !mapped.contains(&path.as_str()) && self.0.get(*path) != other.0.get(*path);
        paths.filter(differs).cloned().collect()
    }
}
