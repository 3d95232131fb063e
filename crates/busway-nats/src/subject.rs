//! Topics and filters in the server's words.
//!
//! | busway | NATS |
//! |---|---|
//! | topic `a.b` | subject `a.b`, behind the prefix if there is one |
//! | filter `a.+` | `a.*` |
//! | filter `a.#`, which means `a` too | `a` and `a.>`, for `>` stands for one token at least |
//! | filter `#` | `>` |
//!
//! Nothing here asks a server.

use std::fmt::Write as _;

use busway_engine::transport::TransportError;
use busway_event::filter::FilterSegment;
use busway_event::{Filter, Topic};

use crate::partition;

/// How topics are mapped to subjects and back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subjects {
    /// Without a dot at its end; empty: none.
    prefix: String,
}

impl Subjects {
    /// With a prefix, which follows the rules of a topic; an empty one is none.
    pub(crate) fn new(prefix: &str) -> Result<Self, TransportError> {
        if prefix.is_empty() {
            return Ok(Self::default());
        }
        match Topic::new(prefix) {
            Err(error) => Err(unmappable(prefix, format!("a prefix follows the rules of topics: {error}"))),
            Ok(_) if is_reserved(prefix) => Err(reserved(prefix)),
            Ok(_) => Ok(Self { prefix: prefix.to_owned() }),
        }
    }

    /// The subject of a topic.
    pub(crate) fn of(&self, topic: &Topic) -> Result<String, TransportError> {
        match self.prefix.as_str() {
            "" if is_reserved(topic.as_str()) => Err(reserved(topic.as_str())),
            "" => Ok(topic.as_str().to_owned()),
            prefix => Ok([prefix, ".", topic.as_str()].concat()),
        }
    }

    /// The topic of a subject, in a partition or not, if it is one.
    pub(crate) fn topic(&self, subject: &str) -> Option<Topic> {
        Topic::new(self.name(subject)?).ok()
    }

    /// What the topic of a subject is called if it is one.
    pub(crate) fn name<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let subject = partition::plain(subject);
        match self.prefix.as_str() {
            "" => Some(subject),
            prefix => subject.strip_prefix(prefix)?.strip_prefix('.'),
        }
    }

    /// The pattern of all subjects of topics.
    pub(crate) fn everything(&self) -> String {
        match self.prefix.as_str() {
            "" => ">".to_owned(),
            prefix => format!("{prefix}.>"),
        }
    }

    /// What a filter means: one pattern, or two for one that ends in `#`.
    pub(crate) fn patterns(&self, filter: &Filter) -> Vec<String> {
        let mut text = self.prefix.clone();
        let push = |text: &mut String, token: &str| {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(token);
        };
        let mut parent = None;
        for (index, segment) in filter.segments().enumerate() {
            match segment {
                FilterSegment::One => push(&mut text, "*"),
                FilterSegment::Literal(literal) => push(&mut text, literal),
                FilterSegment::Rest => {
                    // No topic is empty: `#` alone has no parent to match.
                    parent = (index > 0).then(|| text.clone());
                    push(&mut text, ">");
                }
            }
        }
        parent.into_iter().chain([text]).collect()
    }

    /// What a stream captures that is declared with these filters, without what another of them covers.
    pub(crate) fn captured<'a>(
        &self,
        filters: impl Iterator<Item = &'a Filter>,
    ) -> Result<Vec<String>, TransportError> {
        let mut all = Vec::new();
        for filter in filters {
            for pattern in self.patterns(filter) {
                if reaches_the_server(&pattern) {
                    let reason = "without a subject prefix it captures the server's own subjects; set one, or begin it with a name";
                    return Err(unmappable(filter.as_str(), reason.to_owned()));
                }
                if is_reserved(&pattern) {
                    return Err(reserved(filter.as_str()));
                }
                all.push(pattern);
            }
        }
        all.sort();
        all.dedup();
        let is_covered = |one: &String| all.iter().any(|other| other != one && covers(other, one));
        Ok(all.iter().filter(|one| !is_covered(one)).cloned().collect())
    }
}

