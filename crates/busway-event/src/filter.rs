//! Filters: the patterns that say which topics a subscription, a stream or a rule is about.

mod error;

pub use error::{FilterError, FilterErrorKind};

use crate::topic::Topic;
use crate::topic::scan::{FlawKind, Grammar, scan};
use crate::topic::text::{Excerpt, Text, text_type};

/// A pattern over topics, such as `orders.+.us-east` or `orders.#`.
///
/// A filter is a topic in which whole segments may be wildcards:
///
/// - `+` stands for exactly one segment, whatever it is;
/// - `#` stands for the rest, zero or more segments, and is the last segment. `a.#` matches `a`, `a.b` and
///   `a.b.c`; `#` alone matches every topic.
///
/// All other segments match themselves, byte for byte. The limits of [`Topic`] hold: at most 16 segments and 255 bytes,
/// wildcards included. Cloning is cheap, and equality, order and hash are those of the text.
///
/// ```
/// use busway_event::{Filter, Topic};
///
/// let filter = Filter::new("orders.+.#")?;
/// assert!(filter.matches(&Topic::new("orders.created")?));
/// assert!(filter.matches(&Topic::new("orders.created.us-east")?));
/// assert!(!filter.matches(&Topic::new("orders")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Filter(Text);

impl Filter {
    /// Checks and copies `text`.
    ///
    /// # Errors
    ///
    /// [`FilterError`], which names the first rule that `text` breaks and where.
    pub fn new(text: impl AsRef<str>) -> Result<Self, FilterError> {
        let text = text.as_ref();
        Self::check(text)?;
        Ok(Self(Text::Shared(text.into())))
    }

    /// Checks `text` and keeps the reference: neither this call nor a clone allocates or counts.
    ///
    /// # Errors
    ///
    /// As [`Filter::new`].
    pub fn from_static(text: &'static str) -> Result<Self, FilterError> {
        Self::check(text)?;
        Ok(Self(Text::Static(text)))
    }

    /// The whole pattern.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parts between the dots, from the left.
    pub fn segments(&self) -> impl Iterator<Item = FilterSegment<'_>> {
        self.as_str().split('.').map(|segment| match segment {
            "+" => FilterSegment::One,
            "#" => FilterSegment::Rest,
            literal => FilterSegment::Literal(literal),
        })
    }

    /// Whether the filter has no wildcard, and so matches one topic only.
    pub fn is_exact(&self) -> bool {
        !self.as_str().contains(['+', '#'])
    }

    /// The one topic that an exact filter matches; `None` if there are wildcards. Shares the text.
    pub fn exact_topic(&self) -> Option<Topic> {
        self.is_exact().then(|| Topic::from_checked(self.0.clone()))
    }

    /// Whether `topic` is meant. One pass over the bytes of both; allocates nothing.
    pub fn matches(&self, topic: &Topic) -> bool {
        let (mut pattern, mut name) = (self.as_str().as_bytes(), topic.as_str().as_bytes());
        // Wildcards are whole segments, so one seen here starts its segment, and `name` is then at a segment's start too.
        loop {
            match (pattern, name) {
                // `a.#` takes in `a` itself: the dot before the `#` needs no partner.
                ([b'#', ..], _) | (b".#" | b"", []) => return true,
                ([b'+', pattern_rest @ ..], [_, ..]) => {
                    let end = name.iter().position(|&byte| byte == b'.').unwrap_or(name.len());
                    (pattern, name) = (pattern_rest, name.split_at(end).1);
                }
                ([want, pattern_rest @ ..], [have, name_rest @ ..]) if want == have => {
                    (pattern, name) = (pattern_rest, name_rest);
                }
                _ => return false,
            }
        }
    }

    /// Whether some topic is meant by both filters, if topics could be of any length: long literals on both sides may
    /// together ask for more bytes than a topic has. One pass over both texts; allocates nothing.
    ///
    /// ```
    /// # use busway_event::{Filter, FilterError};
    /// let east = Filter::new("orders.+.us-east")?;
    /// assert!(east.overlaps(&Filter::new("orders.created.#")?));
    /// assert!(!east.overlaps(&Filter::new("orders.created.us-west")?));
    /// # Ok::<(), FilterError>(())
    /// ```
    pub fn overlaps(&self, other: &Filter) -> bool {
        let (mut left, mut right) = (self.segments(), other.segments());
        loop {
            match (left.next(), right.next()) {
                // What is left on the other side can be named, or is nothing, which `#` matches too.
                (Some(FilterSegment::Rest), _) | (_, Some(FilterSegment::Rest)) | (None, None) => {
                    return true;
                }
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(FilterSegment::Literal(one)), Some(FilterSegment::Literal(two))) if one != two => {
                    return false;
                }
                (Some(_), Some(_)) => {}
            }
        }
    }

    /// Whether every topic that `inner` means is meant by this one too. One pass over both texts; allocates nothing.
    ///
    /// ```
    /// # use busway_event::{Filter, FilterError};
    /// let orders = Filter::new("orders.#")?;
    /// assert!(orders.covers(&Filter::new("orders.+.us-east")?));
    /// assert!(!orders.covers(&Filter::new("#")?));
    /// # Ok::<(), FilterError>(())
    /// ```
    pub fn covers(&self, inner: &Filter) -> bool {
        let (mut outer, mut inner) = (self.segments(), inner.segments());
        loop {
            match (outer.next(), inner.next()) {
                (Some(FilterSegment::Rest), _) | (None, None) => return true,
                (Some(FilterSegment::One), Some(FilterSegment::One | FilterSegment::Literal(_))) => {}
                (Some(FilterSegment::Literal(one)), Some(FilterSegment::Literal(two))) if one == two => {}
                _ => return false,
            }
        }
    }

    fn check(text: &str) -> Result<(), FilterError> {
        scan(text, Grammar::Filter).map_err(|flaw| FilterError {
            kind: match flaw.kind {
                FlawKind::Empty => FilterErrorKind::Empty,
                FlawKind::TooLong { len } => FilterErrorKind::TooLong { len },
                FlawKind::TooManySegments { count } => FilterErrorKind::TooManySegments { count },
                FlawKind::EmptySegment => FilterErrorKind::EmptySegment,
                FlawKind::Foreign(character) => FilterErrorKind::ForeignCharacter(character),
                FlawKind::Wildcard(character) => FilterErrorKind::PartialWildcard(character),
                FlawKind::RestNotLast => FilterErrorKind::RestNotLast,
            },
            position: flaw.position,
            segment: flaw.segment,
            input: Excerpt::new(text),
        })
    }
}

