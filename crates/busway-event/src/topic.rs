//! Topics: the concrete dotted names that events are published under.
//!
//! `scan` reads topics and filters alike; `text` holds what was read, and the traits that both have.

mod error;
pub(crate) mod scan;
pub(crate) mod text;

pub use error::{TopicError, TopicErrorKind};

use scan::{FlawKind, Grammar, scan};
use text::{Excerpt, Text, text_type};

/// The longest topic or filter, in bytes.
///
/// One byte holds the length in every stored format, and a name stays a line in a log.
pub const TOPIC_BYTES_MAX: usize = 255;

/// The most segments that a topic or filter may have. At most four are advised.
pub const SEGMENTS_MAX: usize = 16;

/// The concrete name that an event is published under, such as `orders.created.us-east`.
///
/// A `Topic` is always valid: 1 to [`SEGMENTS_MAX`] segments, separated by single dots, each of one or more of
/// `A-Z a-z 0-9 _ -`, and at most [`TOPIC_BYTES_MAX`] bytes in all. Case counts. A topic never holds a wildcard; patterns
/// are [`Filter`](crate::Filter)s.
///
/// Cloning is cheap: the text is shared. A topic made by [`Topic::from_static`] shares nothing but a pointer, so
/// that threads which pass it around do not touch a common counter. Equality, order and hash are those of the text,
/// however it was made, and equal to those of `str`.
///
/// ```
/// use busway_event::Topic;
///
/// let topic = Topic::new("orders.created.us-east")?;
/// assert_eq!(topic.depth(), 3);
/// assert_eq!(topic.segments().last(), Some("us-east"));
///
/// let error = Topic::new("orders..created").unwrap_err();
/// assert_eq!(error.position(), 7);
/// # Ok::<(), busway_event::TopicError>(())
/// ```
#[derive(Clone)]
pub struct Topic(Text);

impl Topic {
    /// Checks and copies `text`.
    ///
    /// # Errors
    ///
    /// [`TopicError`], which names the first rule that `text` breaks and where.
    pub fn new(text: impl AsRef<str>) -> Result<Self, TopicError> {
        let text = text.as_ref();
        Self::check(text)?;
        Ok(Self(Text::Shared(text.into())))
    }

    /// Checks `text` and keeps the reference: neither this call nor a clone allocates or counts.
    ///
    /// # Errors
    ///
    /// As [`Topic::new`].
    pub fn from_static(text: &'static str) -> Result<Self, TopicError> {
        Self::check(text)?;
        Ok(Self(Text::Static(text)))
    }

    /// The whole name.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parts between the dots, from the left; never empty, and no part is empty.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.as_str().split('.')
    }

    /// How many segments there are, from 1 to [`SEGMENTS_MAX`].
    pub fn depth(&self) -> usize {
        self.segments().count()
    }

    fn check(text: &str) -> Result<(), TopicError> {
        scan(text, Grammar::Topic).map_err(|flaw| TopicError {
            kind: match flaw.kind {
                FlawKind::Empty => TopicErrorKind::Empty,
                FlawKind::TooLong { len } => TopicErrorKind::TooLong { len },
                FlawKind::TooManySegments { count } => TopicErrorKind::TooManySegments { count },
                FlawKind::EmptySegment => TopicErrorKind::EmptySegment,
                FlawKind::Foreign(character) => TopicErrorKind::ForeignCharacter(character),
                // The scanner reports `RestNotLast` under the grammar of filters only.
                FlawKind::Wildcard(character) => TopicErrorKind::Wildcard(character),
                FlawKind::RestNotLast => TopicErrorKind::Wildcard('#'),
            },
            position: flaw.position,
            segment: flaw.segment,
            input: Excerpt::new(text),
        })
    }

    pub(crate) fn from_checked(text: Text) -> Self {
        Self(text)
    }

    /// Whether both share one text: a comparison of pointers, which may say no to equal topics.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.as_str(), other.as_str())
    }

    pub(crate) fn text(&self) -> &Text {
        &self.0
    }
}