/// The narrowest single pattern that covers all, for servers that take one; `None` when that is everything. What does not lie in the stream need not be covered, and
/// the pattern has to lie within one of the stream's own, as such servers ask.
pub(crate) fn single(patterns: &[String], captured: &[String]) -> Option<String> {
    let lies_there = |pattern: &&String| captured.iter().any(|one| overlaps(one, pattern));
    let needed: Vec<_> = patterns.iter().filter(lies_there).collect();
    let single = match needed.as_slice() {
        [] => patterns.last().cloned(),
        [one] => Some((*one).clone()),
        [parent, ..] => parent.rsplit_once('.').map(|(above, _)| format!("{above}.>")),
    };
    single.filter(|single| captured.iter().any(|one| covers(one, single)))
}

/// Whether a pattern means a subject.
pub(crate) fn matches(pattern: &str, subject: &str) -> bool {
    covers(pattern, subject)
}

/// Whether all that `inner` means is meant by `outer`.
fn covers(outer: &str, inner: &str) -> bool {
    let (mut outer, mut inner) = (outer.split('.'), inner.split('.'));
    loop {
        match (outer.next(), inner.next()) {
            (None, None) | (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}

/// Whether some subject is meant by both.
pub(crate) fn overlaps(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(one), Some(other)) if one == other || one == "*" || other == "*" => {}
            _ => return false,
        }
    }
}

/// Whether the name of a stream or consumer is one to the server; `what` is for the error.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), TransportError> {
    let is_foreign = |character: char| {
        character.is_whitespace()
            || character.is_control()
            || matches!(character, '.' | '*' | '>' | '/' | '\\')
    };
    match name.len() {
        1..=NAME_BYTES_MAX if !name.contains(is_foreign) => Ok(()),
        _ => Err(unmappable(
            name,
            format!(
                "the name of a {what} has 1 to {NAME_BYTES_MAX} bytes, and no space, dot, star, slash or angle bracket"
            ),
        )),
    }
}

/// The durable name of a subscription: as it is, when it is of `[A-Za-z0-9_-]`, and all other bytes as `%` and their code, so that no two come to one.
pub(crate) fn consumer(name: &str) -> Result<String, TransportError> {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    check_name("subscription", &out).map(|()| out)
}

/// Whether it may mean what the server keeps for itself: `$JS.API.>` and its like. First tokens of ours never begin so by name.
fn reaches_the_server(pattern: &str) -> bool {
    let mut tokens = pattern.split('.');
    match (tokens.next(), tokens.next()) {
        (Some(">"), _) => true,
        (Some("*"), Some(second)) => second == ">" || tokens.next().is_some(),
        _ => false,
    }
}

/// Whether it begins as the inboxes of answers do.
fn is_reserved(text: &str) -> bool {
    text.split('.').next() == Some("_INBOX")
}

fn reserved(name: &str) -> TransportError {
    unmappable(name, "_INBOX is where NATS sends answers; call it otherwise".to_owned())
}

pub(crate) fn unmappable(name: &str, reason: String) -> TransportError {
    TransportError::Unmappable { name: name.to_owned(), transport: "nats", reason }
}

