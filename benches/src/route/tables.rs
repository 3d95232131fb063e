//! The tables of subscriptions and the topics that are looked up in them.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use busway::{Filter, Topic};
use busway_router::{Reached, Router};
use fastrand::Rng;

/// A router full of subscriptions, and a hash map with the same texts for its keys.
#[derive(Debug)]
pub struct Table {
    /// The subscriptions.
    pub router: Router<u32>,
    /// Their filters as plain texts.
    pub map: HashMap<Box<str>, u32>,
    filters: Vec<Filter>,
}

impl Table {
    /// A table of these filters.
    ///
    /// # Errors
    /// One of them is no filter.
    pub fn of(filters: impl IntoIterator<Item = String>) -> Result<Self> {
        let (router, mut map, mut kept) = (Router::new(), HashMap::new(), Vec::new());
        for (number, text) in (0..).zip(filters) {
            let filter = Filter::new(&*text)?;
            router.insert(&filter, Arc::new(number));
            map.insert(text.into_boxed_str(), number);
            kept.push(filter);
        }
        Ok(Self { router, map, filters: kept })
    }

    /// 37,449 literal subscriptions of up to five levels over eight tokens, and three with wildcards.
    ///
    /// # Errors
    /// One of them is no filter.
    pub fn four_tokens() -> Result<Self> {
        let mut texts: Vec<String> = Vec::new();
        let mut level: Vec<String> = vec![String::new()];
        for _ in 0..5 {
            let longer = level.iter().flat_map(|prefix| TOKENS.map(|token| joined(prefix, token)));
            level = longer.collect();
            texts.extend(level.iter().cloned());
        }
        // The reference counts 37,449; its paths alone are one fewer.
        texts.push(joined("apcera.continuum.component.router.api", "imgr"));
        texts.extend(["cloud.#", "cloud.nats.component.#", "cloud.+.+.router.+"].map(str::to_owned));
        Self::of(texts)
    }

    /// So many subscriptions of four levels: a tenth has `+` at a random level, one in fifty ends in `#` after one to three.
    ///
    /// # Errors
    /// One of them is no filter.
    pub fn mixed(subscriptions: usize) -> Result<Self> {
        let mut random = Rng::with_seed(SEED);
        Self::of((0..subscriptions).map(|_| mixed_filter(&mut random)))
    }

    /// Compares the router with a scan of all filters.
    ///
    /// # Errors
    /// They do not agree.
    pub fn agrees_on(&self, topics: &[Topic]) -> Result<()> {
        for topic in topics {
            let mut expected: Vec<u32> = Vec::new();
            expected
                .extend((0..).zip(&self.filters).filter(|(_, filter)| filter.matches(topic)).map(|(n, _)| n));
            let mut found: Vec<u32> = self.router.lookup(topic).iter().map(|target| **target).collect();
            let mut walked: Vec<u32> = self.router.walk(topic).iter().map(|target| **target).collect();
            found.sort_unstable();
            walked.sort_unstable();
            ensure!(
                found == expected && walked == expected,
                "{topic} reaches other targets than a scan finds"
            );
        }
        Ok(())
    }
}

/// Goes through all targets that a match lends, as a publish does, and says how many there were.
#[must_use]
pub fn visit(targets: Reached<'_, u32>) -> usize {
    targets.iter().fold(0, |visited, target| visited + usize::from(**target != u32::MAX))
}

/// So many topics of the mixed workload, never the same for two seeds.
///
/// # Errors
/// One of them is no topic.
pub fn mixed_topics(topics: usize, seed: u64) -> Result<Vec<Topic>> {
    let mut random = Rng::with_seed(SEED ^ (seed << 32));
    (0..topics).map(|_| Ok(Topic::new(segments(&mut random).join("."))?)).collect()
}

/// A new literal filter of the mixed workload.
///
/// # Errors
/// Never: its text keeps the rules.
pub fn mixed_literal(random: &mut Rng) -> Result<Filter> {
    Ok(Filter::new(segments(random).join("."))?)
}

fn mixed_filter(random: &mut Rng) -> String {
    let mut segments = segments(random);
    match random.usize(0..100) {
        0..10 => {
            let level = random.usize(0..segments.len());
            segments.splice(level..=level, ["+".to_owned()]);
        }
        10..12 => {
            segments.truncate(random.usize(1..segments.len()));
            segments.push("#".to_owned());
        }
        _ => {}
    }
    segments.join(".")
}

fn segments(random: &mut Rng) -> Vec<String> {
    let (region, site) = (random.u32(0..20), random.u32(0..50));
    let (device, measure) = (random.u32(0..1_000), random.u32(0..10));
    vec![format!("region{region}"), format!("site{site}"), format!("device{device}"), format!("m{measure}")]
}

fn joined(prefix: &str, token: &str) -> String {
    if prefix.is_empty() { token.to_owned() } else { format!("{prefix}.{token}") }
}

/// The tokens of the benchmark in NATS server 2.9.22, so that numbers can be laid beside its own.
const TOKENS: [&str; 8] = ["apcera", "continuum", "component", "router", "api", "imgr", "jmgr", "auth"];

/// The same tables and topics in each run.
const SEED: u64 = 37_449;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_token_table_has_the_reference_s_size_and_results() {
        let table = Table::four_tokens().unwrap();
        assert_eq!(table.map.len(), 37_449 + 3);
        let found = |topic: &str| table.router.walk(&Topic::new(topic).unwrap()).len();
        assert_eq!(found("apcera.continuum.component.router"), 1);
        assert_eq!(found("cloud.nats.component.router"), 2);
    }

    #[test]
    fn the_mixed_table_agrees_with_a_scan_and_has_about_the_reference_s_results() {
        let table = Table::mixed(20_000).unwrap();
        let topics = mixed_topics(60, 1).unwrap();
        table.agrees_on(&topics).unwrap();
        let results: usize = topics.iter().map(|topic| table.router.walk(topic).len()).sum();
        assert!(
            (4..10).contains(&(results / topics.len())),
            "34.7 of 100,000 is 6.9 of 20,000: {results} / 60"
        );
    }

    #[test]
    fn a_router_that_disagrees_is_found_out() {
        let mut table = Table::mixed(100).unwrap();
        table.filters.push(Filter::new("#").unwrap());
        assert!(table.agrees_on(&mixed_topics(1, 1).unwrap()).is_err());
    }
}