text_type!(Topic, TopicError, "a topic: 1 to 16 dot-separated segments of A-Z a-z 0-9 _ -");

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::{BTreeSet, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> (TopicErrorKind, usize, usize) {
        let error = Topic::new(text).unwrap_err();
        (error.kind(), error.position(), error.segment())
    }

    #[test]
    fn every_text_within_the_rules_is_a_topic() {
        let widest = ["a"; SEGMENTS_MAX].join(".");
        let longest = "x".repeat(TOPIC_BYTES_MAX);
        for text in ["a", "orders.created.us-east", "A_b-9.0", "-", "_._", &widest, &longest] {
            let topic = Topic::new(text).unwrap();
            assert_eq!(topic.as_str(), text);
            assert_eq!(topic.segments().collect::<Vec<_>>().join("."), text);
            assert_eq!(topic.depth(), text.split('.').count());
        }
    }

    #[test]
    fn every_broken_rule_is_named_with_its_place() {
        use TopicErrorKind::*;
        let long = "ab.".repeat(100);
        let wide = ["ab"; SEGMENTS_MAX + 2].join(".");
        let table = [
            ("", Empty, 0, 0),
            (".", EmptySegment, 0, 0),
            (".a", EmptySegment, 0, 0),
            ("a..b", EmptySegment, 2, 1),
            ("a.b.", EmptySegment, 4, 2),
            ("a b", ForeignCharacter(' '), 1, 0),
            ("orders.größe", ForeignCharacter('ö'), 9, 1),
            ("a.b/c", ForeignCharacter('/'), 3, 1),
            ("a.\0", ForeignCharacter('\0'), 2, 1),
            ("a.b:c.+", ForeignCharacter(':'), 3, 1),
            ("a.+.c", Wildcard('+'), 2, 1),
            ("a.#", Wildcard('#'), 2, 1),
            ("#.a", Wildcard('#'), 0, 0),
            ("a.b+", Wildcard('+'), 3, 1),
            (&long, TooLong { len: 300 }, 255, 85),
            (&wide, TooManySegments { count: 18 }, 48, 16),
        ];
        for (text, kind, position, segment) in table {
            assert_eq!(refusal(text), (kind, position, segment), "{text:?}");
        }
    }

    #[test]
    fn an_error_shows_the_text_escaped_and_says_what_to_do() {
        let message = Topic::new("a.\n\u{1b}[31m").unwrap_err().to_string();
        assert_eq!(
            message,
            "topic \"a.\\n\\u{1b}[31m\" is refused at byte 2 (segment 1): the character '\\n' is not allowed; \
             use A-Z a-z 0-9 _ - and dots between segments"
        );
        let hint = Topic::new("orders.#").unwrap_err().to_string();
        assert!(hint.contains("is for filters"), "{hint}");
    }

    #[test]
    fn an_error_keeps_no_more_of_a_long_text_than_a_topic_may_have() {
        let text = format!("{}öö", "a".repeat(TOPIC_BYTES_MAX - 1));
        let error = Topic::new(&text).unwrap_err();
        assert_eq!(error.input().len(), TOPIC_BYTES_MAX - 1, "cut before the character that does not fit");
        assert!(error.to_string().contains("…\" is refused"), "{error}");
        assert_eq!(error.kind(), TopicErrorKind::TooLong { len: 258 });
    }

    #[test]
    fn a_topic_is_its_text_however_it_was_made() {
        let shared = Topic::new("a.b").unwrap();
        let fixed = Topic::from_static("a.b").unwrap();
        let parsed: Topic = "a.b".parse().unwrap();
        let owned = Topic::try_from(String::from("a.b")).unwrap();
        let cow = Topic::try_from(Cow::Borrowed("a.b")).unwrap();
        let all = [&shared, &fixed, &parsed, &owned, &cow];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 1);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 1);
        assert!(HashSet::from([fixed]).contains("a.b"), "hashes as the text does");
        assert!(Topic::new("a.b").unwrap() < Topic::new("a.c").unwrap());
        assert_eq!(shared, "a.b");
        assert_eq!(format!("{shared} {shared:?} {shared:>5}"), "a.b Topic(\"a.b\")   a.b");
        assert!(Topic::from_static("a.+").is_err());
    }

    #[test]
    fn a_topic_is_checked_when_it_is_deserialized() {
        let topic = Topic::new("a.b").unwrap();
        let json = serde_json::to_string(&topic).unwrap();
        assert_eq!(json, "\"a.b\"");
        assert_eq!(serde_json::from_str::<Topic>(&json).unwrap(), topic);
        assert_eq!(serde_json::from_str::<Topic>("\"\\u0061.b\"").unwrap(), topic);
        let error = serde_json::from_str::<Topic>("\"a.+\"").unwrap_err().to_string();
        assert!(error.contains("byte 2 (segment 1)"), "{error}");
        assert!(serde_json::from_str::<Topic>("7").unwrap_err().to_string().contains("expected a topic"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_refusal_points_into_it(text in ".{0,300}") {
            if let Err(error) = Topic::new(&text) {
                prop_assert!(error.position() <= text.len());
                prop_assert!(error.segment() <= text.matches('.').count());
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn what_the_rules_describe_is_accepted(segments in prop::collection::vec("[A-Za-z0-9_-]{1,15}", 1..=SEGMENTS_MAX)) {
            let text = segments.join(".");
            let topic = Topic::new(&text).unwrap();
            prop_assert_eq!(topic.segments().collect::<Vec<_>>(), segments);
        }
    }
}
