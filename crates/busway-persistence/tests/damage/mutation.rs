//! How a data file is damaged.

use crate::Chance;
use crate::store::Original;

/// What kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// One bit, anywhere behind the header.
    Bit,
    /// 512 bytes of noise, at their border.
    Sector,
    /// A page of zeros.
    Zeros,
    /// The file ends earlier.
    Cut,
    /// One to eight bytes of one of the two header pages.
    Header,
}

impl Class {
    const ALL: [Self; 5] = [Self::Bit, Self::Sector, Self::Zeros, Self::Cut, Self::Header];

    /// Whether it is looked at before LMDB maps the file: then nothing may end the process.
    pub(crate) const fn is_looked_at(self) -> bool {
        matches!(self, Self::Cut | Self::Header)
    }
}

/// One damage.
#[derive(Debug, Clone)]
pub(crate) struct Mutation {
    pub(crate) class: Class,
    at: usize,
    noise: u64,
}

impl Mutation {
    pub(crate) fn choose(number: u64, original: &Original, chance: &mut Chance) -> Self {
        let class = Class::ALL[usize::try_from(number % Class::ALL.len() as u64).unwrap()];
        let (len, page) = (original.bytes.len(), original.page_size);
        let behind = 2 * page + chance.below(len - 2 * page);
        let at = match class {
            Class::Bit => behind,
            Class::Sector => behind / 512 * 512,
            Class::Zeros => behind / page * page,
            Class::Cut => chance.below(len),
            Class::Header => chance.below(2) * page + chance.below(152),
        };
        Self { class, at, noise: chance.next() }
    }

    /// The file with the damage.
    pub(crate) fn apply(&self, original: &Original) -> Vec<u8> {
        let mut bytes = original.bytes.clone();
        let mut noise = Chance(self.noise);
        match self.class {
            Class::Bit => bytes[self.at] ^= 1 << noise.below(8),
            Class::Sector => {
                bytes
                    .iter_mut()
                    .skip(self.at)
                    .take(512)
                    .for_each(|byte| *byte = noise.next().to_le_bytes()[0]);
            }
            Class::Zeros => {
                bytes.iter_mut().skip(self.at).take(original.page_size).for_each(|byte| *byte = 0);
            }
            Class::Cut => bytes.truncate(self.at),
            Class::Header => {
                let count = 1 + noise.below(8);
                bytes
                    .iter_mut()
                    .skip(self.at)
                    .take(count)
                    .for_each(|byte| *byte ^= noise.next().to_le_bytes()[0]);
            }
        }
        bytes
    }
}