text_type!(Filter, FilterError, "a filter: a topic in which a segment may be `+` and the last may be `#`");

/// The filter that matches this topic only. Shares the text.
impl From<Topic> for Filter {
    fn from(topic: Topic) -> Self {
        Self(topic.text().clone())
    }
}

/// The filter that matches this topic only. Shares the text.
impl From<&Topic> for Filter {
    fn from(topic: &Topic) -> Self {
        Self(topic.text().clone())
    }
}

/// One segment of a [`Filter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterSegment<'a> {
    /// Matches this very segment.
    Literal(&'a str),
    /// `+`: exactly one segment, whatever it is.
    One,
    /// `#`: all that follows, which may be nothing. Always the last.
    Rest,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topic::{SEGMENTS_MAX, TOPIC_BYTES_MAX};

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    fn topic(text: &str) -> Topic {
        Topic::new(text).unwrap()
    }

    #[test]
    fn wildcards_stand_for_whole_segments() {
        use FilterSegment::*;
        let table: [(&str, &[FilterSegment<'_>], bool); 5] = [
            ("a.b", &[Literal("a"), Literal("b")], true),
            ("+", &[One], false),
            ("#", &[Rest], false),
            ("+.+.#", &[One, One, Rest], false),
            ("a.+.b-1.#", &[Literal("a"), One, Literal("b-1"), Rest], false),
        ];
        for (text, segments, exact) in table {
            let filter = filter(text);
            assert_eq!(filter.segments().collect::<Vec<_>>(), segments, "{text}");
            assert_eq!(filter.is_exact(), exact, "{text}");
            assert_eq!(filter.exact_topic(), exact.then(|| topic(text)), "{text}");
            assert_eq!(filter, text);
        }
    }

    #[test]
    fn every_broken_rule_is_named_with_its_place() {
        use FilterErrorKind::*;
        let long = "a.".repeat(200);
        let wide = format!("{}.#", ["+"; SEGMENTS_MAX].join("."));
        let table = [
            ("", Empty, 0, 0),
            ("a.", EmptySegment, 2, 1),
            ("..#", EmptySegment, 0, 0),
            ("a.*", ForeignCharacter('*'), 2, 1),
            ("a.>", ForeignCharacter('>'), 2, 1),
            ("a.b+", PartialWildcard('+'), 3, 1),
            ("+a.b", PartialWildcard('+'), 0, 0),
            ("a.++", PartialWildcard('+'), 2, 1),
            ("a.b#", PartialWildcard('#'), 3, 1),
            ("a.##", PartialWildcard('#'), 2, 1),
            ("#.a", RestNotLast, 0, 0),
            ("a.#.+", RestNotLast, 2, 1),
            ("a.#.#", RestNotLast, 2, 1),
            ("a.#.", RestNotLast, 2, 1),
            (&long, TooLong { len: 400 }, 255, 127),
            (&wide, TooManySegments { count: 17 }, 32, 16),
        ];
        for (text, kind, position, segment) in table {
            let error = Filter::new(text).unwrap_err();
            assert_eq!(
                (error.kind(), error.position(), error.segment()),
                (kind, position, segment),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_error_shows_the_text_escaped_and_says_what_to_do() {
        assert_eq!(
            Filter::new("a.#.b").unwrap_err().to_string(),
            "filter \"a.#.b\" is refused at byte 2 (segment 1): `#` takes all that follows, so it must come last; \
             write `+` for exactly one segment"
        );
        assert!(Filter::new("a.\u{7}").unwrap_err().to_string().contains("\\u{7}"));
        assert_eq!(Filter::new("a".repeat(999)).unwrap_err().input().len(), TOPIC_BYTES_MAX);
    }

    #[test]
    fn matching_follows_the_table() {
        let table: [(&str, &[&str], &[&str]); 7] = [
            ("a", &["a"], &["b", "a.a", "A", "aa"]),
            ("a.b", &["a.b"], &["a", "b", "a.b.c", "a-b"]),
            ("+", &["a", "b"], &["a.b"]),
            ("a.+", &["a.b", "a.c"], &["a", "b.a", "a.b.c"]),
            ("+.b.+", &["a.b.c"], &["a.b", "b.b", "a.c.c", "a.b.c.d"]),
            ("a.#", &["a", "a.b", "a.b.c"], &["b", "ab", "b.a"]),
            ("#", &["a", "a.b", "a.b.c"], &[]),
        ];
        for (text, fits, misfits) in table {
            for name in fits {
                assert!(filter(text).matches(&topic(name)), "{text} should match {name}");
            }
            for name in misfits {
                assert!(!filter(text).matches(&topic(name)), "{text} should not match {name}");
            }
        }
    }

    #[test]
    fn a_topic_is_the_filter_that_matches_it_alone() {
        let name = topic("a.b");
        assert_eq!(Filter::from(&name), filter("a.b"));
        assert_eq!(Filter::from(name.clone()).exact_topic(), Some(name));
    }

    #[test]
    fn a_filter_is_checked_when_it_is_deserialized() {
        let json = serde_json::to_string(&filter("a.+.#")).unwrap();
        assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), filter("a.+.#"));
        assert!(
            serde_json::from_str::<Filter>("\"#.a\"").unwrap_err().to_string().contains("must come last")
        );
    }

    /// The rule as a recursion over lists, with every choice tried.
    fn reference(filter: &[&str], topic: &[&str]) -> bool {
        match filter {
            [] => topic.is_empty(),
            ["#"] => true,
            ["+", filter @ ..] => matches!(topic, [_, topic @ ..] if reference(filter, topic)),
            [literal, filter @ ..] => {
                matches!(topic, [name, topic @ ..] if name == literal && reference(filter, topic))
            }
        }
    }

    // One name starts with the other, so that matching a part of a segment would show.
    fn any_topic() -> impl Strategy<Value = Topic> {
        prop::collection::vec("aa?", 1..6).prop_map(|names| topic(&names.join(".")))
    }

    fn any_filter() -> impl Strategy<Value = Filter> {
        (prop::collection::vec("[+]|aa?", 1..6), any::<bool>()).prop_map(|(mut segments, open)| {
            if open {
                segments.pop();
                segments.push("#".into());
            }
            filter(&segments.join("."))
        })
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_recursion(filter in any_filter(), topic in any_topic()) {
            let segments: Vec<_> = filter.as_str().split('.').collect();
            let names: Vec<_> = topic.segments().collect();
            prop_assert_eq!(filter.matches(&topic), reference(&segments, &names), "{} on {}", filter, topic);
        }

        #[test]
        fn filters_overlap_if_and_only_if_a_topic_fits_both(one in any_filter(), two in any_filter()) {
            // Every topic of up to five segments over the filters' own names and one more.
            let mut names = vec![String::new()];
            let mut shared = false;
            for _ in 0..5 {
                names = names.iter().flat_map(|name| ["a", "aa", "c"].map(|next| format!("{name}.{next}"))).collect();
                shared |= names.iter().any(|name| {
                    let topic = topic(name.trim_start_matches('.'));
                    one.matches(&topic) && two.matches(&topic)
                });
            }
            prop_assert_eq!(one.overlaps(&two), shared, "{} and {}", one, two);
            prop_assert_eq!(two.overlaps(&one), shared, "{} and {}", two, one);
        }

        #[test]
        fn no_text_panics_and_every_refusal_points_into_it(text in "[a+#.ö]{0,40}") {
            if let Err(error) = Filter::new(&text) {
                prop_assert!(error.position() <= text.len());
            }
        }
    }
}