/// As many as the server's files may be called.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    fn captured(subjects: &Subjects, filters: &[&str]) -> Result<Vec<String>, TransportError> {
        let filters: Vec<_> = filters.iter().map(|text| filter(text)).collect();
        subjects.captured(filters.iter())
    }

    #[test]
    fn a_filter_that_ends_in_rest_means_its_parent_too() {
        let (plain, within) = (Subjects::default(), Subjects::new("shop.eu").unwrap());
        for (text, without, with) in [
            ("a.b", &["a.b"][..], &["shop.eu.a.b"][..]),
            ("+.b", &["*.b"], &["shop.eu.*.b"]),
            ("a.#", &["a", "a.>"], &["shop.eu.a", "shop.eu.a.>"]),
            ("a.+.#", &["a.*", "a.*.>"], &["shop.eu.a.*", "shop.eu.a.*.>"]),
            ("#", &[">"], &["shop.eu.>"]),
        ] {
            assert_eq!(plain.patterns(&filter(text)), without);
            assert_eq!(within.patterns(&filter(text)), with);
        }
    }

    #[test]
    fn patterns_mean_the_topics_that_their_filter_means() {
        let topics = ["a", "b", "a.b", "a.c", "a.b.c", "b.b", "a.b.c.d"];
        let filters = ["a", "+", "#", "a.#", "a.+", "+.b", "a.b.#", "+.#", "a.+.#"];
        for subjects in [Subjects::default(), Subjects::new("p").unwrap()] {
            for (text, topic) in filters.iter().flat_map(|text| topics.iter().map(move |topic| (text, topic)))
            {
                let topic = Topic::new(topic).unwrap();
                let subject = subjects.of(&topic).unwrap();
                assert_eq!(subjects.topic(&subject), Some(topic.clone()));
                let is_meant =
                    subjects.patterns(&filter(text)).iter().any(|pattern| matches(pattern, &subject));
                assert_eq!(is_meant, filter(text).matches(&topic), "{text} and {topic}");
            }
        }
    }

    #[test]
    fn a_stream_captures_no_pattern_twice_and_nothing_of_the_server() {
        let plain = Subjects::default();
        assert_eq!(captured(&plain, &["a.#", "a", "a.b", "c.+"]).unwrap(), ["a", "a.>", "c.*"]);
        assert_eq!(captured(&plain, &["+"]).unwrap(), ["*"]);
        for text in ["#", "+.#", "+.+.a", "_INBOX.a"] {
            let error = captured(&plain, &[text]).unwrap_err();
            assert!(matches!(error, TransportError::Unmappable { .. }), "{text}: {error}");
        }
        assert_eq!(captured(&Subjects::new("p").unwrap(), &["#", "a.#"]).unwrap(), ["p.>"]);
        assert!(Subjects::new("a b").is_err() && Subjects::new("_INBOX").is_err());
    }

    #[test]
    fn one_pattern_covers_two_as_narrowly_as_it_can() {
        let of = |text: &str, captured: &[&str]| {
            let captured: Vec<_> = captured.iter().map(|one| (*one).to_owned()).collect();
            single(&Subjects::default().patterns(&filter(text)), &captured)
        };
        assert_eq!(of("a.b", &["a.>"]).as_deref(), Some("a.b"));
        assert_eq!(of("a.b.#", &["a.>"]).as_deref(), Some("a.>"));
        assert_eq!(of("a.#", &["a", "a.>"]), None);
        // What the stream does not hold needs no room in it.
        assert_eq!(of("a.#", &["a.>"]).as_deref(), Some("a.>"));
        assert_eq!(of("a.#", &["a", "b.>"]).as_deref(), Some("a"));
        // What lies in several of the stream's is filtered by the receiver alone.
        assert_eq!(of("+.b", &["a.>", "b.*"]), None);
        assert_eq!(of("a.#", &["b.>"]), None);
    }

    #[test]
    fn names_of_subscriptions_are_mapped_one_to_one() {
        assert_eq!(consumer("stock-1_a").unwrap(), "stock-1_a");
        assert_eq!(consumer("a.b").unwrap(), "a%2Eb");
        assert_eq!(consumer("a%2Eb").unwrap(), "a%252Eb");
        assert!(consumer("").is_err() && consumer(&"x".repeat(256)).is_err());
        for name in ["a b", "a.b", "a*", "", "a/b", ">"] {
            assert!(check_name("stream", name).is_err(), "{name}");
        }
    }
}
