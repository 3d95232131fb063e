//! Damaged data files, whole stores of them: flipped bits, sectors of noise, pages of zeros, cuts, headers. Whatever a store says of such a
//! file must be the truth or an error: no event that is another one, none that is missing without a word, no cursor that stands
//! elsewhere; no dead letter, delayed event, key or value of a table that is another one, and none that is not found while a verification calls the store sound.
//!
//! Each damaged store is opened, read and read again around what is damaged, by a child: what ends the child is a verdict too. Headers
//! and cuts must never do that: they are looked at before LMDB maps the file. Noise in the pages by which LMDB finds its way can, because
//! it trusts its file; how often is told.
//!
//! `BUSWAY_DAMAGE_STORES` sets how many (default 1,000), `BUSWAY_DAMAGE_SEED` which.
//!
//! Modules, in reading order: `store` is what is damaged, `mutation` how, `judge` looks at it, `court` runs the judges.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod court;
mod judge;
mod mutation;
mod store;

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use crate::court::Court;
use crate::judge::Verdict;
use crate::mutation::{Class, Mutation};
use crate::store::Original;

#[test]
#[ignore = "the entry of the judges, which are told what to look at"]
fn child_entry() {
    if let Some(list) = env::var_os(court::LIST) {
        judge::judge_all(Path::new(&list));
    }
}

#[test]
fn a_damaged_store_says_the_truth_or_an_error() {
    let stores = number_in("BUSWAY_DAMAGE_STORES").unwrap_or(1_000);
    let mut chance = Chance(number_in("BUSWAY_DAMAGE_SEED").unwrap_or(0x6275_7377_6179));
    let (original, court) = (Original::make(), Court::new());
    let mut counts: BTreeMap<(Class, &'static str), u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for first in (0..stores).step_by(BATCH) {
        let numbers = first..stores.min(first + BATCH as u64);
        let mutations: Vec<_> =
            numbers.map(|number| Mutation::choose(number, &original, &mut chance)).collect();
        for (mutation, verdict) in mutations.iter().zip(court.judge(&original, &mutations)) {
            *counts.entry((mutation.class, verdict.word())).or_default() += 1;
            let is_bad = match verdict {
                Verdict::Wrong(_) => true,
                // What LMDB trusts may end it; not what was looked at before it was let near the file.
                Verdict::Signal(_) => mutation.class.is_looked_at(),
                Verdict::Truth | Verdict::Refused(_) | Verdict::Named(_) => false,
            };
            if is_bad {
                wrong.push(format!("{mutation:?}: {verdict:?}"));
            }
        }
    }
    for ((class, word), count) in &counts {
        println!("{class:?}: {word} {count}");
    }
    assert!(wrong.is_empty(), "{} of {stores}:\n{}", wrong.len(), wrong.join("\n"));
    let all =
        |word: &str| counts.iter().filter(|((_, of), _)| *of == word).map(|(_, count)| count).sum::<u64>();
    assert!(all("named") > stores / 20, "hardly a record was damaged: {counts:?}");
    assert!(all("refused") > stores / 20, "hardly a store was refused: {counts:?}");
}

/// Damaged stores that lie beside each other, and that one judge looks at.
const BATCH: usize = 50;

fn number_in(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Splitmix64 (Steele, Lea, Flood 2014): any seed will do.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}
